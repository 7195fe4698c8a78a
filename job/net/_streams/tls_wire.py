"""TLS on another wire: on our own socket, or on whatever stream a transport gives."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from .socket_wire import SocketWire
from .stream_wire import close_now
from .tls import Tls
from .tls_buffers import RECORD
from .tls_info import TLSInfo
from .tls_socket import TlsSocket, broken
from .wire import Data, Wire


@final
class TlsWire:
    """Moves the ciphertext of one TLS connection. What has been taken and is not below yet goes out with the next `flush`.

    At most one trio task receives from the wire below, and one sends on it; but TLS may want either to be done by who does the
    other (an answer to a KeyUpdate, a new handshake in TLS 1.2). So each has a lock.
    """

    __slots__ = ("_below", "_cut", "_feeding", "_feeds", "_flushing", "_tls")

    half_closes: Final = True

    def __init__(self, below: Wire, tls: Tls) -> None:
        self._below = below
        self._tls = tls
        self._feeds = 0
        self._cut = False  # nobody knows how much of the ciphertext has gone out
        self._feeding = trio.Lock()
        self._flushing = trio.Lock()

    @property
    def local(self) -> str:
        """The address of this end."""
        return self._below.local

    @property
    def peer(self) -> str:
        """The address of the other end."""
        return self._below.peer

    @property
    def eof(self) -> bool:
        """Whether the peer has said close_notify."""
        return self._tls.eof

    @property
    def resumes(self) -> bool:
        """Whether the wire below does."""
        return self._below.resumes

    @property
    def tls(self) -> TLSInfo:
        """What the handshake has settled."""
        return self._tls.info

    async def shake_hands(self) -> None:
        """Shake hands.

        Raises:
            OSError: it failed: an ssl.SSLError, of which the peer has not heard yet, or a ConnectionError.
        """
        try:
            while not self._tls.shake_hands():
                await self._feed()
            await self.flush()
        except trio.BrokenResourceError as broken:
            if isinstance(broken.__cause__, OSError):
                raise broken.__cause__ from None
            raise ConnectionAbortedError(f"TLS handshake failed: {broken}") from broken

    async def receive_some(self, max_bytes: int) -> bytes:
        """Receive some bytes; none at EOF."""
        await checkpoint_if_cancelled()
        data = await self._read(max_bytes)
        if data is not None:
            await cancel_shielded_checkpoint()
        while data is None:
            await self._feed()
            data = await self._read(max_bytes)
        return data

    async def _read(self, most: int) -> bytes | None:
        try:
            return self._tls.read(most)
        except ssl.SSLError as fault:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.flush()
            raise broken(fault) from fault

    async def _feed(self) -> None:
        """Say what is to be said, then receive from below; once, where several want it."""
        if self._tls.out.pending and not self._flushing.locked():
            await self.flush()
        feeds = self._feeds
        async with self._feeding:
            if feeds != self._feeds:
                return
            self._tls.feed(await self._below.receive_some(RECORD))
            self._feeds += 1

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Receive what is there."""
        try:
            while (data := self._tls.read(max_bytes)) is None:
                self._tls.feed(self._below.receive_nowait(RECORD))
        except ssl.SSLError as fault:
            raise broken(fault) from fault
        return data

    async def send_some(self, data: Data) -> int:
        """Take a record, once the one before is out."""
        await self.flush()
        with memoryview(data) as view, view[:RECORD] as record:
            try:
                while not self._tls.write(record):
                    await self._feed()
            except ssl.SSLError as fault:
                raise broken(fault) from fault
            return len(record)

    async def flush(self) -> None:
        """Send what has been taken."""
        async with self._flushing:
            while self._tls.out.pending:
                await self._flush_some()

    async def _flush_some(self) -> None:
        if self._cut:
            raise trio.BrokenResourceError("a send on this stream was cancelled half way")
        try:
            self._tls.out.sent(await self._below.send_some(self._tls.out.next()))
        except trio.Cancelled:
            self._cut = not self._below.resumes
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there may be room to send something."""
        await self.flush()
        await self._below.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say close_notify."""
        self._tls.close_notify()
        try:
            await self.flush()
        except trio.BrokenResourceError:
            if not self._tls.eof:  # a peer that has said EOF may be gone: it has no use for ours
                raise

    def lend(self) -> TlsSocket | None:
        """Return the socket below, with its TLS, where it is one of ours; take it that some will be sent."""
        return TlsSocket(self._below.lend(), self._tls) if isinstance(self._below, SocketWire) else None

    def send_eof_nowait(self) -> None:
        """Say close_notify; where there is no room for it, it goes out with the next flush."""
        assert isinstance(self._below, SocketWire)
        self._tls.close_notify()
        TlsSocket(self._below.sock, self._tls).flush()

    async def aclose(self) -> None:
        """Say close_notify, or the alert that is due, and close below; the peer's close_notify is not waited for."""
        try:
            # A record that somebody else is sending right now is cut, and nothing can come after it.
            if not self._flushing.locked():
                await self.send_eof()
        finally:
            if self._tls.eof and isinstance(self._below, SocketWire):
                self._below.eof = True  # it sends no more, so that there is nothing to wait for
            await self._below.aclose()

    async def wait_delivered(self) -> None:
        """Wait for the ciphertext."""
        await self.flush()
        await self._below.wait_delivered()

    def abort(self) -> None:
        """Close below at once: no close_notify, and a reset where there is one."""
        self._below.abort()

    def abandon(self) -> None:
        """Close at once."""
        self._below.abandon()


async def over_tls(
    wire: Wire, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None, close_timeout: float
) -> Wire:
    """Shake hands, and return the wire inside TLS. On any failure the wire is closed.

    A peer is told why, and has `close_timeout` seconds to hear it: a socket that is closed while it still sends would be
    reset, and its last word with it.

    Raises:
        OSError: the handshake failed: the ssl.SSLError, or a ConnectionError.
    """
    inside = wire
    try:
        inside = secured = TlsWire(wire, Tls(context, server_side=server_side, server_hostname=server_hostname))
        await secured.shake_hands()
    except ssl.SSLError:
        # Whatever cuts the farewell short, even the timeout of the connection, the failure came first.
        with suppress(trio.Cancelled, trio.BrokenResourceError), trio.move_on_after(close_timeout):
            await inside.aclose()
        raise
    except BaseException:
        await close_now(wire)
        raise
    return inside
