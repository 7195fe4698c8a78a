"""TLS on another wire: on our own socket, or on any stream of a transport.

Theory. `Tls` does no I/O, so each call here is a loop: ask it, and if it needs ciphertext, feed it from the wire below. Reading
and writing are not independent: a read may have to send (the answer to a KeyUpdate, an alert), and a write may have to receive
(a renegotiation of TLS 1.2). So there is one lock for each direction of the wire below, and both are needed by either side.
`_feeds` counts receives: a task that waited for the feeding lock while another one fed must look again before it receives, or
it would wait for bytes that have already come.

Ciphertext cannot be made again, so a cancelled send must not lose any: what was accepted stays in `Tls.out` and goes out with
the next `flush`. If the wire below cannot say how much of it went out, the connection is cut (`_cut`): to send the record again
or to leave it out would both break the stream of records.
"""

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
    """Moves the ciphertext of one TLS connection. What was accepted and not sent yet goes out with the next `flush`."""

    __slots__ = ("_below", "_cut", "_feeding", "_feeds", "_flushing", "_tls")

    half_closes: Final = True

    def __init__(self, below: Wire, tls: Tls) -> None:
        self._below = below
        self._tls = tls
        self._feeds = 0
        self._cut = False  # a send was cancelled, and how much of the ciphertext went out is unknown
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
        """True if the peer has sent close_notify."""
        return self._tls.eof

    @property
    def resumes(self) -> bool:
        """True if the wire below does."""
        return self._below.resumes

    @property
    def tls(self) -> TLSInfo:
        """What the handshake has settled."""
        return self._tls.info

    async def shake_hands(self) -> None:
        """Shake hands.

        Raises:
            OSError: it failed: an ssl.SSLError that the peer has not been told yet, or a ConnectionError.
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
        """Send what is pending, then receive from below; only once if several tasks ask for it."""
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
        """Encrypt one record, once the one before is sent."""
        await self.flush()
        with memoryview(data) as view, view[:RECORD] as record:
            try:
                while not self._tls.write(record):
                    await self._feed()
            except ssl.SSLError as fault:
                raise broken(fault) from fault
            return len(record)

    async def flush(self) -> None:
        """Send everything that was accepted."""
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
        """Send close_notify."""
        self._tls.close_notify()
        try:
            await self.flush()
        except trio.BrokenResourceError:
            if not self._tls.eof:  # a peer that has sent its own may be gone, and does not need ours
                raise

    def lend(self) -> TlsSocket | None:
        """Lend the raw socket below with its TLS; None unless it is one of ours. Assumes data will be sent through it."""
        return TlsSocket(self._below.lend(), self._tls) if isinstance(self._below, SocketWire) else None

    def send_eof_nowait(self) -> None:
        """Send close_notify without a checkpoint; if there is no room, it goes out with the next flush."""
        assert isinstance(self._below, SocketWire)
        self._tls.close_notify()
        TlsSocket(self._below.sock, self._tls).flush()

    async def aclose(self) -> None:
        """Send close_notify, or the alert that is due, and close below; does not wait for the peer's close_notify."""
        try:
            # If another task is sending a record right now, that is cut, and nothing can follow it.
            if not self._flushing.locked():
                await self.send_eof()
        finally:
            if self._tls.eof and isinstance(self._below, SocketWire):
                self._below.eof = True  # the peer sends no more: nothing to wait for
            await self._below.aclose()

    async def wait_delivered(self) -> None:
        """Wait until the ciphertext has reached the peer."""
        await self.flush()
        await self._below.wait_delivered()

    def abort(self) -> None:
        """Close below at once: no close_notify, and a reset if the wire has one."""
        self._below.abort()

    def abandon(self) -> None:
        """Close at once."""
        self._below.abandon()


async def over_tls(
    wire: Wire, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None, close_timeout: float
) -> Wire:
    """Shake hands, and return the wire inside TLS. On any failure close the wire.

    The peer is told why, and has `close_timeout` seconds to read it: closing a socket while the peer still sends would reset
    it, and destroy the alert.

    Raises:
        OSError: the handshake failed: the ssl.SSLError, or a ConnectionError.
    """
    inside = wire
    try:
        inside = secured = TlsWire(wire, Tls(context, server_side=server_side, server_hostname=server_hostname))
        await secured.shake_hands()
    except ssl.SSLError:
        # Whatever cuts the goodbye short, even the timeout of the connection, the failure came first.
        with suppress(trio.Cancelled, trio.BrokenResourceError), trio.move_on_after(close_timeout):
            await inside.aclose()
        raise
    except BaseException:
        await close_now(wire)
        raise
    return inside
