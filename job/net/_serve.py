"""Serve clients: accept them within the limit, and give each a job of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import trio

from .._check import plain, seconds
from .._forms import Factory, Routines
from .._job import Job
from ._accepting import PASSED_OVER, PAUSE, LimitLog, ShortageLog
from ._closing import close
from ._endpoint import Endpoint
from ._errors import PEER_FAULTS, NoUpstreamError, Reject
from ._foreign_wire import close_now
from ._listening import Listening
from ._reason import EndReason, Side, reason_of_fault
from ._shortages import SHORTAGES
from ._story import tell_of_client

if TYPE_CHECKING:
    from .._task import Task
    from ._doors import AcceptedWire, Door, Doors
    from ._stream import Stream

BuildJob: TypeAlias = "Callable[[Stream], Job[Any] | Reject]"

_BATCH: Final = 64
_ROUNDS: Final = 3  # of the scheduler, in which whoever accepts has surely had a turn
_LAST_TURNS: Final = 64  # a flood must not hold up a stop
_QUIET: Final = (*PEER_FAULTS, NoUpstreamError)  # that all upstreams are down is the peers' doing, too


def serve(endpoint: Endpoint, build_job: BuildJob, *, lame_duck: float = 0) -> Factory:
    """Return a factory for a task that accepts clients and runs a job for each, contained, as a child of the task's job.

    Its init binds, so that a bad address fails the job before anything is up. When its job is asked to stop it goes on
    accepting for `lame_duck` seconds, so that a balancer in front has time to notice; then it lets in who is in the queue
    and finds a place, closes the listeners, and is done when the last connection has ended. The connections' jobs are
    finished with the grace of the task's job.

    A client takes a place of the endpoint's `limit` until its job has ended and its socket is closed, which is done here:
    `build_job` and its job need not close the stream. The jobs are quiet about `PEER_FAULTS` and `NoUpstreamError`, but not
    about what this machine lacks. An error of `build_job` is logged with its traceback, and closes that client only;
    `Reject`, returned or raised, closes it with one quiet line. A client that has reset its connection while it had to wait
    for a place gets none.

    It may be run again: by `restart` and `reload_on_signal`, which cut its connections and listen anew, and by `retry`.

    The jobs' `fields` get, where the program has not set them itself: client, listener and queue_time, and at the end
    reason, closed_by, bytes_up and bytes_down, unless a relay has told them.

    Args:
        endpoint: where to listen, and with what limit.
        build_job: makes the job of a connection, which is run here, or a `Reject`. Plain and quick: no client is accepted
            meanwhile.
        lame_duck: seconds of the grace in which clients are still accepted.

    Raises, in the task:
        OSError: the endpoint cannot be bound, or its listener broke.
    """
    if not isinstance(endpoint, Endpoint):
        raise TypeError(f"endpoint must be an Endpoint, got {endpoint!r}")
    if not callable(build_job):
        raise TypeError(f"build_job must be callable, got {build_job!r}")
    plain("build_job", build_job)
    seconds("lame_duck", lame_duck)

    def serve_task(j: Job[Any]) -> Routines:
        listening = Listening(endpoint, announced=True)

        async def run(task: Task) -> None:
            doors = await listening.doors(task)
            await _Server(endpoint, build_job, task).run(doors, lame_duck, listening)
            task.done()

        return Routines(listening.init, run, listening.finalize)

    return serve_task


@final
class _Server:
    """One run of `serve`. Nothing but Cancelled goes through its nurseries: they would make groups of it."""

    __slots__ = ("_build_job", "_connections", "_endpoint", "_failure", "_limit", "_log", "_shortages", "_task")

    def __init__(self, endpoint: Endpoint, build_job: BuildJob, task: Task) -> None:
        self._endpoint = endpoint
        self._build_job = build_job
        self._task = task
        self._log = task.log
        self._shortages = ShortageLog(task.log)
        self._limit = LimitLog(task.log, endpoint)
        self._failure: BaseException | None = None
        self._connections: trio.Nursery

    async def run(self, doors: Doors, lame_duck: float, listening: Listening) -> None:
        """Serve until the job is asked to stop, and then until the last connection has ended."""
        async with trio.open_nursery() as self._connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(self._limit.run)
                for door in doors:
                    accepting.start_soon(self._guarded, self._accept_from, door)
                await self._task.job.wait_stopping()
                await trio.sleep(lame_duck)
                await self._empty_queues()
                accepting.cancel_scope.cancel()
            await listening.aclose()
        if self._failure is not None:
            listening.broke(self._task, self._failure)
            raise self._failure

    async def _empty_queues(self) -> None:
        """Let in who is there already: the kernel has told them that they are connected, and would reset them."""
        tally, before, turns = self._endpoint._tally, -1, 0
        while tally.accepted != before and turns < _LAST_TURNS:
            before = tally.accepted
            turns += 1
            for _ in range(_ROUNDS):
                await trio.lowlevel.checkpoint()

    async def _guarded(self, work: Callable[..., Any], *args: Any) -> None:
        """Keep an error out of the nursery: the first one ends the serving."""
        try:
            await work(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:
            self._failure = self._failure or error
            self._connections.cancel_scope.cancel()

    # -- accepting

    async def _accept_from(self, door: Door) -> None:
        admit = self._admit_within_limit if self._endpoint._options.on_limit == "wait" else self._admit_all
        while True:
            await door.wait()
            for _ in range(_BATCH):  # then the others may have their turn
                if not await self._try(admit, door):
                    break

    async def _try(self, admit: Callable[[Door], Any], door: Door) -> bool:
        """Let one client in; return whether it is worth to go on at once."""
        try:
            return bool(await admit(door))
        except OSError as error:
            if error.errno in PASSED_OVER:
                await trio.lowlevel.checkpoint()
                return True
            if error.errno not in SHORTAGES:
                raise
            return await self._turn_away(door, error)

    async def _turn_away(self, door: Door, shortage: OSError) -> bool:
        try:
            turned_away = door.turn_away()
        except trio.WouldBlock:  # the kernel looks for a descriptor first, and only then for a client
            return False
        self._shortages.note(shortage)
        if turned_away:
            self._endpoint._tally.accepted += 1
            self._endpoint._tally.rejected += 1
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(PAUSE)
        return turned_away

    async def _admit_within_limit(self, door: Door) -> bool:
        """Take a place first: who finds none stays in the kernel's queue."""
        slots = self._endpoint._slots
        if not slots.take_nowait():
            await door.wait()  # a server that is full is worth a line only where that keeps a client waiting
            if not slots.take_nowait():
                self._limit.note()
                await slots.take()
        wire = None
        try:
            wire = await door.accept()
        finally:
            if wire is None:
                slots.give_back()
        if wire is None:
            return False
        self._start(wire, door, placed=True)
        return True

    async def _admit_all(self, door: Door) -> bool:
        """Let everybody in, and see who has a place."""
        wire = await door.accept()
        if wire is None:
            return False
        placed = self._endpoint._slots.take_nowait()
        self._start(wire, door, placed=placed)
        return True

    def _start(self, wire: AcceptedWire, door: Door, *, placed: bool) -> None:
        self._endpoint._tally.accepted += 1
        self._connections.start_soon(self._guarded, self._connection, wire, door.address, placed)

    # -- one client

    async def _connection(self, wire: AcceptedWire, listener: str, placed: bool) -> None:
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
        """Close a client that has reset its connection while it may have waited for its place; return whether it had."""
        if self._endpoint._options.limit is None or not wire.is_reset:
            return False
        await close_now(wire)
        told = {"reason": EndReason.RESET.value, "closed_by": Side.CLIENT.value}
        self._log.info("client.gone", client=wire.peer, listener=listener, queue_time=queue_time, **told)
        return True

    async def _find_place(self, wire: AcceptedWire) -> bool:
        """Hold a client until there is a place; return whether it got one, else it is closed."""
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
                self._endpoint._tally.rejected += 1
                await close_now(wire)
        return placed

    async def _serve_client(self, wire: AcceptedWire, listener: str, queue_time: float) -> None:
        try:
            stream = await self._endpoint._welcome(wire)
        except PEER_FAULTS as error:
            self._tell_of_handshake(wire, listener, reason_of_fault(error), error=repr(error))
            return
        except trio.Cancelled:
            j = self._task.job
            drains = j.stopping and j.interrupted_by == (None, None)
            self._tell_of_handshake(wire, listener, EndReason.DRAINED if drains else EndReason.CANCELLED)
            raise
        job = self._build(stream)
        if isinstance(job, Job):
            try:
                await self._run_job(job, stream, listener, queue_time)
            finally:
                await close(stream, job, self._task.job)
        else:
            if isinstance(job, Reject):
                self._endpoint._tally.rejected += 1
                self._tell_rejected(stream.peer, listener, queue_time, job.reason)
            await stream.aclose()

    def _tell_of_handshake(self, wire: AcceptedWire, listener: str, reason: EndReason, **more: str) -> None:
        self._log.info("handshake.failed", client=wire.peer, listener=listener, reason=reason.value, **more)

    async def _run_job(self, job: Job[Any], stream: Stream, listener: str, queue_time: float) -> None:
        tell_of_client(job, stream, listener=listener, queue_time=queue_time)
        job.log.debug("connection.started")
        with self._endpoint._counted(stream):
            await job._live_contained(task_status=trio.TASK_STATUS_IGNORED)

    def _build(self, stream: Stream) -> Job[Any] | Reject | None:
        """Return what `build_job` says of a client; None where it has failed."""
        try:
            job = self._build_job(stream)
            if isinstance(job, Reject):
                return job
            _check_job(job)
            job._claim()
        except Reject as reject:
            return reject
        except Exception as error:
            self._log.exception("build_job.failed", client=stream.peer, error=repr(error))
            return None
        job._quiet = (*job._quiet, *_QUIET)
        return job


def _check_job(job: object) -> None:
    if inspect.iscoroutine(job):
        job.close()
    if not isinstance(job, Job):
        raise TypeError(f"build_job must return a Job or a Reject, got {job!r}")
