"""The relay engine: one system task moves the bytes of all relays between sockets of ours in a trio run.

Theory. A relay in trio tasks of its own pays for each message with one or two task switches and as many changes of trio's
epoll set (trio arms a descriptor for one event at a time); that is most of its cost. Here the descriptors of all relays are in
an epoll set of the engine's own, level-triggered: in the steady state, where bytes come and the sink takes them, the set never
changes. An epoll set is itself a descriptor, readable while it has events, so trio waits for all relays with one
`wait_readable`. The trio tasks of the relays sleep meanwhile, each on a timer (`timers.py`), until their relay has ended.

A descriptor is in the set only while some handler waits for it. The kernel reports a hang-up whether it was asked for or not,
and for a direction that is paused, because its bytes find no room in the sink, a hang-up of the source is not yet its end: to
take it for one would lose those bytes. Level-triggered, it would also make the engine spin.

Ownership: a handler (`EnginePump`) owns its two directions of interest and leaves the set before its sockets are closed.
Otherwise the descriptor number could come back as another connection. The engine owns the epoll set, the shared buffer, the
pipes for splicing and the timers, and goes with its last user.

Fairness: events are taken in batches, and after each time slice (about 1 ms, shared with all spinning loops of the run) the
engine yields, so that a busy relay starves no other task.
"""

from __future__ import annotations

import select
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Final, Protocol, final

import trio
from trio.lowlevel import RunVar

from ..._core.trio.time_slice import time_slice
from .splice import Pipes
from .task_pumps import shared_buffer
from .timers import Timers

AVAILABLE: Final = hasattr(select, "epoll")
"""True if this system has what the engine needs."""

_BATCH: Final = 64
"""Events taken at once. Epoll rotates the ready descriptors, so that none waits for longer than a round."""


class FdHandler(Protocol):
    """Moves bytes when a descriptor is ready. Its exceptions go to its own `fail` and affect no other handler."""

    def readable(self, now: float) -> None:
        """Read: there may be something to read."""
        ...

    def writable(self, now: float) -> None:
        """Write: there may be room to write."""
        ...

    def fail(self, error: BaseException) -> None:
        """Record what one of the other two raised."""
        ...


@final
class Engine:
    """Calls the handler of each descriptor that is ready, in one trio run. `with engine():` keeps it running."""

    __slots__ = ("_epoll", "_readers", "_users", "_writers", "buffer", "pipes", "timers")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, FdHandler] = {}
        self._writers: dict[int, FdHandler] = {}
        self._users = 0
        self.timers = Timers()
        self.buffer = shared_buffer()
        self.pipes = Pipes()

    def __enter__(self) -> Engine:
        if not self._users:
            trio.lowlevel.spawn_system_task(self._run, name="job relay engine")
        self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._users -= 1
        self.timers.compact(self._users)
        if not self._users:
            self._close()

    @property
    def closed(self) -> bool:
        """True if its last user has left: it cannot be entered again."""
        return self._epoll.closed

    def read(self, fd: int, handler: FdHandler | None) -> None:
        """Call `handler` when there is something to read; None: call no handler any more."""
        self._watch(self._readers, fd, handler)

    def write(self, fd: int, handler: FdHandler | None) -> None:
        """Call `handler` when there is room to write; None: call no handler any more."""
        self._watch(self._writers, fd, handler)

    def leave(self, fd: int, handler: FdHandler) -> None:
        """Stop calling this handler; other handlers of the descriptor stay."""
        for table in (self._readers, self._writers):
            if table.get(fd) is handler:
                self._watch(table, fd, None)

    def _watch(self, table: dict[int, FdHandler], fd: int, handler: FdHandler | None) -> None:
        if handler is None and fd not in table:
            return
        before = self._interest(fd)
        if handler is None:
            del table[fd]
        else:
            table[fd] = handler
        after = self._interest(fd)
        if self._epoll.closed:  # the trio run is ending, and with it every relay that is left
            return
        try:
            self._tell_kernel(fd, before, after)
        except BaseException:
            table.pop(fd, None)
            raise

    def _tell_kernel(self, fd: int, before: int, after: int) -> None:
        if not before and after:
            self._epoll.register(fd, after)
        elif before and not after:
            with suppress(OSError):  # a socket that was closed below its stream is no longer in the set
                self._epoll.unregister(fd)
        else:
            self._epoll.modify(fd, after)

    def _interest(self, fd: int) -> int:
        return (select.EPOLLIN if fd in self._readers else 0) | (select.EPOLLOUT if fd in self._writers else 0)

    async def _run(self) -> None:
        try:
            while not self._epoll.closed:
                with self.timers.scope():
                    await self._work()
                self.timers.fire()
        finally:
            self._close()

    async def _work(self) -> None:
        while not self._epoll.closed:
            await self._wait()
            await self._serve()

    async def _wait(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
        except trio.ClosedResourceError:  # by `_close`
            return

    async def _serve(self) -> None:
        """Serve until no descriptor is ready; other tasks get their turns in between."""
        until = monotonic() + time_slice().slice
        while not self._epoll.closed and (events := self._epoll.poll(0, _BATCH)):
            self._dispatch(events, trio.current_time())
            if monotonic() >= until:
                until = await time_slice().yield_if_due()

    def _dispatch(self, events: list[tuple[int, int]], now: float) -> None:
        # A handler may end others, or change what they wait for, so the tables are read again for each event. An error or a
        # hang-up goes to both handlers of a descriptor: either may be waiting for it.
        readers, writers = self._readers, self._writers
        for fd, event in events:
            if event != select.EPOLLOUT and (handler := readers.get(fd)) is not None:
                try:
                    handler.readable(now)
                except BaseException as error:
                    handler.fail(error)
            if event != select.EPOLLIN and (handler := writers.get(fd)) is not None:
                try:
                    handler.writable(now)
                except BaseException as error:
                    handler.fail(error)

    def _close(self) -> None:
        if not self._epoll.closed:
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()
            self.pipes.close()


_engine: RunVar[Engine] = RunVar("job relay engine")


def engine() -> Engine:
    """Return the engine of this trio run."""
    try:
        current = _engine.get()
        if not current.closed:
            return current
    except LookupError:
        pass
    fresh = Engine()
    _engine.set(fresh)
    return fresh
