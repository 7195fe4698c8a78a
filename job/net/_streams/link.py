"""The wire of one stream in use: which task receives from it, how many bytes have passed, whether it is closed.

Theory. The wire below detects no conflicts, so the link does: `receiver` is the one place that says which caller may read. It
is None while nothing reads, `_nothing` during a call of `receive`, and the callback of a borrower between `lend` and
`take_back`. A relay is such a borrower: it reads the raw socket itself, past this object, and is told by the callback when the
stream is closed under it. Each borrower counts what it moves: `bytes_received`, `bytes_sent` and the owner's totals are written
chunk by chunk, which is why the counters are plain attributes.
"""

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
    """A wire in use, with at most one receiver: a trio task for the length of a call, or the borrower of the raw socket.

    Inbox and outbox stand on it; a relay uses it directly.

    Attributes:
        receiver: called when the link is closed under its receiver; None if there is none.
        raw: bytes went past the codec, so that only the program knows where the next message begins.
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
            trio.WouldBlock: there is nothing, or another task is receiving.
        """
        if self.receiver is not None:
            raise trio.WouldBlock
        data = self.wire.receive_nowait(self.read_size)
        self.count_received(len(data))
        return data

    def check_may_receive(self) -> None:
        """Refuse to receive if the link is closed, or another task is receiving."""
        self.check_open()
        if self.receiver is not None:
            raise trio.BusyResourceError("another task is receiving from this stream")

    def lend(self, closing: Callable[[], None]) -> None:
        """Reserve receiving for the caller until `take_back`; `closing` is called if the link is closed before that.

        Raises:
            trio.BusyResourceError: another task is receiving.
        """
        self.check_may_receive()
        self.raw = True
        self.receiver = closing

    def take_back(self) -> None:
        """Let tasks receive again."""
        self.receiver = None

    def count_received(self, size: int) -> None:
        """Count bytes that came in."""
        self.bytes_received += size
        self._counters.bytes_received += size

    def note_eof(self) -> None:
        """Record an EOF read by the borrower of the raw socket; TLS has seen its own."""
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
        """Tell the peer that no more bytes are coming."""
        await self.wire.send_eof()
        self.eof_sent = True

    def send_eof_nowait(self) -> None:
        """Like `send_eof`, but without a checkpoint, on a socket of ours. With TLS as far as there is room.

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
        """Mark the link closed and tell its receiver; the wire is closed by the caller."""
        self.closed = True
        if self.receiver is not None:
            self.receiver()

    def check_open(self) -> None:
        """Refuse to use a closed link."""
        if self.closed:
            raise trio.ClosedResourceError("this stream was closed")

    def check_can_send(self) -> None:
        """Refuse to send if the link is closed, or EOF was sent."""
        self.check_open()
        if self.eof_sent:
            raise trio.ClosedResourceError("cannot send after EOF was sent")
