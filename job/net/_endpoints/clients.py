"""The way of an accepted client: it waits for a place, shakes hands, and is served by a job of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import trio

from ..._core.border import mark_started, run_contained
from ..._core.job import Job
from ..._core.words.user_code import shown
from .._connection_fields import ConnectionEnd, fill_client
from .._errors import PEER_FAULTS, NoUpstreamError, Reject
from .._reason import EndReason, Side, reason_of_fault
from .._streams.closing import close
from .._streams.stream import Stream, connection_of
from .._streams.stream_wire import close_now
from .accept_errors import LimitLog

if TYPE_CHECKING:
    from ..._core.task import Task
    from .endpoint import Endpoint
    from .listeners import AcceptedWire

BuildJob: TypeAlias = "Callable[[Stream], Job[Any] | Reject]"

_QUIET: Final = (*PEER_FAULTS, NoUpstreamError)  # if all upstreams are down, that is the peers' doing as well


@final
class Clients:
    """The clients of one server."""

    __slots__ = ("_build_job", "_endpoint", "_limit", "_log", "_task")

    def __init__(self, endpoint: Endpoint, build_job: BuildJob, task: Task, limit: LimitLog) -> None:
        self._endpoint = endpoint
        self._build_job = build_job
        self._task = task
        self._log = task.log
        self._limit = limit

    async def serve(self, wire: AcceptedWire, listener: str, placed: bool) -> None:
        """Serve one client, from its accept until its socket is closed; `placed`: it has a place."""
        came_at = trio.current_time()
        placed = placed or await self._find_place(wire)
        queue_time = round(trio.current_time() - came_at, 6)
        if not placed:
            self._tell_rejected(wire.peer, listener, queue_time, EndReason.LIMIT.value)
            return
        try:
            if not await self._has_gone(wire, listener, queue_time):
                await self._serve_client(wire, listener, queue_time)
        finally:
            self._endpoint._slots.give_back()

    def _tell_rejected(self, client: str, listener: str, queue_time: float, reason: str) -> None:
        told = {"reason": reason, "closed_by": Side.PROXY.value}
        self._log.info("client.rejected", client=client, listener=listener, queue_time=queue_time, **told)

    async def _has_gone(self, wire: AcceptedWire, listener: str, queue_time: float) -> bool:
        """Return True if the client reset its connection while it waited for its place, and close it."""
        if self._endpoint._options.limit is None or not wire.is_reset:
            return False
        await close_now(wire)
        told = {"reason": EndReason.RESET.value, "closed_by": Side.CLIENT.value}
        self._log.info("client.gone", client=wire.peer, listener=listener, queue_time=queue_time, **told)
        return True

    async def _find_place(self, wire: AcceptedWire) -> bool:
        """Hold a client until there is a place; return False if it got none, and is closed."""
        options = self._endpoint._options
        self._limit.note()
        placed = False
        try:
            if options.on_limit == "queue":
                with trio.move_on_after(options.queue_timeout):
                    await self._endpoint._slots.take()
                    placed = True
        finally:
            if not placed:
                self._endpoint._counters.rejected += 1
                await close_now(wire)
        return placed

    async def _serve_client(self, wire: AcceptedWire, listener: str, queue_time: float) -> None:
        stream = await self._shake_hands(wire, listener)
        if stream is None:
            return
        job: Job[Any] | None = None
        try:
            job = self._build(stream, listener, queue_time)
            if job is not None:
                await self._run_job(job, stream, listener, queue_time)
        finally:
            if job is None:
                await stream.aclose()
            else:
                await close(connection_of(stream), job, self._task.job)

    async def _shake_hands(self, wire: AcceptedWire, listener: str) -> Stream | None:
        try:
            return await self._endpoint._handshake(wire)
        except PEER_FAULTS as error:
            self._tell_of_handshake(wire, listener, reason_of_fault(error), error=shown(error))
            return None
        except trio.Cancelled:
            j = self._task.job
            drains = j.stopping and j.interrupted_by == (None, None)
            self._tell_of_handshake(wire, listener, EndReason.DRAINED if drains else EndReason.CANCELLED)
            raise

    def _tell_of_handshake(self, wire: AcceptedWire, listener: str, reason: EndReason, **more: str) -> None:
        self._log.info("handshake.failed", client=wire.peer, listener=listener, reason=reason.value, **more)

    async def _run_job(self, job: Job[Any], stream: Stream, listener: str, queue_time: float) -> None:
        fill_client(job, stream, listener=listener, queue_time=queue_time)
        job.log.debug("connection.started")
        with self._endpoint._counted(stream):
            await run_contained(job, before_end=ConnectionEnd(stream))

    def _build(self, stream: Stream, listener: str, queue_time: float) -> Job[Any] | None:
        """Return the job of a client; None if it is rejected, or `build_job` failed."""
        try:
            job = self._build_job(stream)
            if not isinstance(job, Reject):
                return _claimed(job)
            reason = job.reason
        except Reject as reject:
            reason = reject.reason
        except Exception as error:
            self._log.exception("build_job.failed", client=stream.peer, error=shown(error))
            return None
        self._endpoint._counters.rejected += 1
        self._tell_rejected(stream.peer, listener, queue_time, reason)
        return None


def _claimed(job: object) -> Job[Any]:
    """Take what `build_job` gave for the job of a connection.

    Raises:
        TypeError: it is none; a coroutine, the usual slip, is closed.
        JobStateError: it has been run.
    """
    if inspect.iscoroutine(job):
        job.close()
    if not isinstance(job, Job):
        raise TypeError(f"build_job must return a Job or a Reject, got {shown(job)}")
    mark_started(job, quiet=_QUIET)
    return job
