"""What a `Stream` lies on: an own socket, or any trio stream (TLS, memory, a program's own)."""

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
        """Whether the peer has said EOF."""
        ...

    @property
    def half_closes(self) -> bool:
        """Whether `send_eof` takes effect at once."""
        ...

    @property
    def resumes(self) -> bool:
        """Whether a send that was cancelled can be taken up where it stopped."""
        ...

    @property
    def tls(self) -> TLSInfo | None:
        """What a TLS handshake has settled; None without TLS."""
        ...

    async def receive_some(self, max_bytes: int, /) -> bytes:
        """Receive 1 to `max_bytes` bytes, or nothing at EOF."""
        ...

    def receive_nowait(self, max_bytes: int, /) -> bytes:
        """Like `receive_some`, but raise `trio.WouldBlock` instead of waiting."""
        ...

    async def send_some(self, data: Data, /) -> int:
        """Take at least one byte of `data` to be sent; return how many."""
        ...

    async def flush(self) -> None:
        """Wait until all that was taken is sent; after a cancellation it goes out before anything else."""
        ...

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room to send something."""
        ...

    async def send_eof(self) -> None:
        """Say that no more bytes are coming."""
        ...

    async def aclose(self) -> None:
        """Close, gracefully; when cancelled, at once."""
        ...

    async def wait_delivered(self) -> None:
        """Wait until what was sent has reached the peer, as far as that can be known: `abort` takes back what has not."""
        ...

    def abort(self) -> None:
        """Close at once, so that the peer sees a cut and no end: no EOF, no close_notify. Harmless the second time."""
        ...

    def abandon(self) -> None:
        """Close at once; also outside of trio."""
        ...
