"""The pumps that run in a trio task each: for any two streams, and for two plain sockets."""

from __future__ import annotations

import errno
import socket
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, NoReturn, final

import trio
from trio.lowlevel import RunVar

from ..._core.trio.time_slice import time_slice
from .leg import Leg
from .pump import Pump, RelayControl


class TaskPump(Pump):
    """One direction in a trio task of its own."""

    __slots__ = ("_scope",)

    def __init__(self, source: Leg, sink: Leg, control: RelayControl) -> None:
        super().__init__(source, sink, control)
        # A cancellation from outside must not take effect between receiving a chunk and sending it. The session receives it,
        # and decides whether that chunk is still to be sent.
        self._scope = trio.CancelScope(shield=True)

    @property
    def holding(self) -> bool:
        """True if the pump is sending a chunk."""
        return self.running and self.sending

    async def run(self) -> None:
        """Move bytes until EOF, a stop or an error; raise nothing."""
        try:
            with self._scope:
                await self._run()
        except BaseException as error:
            self._control.failed(self, error)
        finally:
            self.running = self.recheck_pending = False
            self._control.changed()

    def cut(self) -> None:
        """End the pump, whatever it holds."""
        self._scope.cancel()

    def stop(self) -> None:
        """End the pump as soon as it holds nothing."""
        self.stopping = True
        if self.running and not self.sending:
            self._interrupt()

    def look_again(self) -> None:
        """Interrupt a wait for the source."""
        if self.running and not self.sending:
            self.recheck_pending = True
            self._interrupt()

    @abstractmethod
    async def _run(self) -> None: ...

    @abstractmethod
    def _interrupt(self) -> None:
        """Interrupt a wait for the source, and no other."""

    def _looked(self) -> None:
        if self.recheck_pending:
            self.recheck_pending = False
            self._control.changed()

    def _given(self, size: int) -> None:
        self.bytes += size
        self._control.moved(trio.current_time())

    async def _pass_eof(self) -> None:
        self.eof = self._control.ended(self)
        if self.eof:
            self.sending = True
            await self.sink.send_eof()


@final
class StreamPump(TaskPump):
    """Moves the bytes of any trio stream, by `receive_some` and `send_all`."""

    __slots__ = ("_wait",)

    def __init__(self, source: Leg, sink: Leg, control: RelayControl) -> None:
        super().__init__(source, sink, control)
        self._wait = trio.CancelScope()

    async def _run(self) -> None:
        while (data := await self._receive()) is not None:
            if not data:
                await self._pass_eof()
                return
            self._control.moved(trio.current_time())
            self.sending = True
            await self.sink.stream.send_all(data)
            self.sending = False
            self._given(len(data))

    async def _receive(self) -> bytes | bytearray | memoryview | None:
        """Return the next chunk; None if the pump is stopped first."""
        while not self.stopping:
            try:
                # Around the wait alone: a chunk that comes at the same moment as the interruption is not lost.
                with self._wait:
                    return await self.source.stream.receive_some()
            finally:
                self._wait = trio.CancelScope()
                self._looked()
        return None

    def _interrupt(self) -> None:
        self._wait.cancel()


CHUNK: Final = 65536
"""The most bytes received at once, and so the most that a direction holds when its sink takes no more."""

_buffer: RunVar[memoryview] = RunVar("job relay buffer")


@final
class SocketPump(TaskPump):
    """Moves bytes between two plain sockets: tries first, and waits only if the kernel has nothing to read or no room.

    All pumps of a trio run share one buffer. None awaits between filling and emptying it: what the sink does not take at
    once is copied out.
    """

    __slots__ = ("_sink_sock", "_source_sock")

    def __init__(self, source: Leg, sink: Leg, control: RelayControl) -> None:
        super().__init__(source, sink, control)
        assert source.plain is not None
        assert sink.plain is not None
        self._source_sock = source.plain
        self._sink_sock = sink.plain

    async def _run(self) -> None:
        self.source.lend(self._source_closed)
        try:
            await self._flow()
        finally:
            self.source.take_back()

    def _source_closed(self) -> None:
        self._control.failed(self, trio.ClosedResourceError("this stream was closed while it was relayed"))

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
                # A chunk that is not full was the last one: another try would nearly always find nothing.
                await _wait(trio.lowlevel.wait_readable, self._source_sock)
            elif monotonic() >= until:
                until = await time_slice().yield_if_due()

    def _take(self, buffer: memoryview) -> int | None:
        """Receive into the buffer; return how many bytes, 0 at EOF, None if there are none yet."""
        try:
            return self._source_sock.recv_into(buffer)
        except BlockingIOError:
            return None
        except OSError as error:
            raise_as_stream_error(error)

    async def _pass_on(self, chunk: memoryview) -> bool:
        """Send a chunk; return True if the sink took all of it at once."""
        size = len(chunk)
        self.source.count_received(size)
        self.sending = True
        sent = self._give(chunk)
        if sent < size:
            self._control.moved(trio.current_time())  # out of the source at least
            await self._give_rest(bytes(chunk[sent:]))
        self.sending = False
        return sent == size

    async def _give_rest(self, data: bytes) -> None:
        self.sending = True
        rest = memoryview(data)
        while rest:
            await _wait(trio.lowlevel.wait_writable, self._sink_sock)
            rest = rest[self._give(rest) :]
        self.sending = False

    def _give(self, data: memoryview) -> int:
        """Send, and return how many bytes the sink took; 0 if it has no room."""
        try:
            sent = self._sink_sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise_as_stream_error(error)
        self.sink.count_sent(sent)
        self._given(sent)
        return sent

    def _interrupt(self) -> None:
        # Wakes the task that waits for this socket, so that it looks again. A scope around each wait would cost more than it.
        trio.lowlevel.notify_closing(self._source_sock)


def shared_buffer() -> memoryview:
    """Return the buffer that all pumps of this trio run share."""
    try:
        return _buffer.get()
    except LookupError:
        fresh = memoryview(bytearray(CHUNK))
        _buffer.set(fresh)
        return fresh


async def _wait(until_ready: Callable[[socket.socket], Awaitable[None]], plain: socket.socket) -> None:
    """Wait for a socket. May return early: the next call on the socket finds out."""
    try:
        await until_ready(plain)
    except trio.ClosedResourceError:
        return


def raise_as_stream_error(error: OSError) -> NoReturn:
    """Raise the stream error for a socket error: a socket that we closed ourselves is our fault, all else is the peer's."""
    if error.errno == errno.EBADF:
        raise trio.ClosedResourceError("this socket was already closed") from None
    raise trio.BrokenResourceError(f"socket connection broken: {error}") from error
