"""What goes over the wire of one stream: who receives from it, how many bytes, until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

from .owner import StreamOwner
from .socket_wire import SocketWire
from .tls_wire import TlsWire
from .wire import Wire


def _nothing() -> None:
    """No-op: the wire itself wakes a task blocked in receive when it closes."""


@final
class Link:
    """A wire in use. One at a time receives from it: a trio task, for the length of a call, or whom it was lent to.

    The halves of a stream lie on it, and a relay goes past them.

    Attributes:
        receiver: to be called when the link is closed under whoever receives; None where nobody does.
        raw: bytes went past the codec: where the next message begins is the program's affair.
    """

    __slots__ = ("_counters", "bytes_received", "bytes_sent", "closed", "eof_sent", "owner", "raw", "receiver", "wire")

    def __init__(self, wire: Wire, owner: StreamOwner) -> None:
        self.wire = wire
        self.owner = owner
        self._counters = owner.counters  # one look-up less for each chunk
        self.bytes_received = 0
        self.bytes_sent = 0
        self.closed = False
        self.eof_sent = False
        self.raw = False
        self.receiver: Callable[[], None] | None = None

    @property
    def read_size(self) -> int:
        """The most bytes in one chunk."""
        return self.owner.read_size

    async def receive(self, most: int | None = None) -> bytes:
        """Receive what comes, up to a chunk; nothing at EOF."""
        self.check_may_receive()
        self.receiver = _nothing
        try:
            data = await self.wire.receive_some(most or self.read_size)
        finally:
            self.receiver = None
        self.count_received(len(data))
        return data

    def receive_nowait(self) -> bytes:
        """Receive what is there, up to a chunk; nothing at EOF.

        Raises:
            trio.WouldBlock: there is nothing, or somebody else receives.
        """
        if self.receiver is not None:
            raise trio.WouldBlock
        data = self.wire.receive_nowait(self.read_size)
        self.count_received(len(data))
        return data

    def check_may_receive(self) -> None:
        """Refuse to receive where the link is closed, or somebody else receives."""
        self.check_open()
        if self.receiver is not None:
            raise trio.BusyResourceError("another task is receiving from this stream")

    def lend(self, closing: Callable[[], None]) -> None:
        """Let nobody else receive until `take_back`; call `closing` when somebody closes the link nevertheless.

        Raises:
            trio.BusyResourceError: another task is receiving.
        """
        self.check_may_receive()
        self.raw = True
        self.receiver = closing

    def take_back(self) -> None:
        """Receive as before."""
        self.receiver = None

    def count_received(self, size: int) -> None:
        """Count bytes that came in."""
        self.bytes_received += size
        self._counters.bytes_received += size

    def note_eof(self) -> None:
        """Take note that the peer has said EOF to whom a socket was lent; TLS has heard it itself."""
        if isinstance(self.wire, SocketWire):
            self.wire.eof = self.wire.quiet = True

    async def send_some(self, data: memoryview) -> int:
        """Send at least one byte; return how many."""
        self.check_open()
        sent = await self.wire.send_some(data)
        self.count_sent(sent)
        return sent

    async def flush(self) -> None:
        """Wait until all is sent."""
        await self.wire.flush()

    async def send_eof(self) -> None:
        """Say that no more bytes are coming."""
        await self.wire.send_eof()
        self.eof_sent = True

    def send_eof_nowait(self) -> None:
        """Say so on a plain socket, or on one with TLS as far as there is room, without a checkpoint.

        Raises:
            OSError: the peer is gone.
        """
        assert isinstance(self.wire, SocketWire | TlsWire)
        self.wire.send_eof_nowait()
        self.eof_sent = True

    def count_sent(self, size: int) -> None:
        """Count bytes that went out."""
        self.bytes_sent += size
        self._counters.bytes_sent += size

    def close(self) -> None:
        """Mark the link closed, whatever becomes of the wire."""
        self.closed = True
        if self.receiver is not None:
            self.receiver()

    def check_open(self) -> None:
        """Refuse a closed one."""
        if self.closed:
            raise trio.ClosedResourceError("this stream was closed")

    def check_can_send(self) -> None:
        """Refuse to send where the link is closed, or has said EOF."""
        self.check_open()
        if self.eof_sent:
            raise trio.ClosedResourceError("cannot send after EOF was sent")
