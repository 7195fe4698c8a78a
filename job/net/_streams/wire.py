"""The transport under a `Stream`: a socket of our own, TLS on another wire, or any trio stream.

    SocketWire   a plain socket: each call is tried first, and waits only if it would block
    TlsWire      TLS on another wire; OpenSSL does no I/O of its own
    StreamWire   any trio stream: in memory, from a transport, a program's own

A wire is the smallest thing that a connection can be asked to do. It detects no conflicts between tasks (the link does), cuts
no messages (the inbox does), queues nothing (the outbox does), and has no timeouts (closing has).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from .tls_info import TLSInfo

Data: TypeAlias = bytes | bytearray | memoryview


class Wire(Protocol):
    """A stream of bytes both ways. Conflicts are detected above it, and `aclose` is bounded and shielded above it."""

    @property
    def local(self) -> str: ...
    @property
    def peer(self) -> str: ...

    @property
    def eof(self) -> bool:
        """True if the peer has sent EOF."""
        ...

    @property
    def half_closes(self) -> bool:
        """True if `send_eof` takes effect at once."""
        ...

    @property
    def resumes(self) -> bool:
        """True if a cancelled send can be resumed where it stopped."""
        ...

    @property
    def tls(self) -> TLSInfo | None:
        """The result of the TLS handshake; None without TLS."""
        ...

    async def receive_some(self, max_bytes: int, /) -> bytes:
        """Receive 1 to `max_bytes` bytes, or nothing at EOF."""
        ...

    def receive_nowait(self, max_bytes: int, /) -> bytes:
        """Like `receive_some`, but raise `trio.WouldBlock` instead of waiting."""
        ...

    async def send_some(self, data: Data, /) -> int:
        """Accept at least one byte of `data` for sending; return how many."""
        ...

    async def flush(self) -> None:
        """Wait until everything accepted is sent; after a cancellation the rest goes out before anything else."""
        ...

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room to send something."""
        ...

    async def send_eof(self) -> None:
        """Tell the peer that no more bytes are coming."""
        ...

    async def aclose(self) -> None:
        """Close gracefully; at once if cancelled."""
        ...

    async def wait_delivered(self) -> None:
        """Wait until what was sent has reached the peer, as far as that can be known: `abort` discards what has not."""
        ...

    def abort(self) -> None:
        """Close at once so that the peer sees a cut, not an end: no EOF, no close_notify. Harmless the second time."""
        ...

    def abandon(self) -> None:
        """Close at once; also outside of trio."""
        ...
