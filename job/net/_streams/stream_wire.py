"""Any trio stream as a wire: memory, a program's own, its TLS included."""

from __future__ import annotations

from typing import Final, final

import trio
from trio.lowlevel import checkpoint

from .abort import abort_soon, wait_stream_delivered
from .wire import Data, Wire


@final
class StreamWire:
    """A wire on any trio stream.

    If the stream cannot half-close, `send_eof` takes effect when the other direction has ended: trio's own TLS has one
    close_notify for both directions.
    """

    __slots__ = ("_close_timeout", "_eof_due", "_local", "_peer", "_stream", "eof")

    tls: Final = None

    def __init__(self, stream: trio.abc.Stream, *, local: str, peer: str, close_timeout: float) -> None:
        self._stream = stream
        self._local = str(getattr(stream, "local", local))
        self._peer = str(getattr(stream, "peer", peer))
        self._close_timeout = close_timeout
        self.eof = False
        self._eof_due = False

    @property
    def local(self) -> str:
        """The address of this end."""
        return self._local

    @property
    def peer(self) -> str:
        """The address of the other end."""
        return self._peer

    @property
    def is_reset(self) -> bool:
        """True if the peer has cut the connection, as far as the stream can tell; those in memory can."""
        return bool(getattr(self._stream, "is_reset", False))

    @property
    def half_closes(self) -> bool:
        """True if the stream has a `send_eof`."""
        return hasattr(self._stream, "send_eof")

    @property
    def resumes(self) -> bool:
        """True if the stream tells how much it has sent; trio's own cannot, once cancelled."""
        return hasattr(self._stream, "send_some")

    async def receive_some(self, max_bytes: int) -> bytes:
        """Receive some bytes; none at EOF."""
        if self.eof:
            await checkpoint()
            return b""
        data = bytes(await self._stream.receive_some(max_bytes))
        if not data:
            self.eof = True
            await self._say_eof_if_due()
        return data

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Raise trio.WouldBlock, except at EOF: a trio stream has no such call."""
        if self.eof:
            return b""
        raise trio.WouldBlock

    async def send_some(self, data: Data) -> int:
        """Send some bytes if the stream can, else all of them."""
        if self.resumes:
            sent: int = await self._stream.send_some(data)  # type: ignore[attr-defined]  # `resumes` has checked
            return sent
        await self._stream.send_all(data)
        return memoryview(data).nbytes

    async def flush(self) -> None:
        """No-op: the stream keeps nothing back."""

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room to send something."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Send EOF, now or when the other direction has ended."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        else:
            await checkpoint()
            self._eof_due = True
            if self.eof:
                await self._say_eof_if_due()

    async def _say_eof_if_due(self) -> None:
        if not self._eof_due:
            return
        self._eof_due = False
        with trio.move_on_after(self._close_timeout, shield=True):
            try:
                await self._say_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the peer is gone

    async def _say_eof(self) -> None:
        if isinstance(self._stream, trio.SSLStream):
            # The transport below is closed later, with the wire.
            self._stream, _ = await self._stream.unwrap()
        else:
            await self._stream.aclose()

    async def aclose(self) -> None:
        """Close the stream; over TLS close_notify goes first."""
        await self._stream.aclose()

    async def wait_delivered(self) -> None:
        """Wait for delivery, as far as the stream can tell."""
        await wait_stream_delivered(self._stream)

    def abort(self) -> None:
        """Cut the connection at once."""
        abort_soon(self._stream)

    def abandon(self) -> None:
        """Leave the stream to the garbage collector: trio has no way to close one outside of a run."""


async def close_now(wire: Wire) -> None:
    """Close a wire at once: there is nothing to lose."""
    with trio.CancelScope(shield=True) as scope:
        scope.cancel()
        await wire.aclose()
