"""The relay engine: one trio task moves the bytes of all relays between plain sockets in a trio run.

A relay in trio tasks of its own pays for each message with a task switch or two and as many changes of trio's epoll set, which
is most of its cost. Here the sockets of all relays are in an epoll set of the engine's own, level-triggered, so that in the
steady state nothing about it changes. Trio watches that set as one descriptor, and the tasks of the relays sleep until theirs
has ended.
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
"""Whether this system has what the engine needs."""

_BATCH: Final = 64
"""Events taken at once. Epoll serves the descriptors in turn, so that nobody waits for longer than a round."""


class FdHandler(Protocol):
    """Moves bytes when a descriptor is ready. Its exceptions go to its own `fail` and affect no other handler."""

    def readable(self, now: float) -> None:
        """There may be something to read."""
        ...

    def writable(self, now: float) -> None:
        """There may be room to write."""
        ...

    def fail(self, error: BaseException) -> None:
        """Take note of what one of the other two has raised."""
        ...


@final
class Engine:
    """The descriptors of one trio run, and who moves the bytes of each. `with engine():` keeps it running.

    A descriptor that nobody waits for is not in the epoll set: the kernel reports a hang-up whether asked for or not, and
    that of a direction which is paused, because its bytes find no room, is not yet its end.
    """

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
        """Call `handler` when there is something to read; None: nobody."""
        self._watch(self._readers, fd, handler)

    def write(self, fd: int, handler: FdHandler | None) -> None:
        """Call `handler` when there is room to write; None: nobody."""
        self._watch(self._writers, fd, handler)

    def leave(self, fd: int, handler: FdHandler) -> None:
        """Call that mover no more; what others wait for stays."""
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
        if self._epoll.closed:  # the trio run is ending, and whoever is left here with it
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
            with suppress(OSError):  # whoever closed a socket below its stream has taken it out
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
        except trio.ClosedResourceError:  # our own doing
            return

    async def _serve(self) -> None:
        """Serve until nobody is ready; the other tasks get their turns in between."""
        until = monotonic() + time_slice().slice
        while not self._epoll.closed and (events := self._epoll.poll(0, _BATCH)):
            self._turn(events, trio.current_time())
            if monotonic() >= until:
                until = await time_slice().yield_if_due()

    def _turn(self, events: list[tuple[int, int]], now: float) -> None:
        # Who is served may end others, or change what they wait for: the tables are asked for each event anew. An error or
        # a hang-up is news for whoever waits, in either direction.
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
