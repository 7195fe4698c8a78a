"""Serve clients: accept them within the limit, and give each a job of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

import trio

from ..._core import check
from ..._core.forms import Factory, Routines
from ..._core.job import Job
from .._shortages import CAPACITY_ERRNOS
from .accept_errors import SLEEP_TIME, TRANSIENT_ACCEPT_ERRNOS, LimitLog, RateLimitedLog
from .clients import BuildJob, Clients
from .endpoint import Endpoint
from .listening import Listening

if TYPE_CHECKING:
    from ..._core.task import Task
    from .listeners import AcceptedWire, Listener, Listeners

_BATCH: Final = 64
_ROUNDS: Final = 3  # of the scheduler: enough for each accepting task to have had a turn
_LAST_TURNS: Final = 64  # a flood of clients must not hold up a stop


def serve(endpoint: Endpoint, build_job: BuildJob, *, lame_duck: float = 0) -> Factory:
    """Return a factory for a task that accepts clients and runs a job for each, contained, as a child of the task's job.

    Its init binds, so that a bad address fails the job before anything is up. When its job is asked to stop, it continues to
    accept for `lame_duck` seconds, so that a balancer in front has time to notice. Then it accepts the clients in the kernel's
    queue for which there are places, closes the listeners, and is done when the last connection has ended. The connections'
    jobs are finished with the grace of the task's job.

    A client holds a place of the endpoint's `limit` until its job has ended and its socket is closed. That is done here:
    `build_job` and its job need not close the stream. The jobs are quiet about `PEER_FAULTS` and `NoUpstreamError`, but not
    about a shortage of this machine. An error of `build_job` is logged with its traceback and closes that client only;
    `Reject`, returned or raised, closes it with one quiet line. A client that has reset its connection while it waited for a
    place gets none.

    The task may be run again: by `restart` and `reload_on_signal`, which cut its connections and listen again, and by `retry`.

    The jobs' `fields` get client, listener and queue_time, and at the end reason, closed_by, bytes_up and bytes_down, unless
    the program or a relay has set them.

    Args:
        endpoint: where to listen, and with what limit.
        build_job: returns the job of a connection, which is run here, or a `Reject`. Must be a fast plain function: accepting
            pauses while it runs.
        lame_duck: seconds of the grace in which clients are still accepted.

    Raises, in the task:
        OSError: the endpoint cannot be bound, or its listener broke.
    """
    if not isinstance(endpoint, Endpoint):
        raise TypeError(f"endpoint must be an Endpoint, got {endpoint!r}")
    if not callable(build_job):
        raise TypeError(f"build_job must be callable, got {build_job!r}")
    check.plain("build_job", build_job)
    check.seconds("lame_duck", lame_duck)

    def serve_task(j: Job[Any]) -> Routines:
        listening = Listening(endpoint._binding, announced=True)

        async def run(task: Task) -> None:
            listeners = await listening.listeners(task)
            await _Server(endpoint, build_job, task).run(listeners, lame_duck, listening)
            task.done()

        return Routines(listening.init, run, listening.finalize)

    return serve_task


@final
class _Server:
    """One run of `serve`. Only Cancelled passes through its nurseries: they would wrap any other error in a group."""

    __slots__ = ("_clients", "_connections", "_endpoint", "_failure", "_limit", "_shortages", "_task")

    def __init__(self, endpoint: Endpoint, build_job: BuildJob, task: Task) -> None:
        self._endpoint = endpoint
        self._task = task
        self._shortages = RateLimitedLog(task.log)
        self._limit = LimitLog(task.log, endpoint.address, endpoint._options, endpoint._slots)
        self._clients = Clients(endpoint, build_job, task, self._limit)
        self._failure: BaseException | None = None
        self._connections: trio.Nursery

    async def run(self, listeners: Listeners, lame_duck: float, listening: Listening) -> None:
        """Serve until the job is asked to stop, and then until the last connection has ended."""
        async with trio.open_nursery() as self._connections:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(self._limit.run)
                for listener in listeners:
                    accepting.start_soon(self._guarded, self._accept_from, listener)
                await self._task.job.wait_stopping()
                await trio.sleep(lame_duck)
                await self._accept_backlog()
                accepting.cancel_scope.cancel()
            await listening.aclose()
        if self._failure is not None:
            listening.broke(self._task, self._failure)
            raise self._failure

    async def _accept_backlog(self) -> None:
        """Accept the clients in the kernel's queue: they believe they are connected, and would be reset by the close."""
        counters, before, turns = self._endpoint._counters, -1, 0
        while counters.accepted != before and turns < _LAST_TURNS:
            before = counters.accepted
            turns += 1
            for _ in range(_ROUNDS):
                await trio.lowlevel.checkpoint()

    async def _guarded(self, work: Callable[..., Any], *args: Any) -> None:
        """Do the work; keep an error out of the nursery, record it, and end the serving."""
        try:
            await work(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:
            self._failure = self._failure or error
            self._connections.cancel_scope.cancel()

    async def _accept_from(self, listener: Listener) -> None:
        admit = self._admit_within_limit if self._endpoint._options.on_limit == "wait" else self._admit_all
        while True:
            await listener.wait()
            for _ in range(_BATCH):  # then other tasks get a turn
                if not await self._try(admit, listener):
                    break

    async def _try(self, admit: Callable[[Listener], Any], listener: Listener) -> bool:
        """Accept one client; return True if another accept should be tried at once."""
        try:
            return bool(await admit(listener))
        except OSError as error:
            if error.errno in TRANSIENT_ACCEPT_ERRNOS:
                await trio.lowlevel.checkpoint()
                return True
            if error.errno not in CAPACITY_ERRNOS:
                raise
            return await self._reject_one(listener, error)

    async def _reject_one(self, listener: Listener, shortage: OSError) -> bool:
        try:
            turned_away = listener.reject_one()
        except trio.WouldBlock:  # the kernel fails for want of a descriptor before it looks for a client
            return False
        self._shortages.note(shortage)
        if turned_away:
            self._endpoint._counters.accepted += 1
            self._endpoint._counters.rejected += 1
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(SLEEP_TIME)
        return turned_away

    async def _admit_within_limit(self, listener: Listener) -> bool:
        """Take a place, then accept: without a place the client stays in the kernel's queue."""
        slots = self._endpoint._slots
        if not slots.take_nowait():
            await listener.wait()  # a full server is worth a line only if it keeps a client waiting
            if not slots.take_nowait():
                self._limit.note()
                await slots.take()
        wire = None
        try:
            wire = await listener.accept()
        finally:
            if wire is None:
                slots.give_back()
        if wire is None:
            return False
        self._start(wire, listener, placed=True)
        return True

    async def _admit_all(self, listener: Listener) -> bool:
        """Accept first; the client may or may not find a place."""
        wire = await listener.accept()
        if wire is None:
            return False
        placed = self._endpoint._slots.take_nowait()
        self._start(wire, listener, placed=placed)
        return True

    def _start(self, wire: AcceptedWire, listener: Listener, *, placed: bool) -> None:
        self._endpoint._counters.accepted += 1
        self._connections.start_soon(self._guarded, self._clients.serve, wire, listener.address, placed)
