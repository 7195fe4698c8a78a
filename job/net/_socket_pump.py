"""The pump for two plain sockets: past trio's streams, straight to the kernel."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, NoReturn, final

import trio
from trio.lowlevel import RunVar

from .._fairness import turns
from ._pump import Course, TaskPump
from ._relay_end import End

CHUNK: Final = 65536
"""Bytes taken at once, and so the most that a direction holds when its sink takes no more."""

_buffer: RunVar[memoryview] = RunVar("job relay buffer")


@final
class SocketPump(TaskPump):
    """Tries first and waits only where the kernel has nothing to give or no place to take it.

    All pumps of a trio run share one buffer. None of them awaits between filling and emptying it: what the sink did not
    take at once is copied out.
    """

    __slots__ = ("_from", "_to")

    def __init__(self, source: End, sink: End, course: Course) -> None:
        super().__init__(source, sink, course)
        assert source.plain is not None
        assert sink.plain is not None
        self._from = source.plain
        self._to = sink.plain

    async def _run(self) -> None:
        self.source.lend(self._source_closed)
        try:
            await self._flow()
        finally:
            self.source.take_back()

    def _source_closed(self) -> None:
        self._course.failed(self, trio.ClosedResourceError("this stream was closed while it was relayed"))

    async def _flow(self) -> None:
        if unread := self.source.take_unread():
            await self._give_rest(unread)
        buffer = shared_buffer()
        until = 0.0
        while not self.stopping:
            size = self._take(buffer)
            self._looked()
            if size == 0:
                await self._pass_eof()
                return
            if size is None or (await self._pass_on(buffer[:size]) and size < CHUNK):
                # A chunk that is not full was the last there was. To try again would be in vain nearly always.
                await _wait(trio.lowlevel.wait_readable, self._from)
            elif monotonic() >= until:
                until = await turns().give_way()

    def _take(self, buffer: memoryview) -> int | None:
        """Return how many bytes came, 0 at EOF; None where there is nothing yet."""
        try:
            return self._from.recv_into(buffer)
        except BlockingIOError:
            return None
        except OSError as error:
            raise_as_stream_error(error)

    async def _pass_on(self, chunk: memoryview) -> bool:
        """Give a chunk to the sink; return whether it took all of it at once."""
        size = len(chunk)
        self.source.count_received(size)
        self.sending = True
        sent = self._give(chunk)
        if sent < size:
            self._course.moved(trio.current_time())  # into our hands at least
            await self._give_rest(bytes(chunk[sent:]))
        self.sending = False
        return sent == size

    async def _give_rest(self, data: bytes) -> None:
        self.sending = True
        rest = memoryview(data)
        while rest:
            await _wait(trio.lowlevel.wait_writable, self._to)
            rest = rest[self._give(rest) :]
        self.sending = False

    def _give(self, data: memoryview) -> int:
        """Return how many bytes the sink took."""
        try:
            sent = self._to.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise_as_stream_error(error)
        self.sink.count_sent(sent)
        self._given(sent)
        return sent

    def _interrupt(self) -> None:
        # Wakes whoever waits for this socket, to look again; a scope around each wait would cost more than the wait.
        trio.lowlevel.notify_closing(self._from)


def shared_buffer() -> memoryview:
    """Return the buffer of this trio run."""
    try:
        return _buffer.get()
    except LookupError:
        fresh = memoryview(bytearray(CHUNK))
        _buffer.set(fresh)
        return fresh


async def _wait(until_ready: Callable[[socket.socket], Awaitable[None]], plain: socket.socket) -> None:
    """Wait for a socket. May return early: the next call on it tells."""
    try:
        await until_ready(plain)
    except trio.ClosedResourceError:
        return


def raise_as_stream_error(error: OSError) -> NoReturn:
    """Tell a socket that we have closed ourselves, which is a fault, from all that a peer can do."""
    if error.errno == errno.EBADF:
        raise trio.ClosedResourceError("this socket was already closed") from None
    raise trio.BrokenResourceError(f"socket connection broken: {error}") from error
