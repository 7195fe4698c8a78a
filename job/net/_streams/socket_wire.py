"""A connected socket without TLS: the fast path. Each call is tried first, and waits only if it would block."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import Any, Final, final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from .._addresses import UNKNOWN, written
from .delivery import reset, wait_delivered
from .wire import Data

_CHUNK: Final = 65536
_UNIX: Final = getattr(socket, "AF_UNIX", None)
_TCP: Final = int(socket.IPPROTO_TCP)
_NODELAY: Final = int(socket.TCP_NODELAY)
_LAST_LOOKS: Final = 16


@final
class SocketWire:
    """Owns a non-blocking socket of the standard library.

    Not a trio.SocketStream: that goes through three coroutines and a context manager for each call, and has no way to try
    without a checkpoint. The semantics are trio's: each call is a checkpoint, and a cancelled one has moved no byte.
    """

    __slots__ = ("_broken", "_closing", "_family", "_local", "_peer", "_reset", "_sent", "eof", "quiet", "sock")

    half_closes: Final = True
    resumes: Final = True
    tls: Final = None

    def __init__(self, sock: socket.socket, peer: Any = None, family: int | None = None) -> None:
        if sock.gettimeout() != 0:
            sock.setblocking(False)
        self._family = int(sock.family if family is None else family)  # the socket makes an enum of it each time
        if self._family != _UNIX:
            # What is written goes out at once: a program that wants larger segments writes larger pieces.
            with suppress(OSError):  # the peer may be gone already
                sock.setsockopt(_TCP, _NODELAY, 1)
        self.sock = sock
        self._local: Any = self._known(_name(sock.getsockname))
        self._peer: Any = self._known(_name(sock.getpeername) if peer is None else peer)
        self._sent = False
        self.eof = False
        self.quiet = False  # its EOF came through the relay engine, and no trio task has waited for the socket since
        self._broken = False
        self._reset = False
        self._closing = False

    @property
    def local(self) -> str:
        """The address of this end."""
        name = self._local = self._written(self._local)
        return name

    @property
    def peer(self) -> str:
        """The address of the other end."""
        name = self._peer = self._written(self._peer)
        return name

    def _written(self, name: Any) -> str:
        # Made on first use and then kept: many connections come and go without a need for it.
        return written(self._family, name) if type(name) is tuple else str(name)

    def _known(self, name: Any) -> Any:
        if name is None:
            return UNKNOWN
        return name if type(name) is tuple else written(self._family, name)

    @property
    def is_reset(self) -> bool:
        """True if the peer has reset the connection. Ask only once: the kernel reports an error only once."""
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    @property
    def connects_to_itself(self) -> bool:
        """True if both ends are the same socket."""
        name = self._local
        if type(name) is not tuple or type(self._peer) is not tuple or name[1] != self._peer[1]:
            return False
        return bool(
            name == _name(self.sock.getpeername)
        )  # what was dialed may be another way to write it: 0.0.0.0, say

    def lend(self) -> socket.socket:
        """Lend the raw socket; assumes data will be sent through it."""
        self._sent = True
        self.quiet = False
        return self.sock

    async def receive_some(self, max_bytes: int) -> bytes:
        """Receive some bytes; none at EOF."""
        await checkpoint_if_cancelled()
        try:
            data = self.receive_nowait(max_bytes)
        except trio.WouldBlock:
            return await self._receive_later(max_bytes)
        await cancel_shielded_checkpoint()
        return data

    async def _receive_later(self, most: int) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            with suppress(trio.WouldBlock):
                return self.receive_nowait(most)

    def receive_nowait(self, max_bytes: int) -> bytes:
        """Receive what is there."""
        try:
            data = self.sock.recv(max_bytes)
        except BlockingIOError:
            raise trio.WouldBlock from None
        except OSError as exc:
            raise self._fault(exc) from exc
        if not data:
            if self._reset:  # the kernel reports an error once, and then an EOF that never came
                raise trio.BrokenResourceError("socket connection broken")
            self.eof = True
        return data

    async def send_some(self, data: Data) -> int:
        """Send some bytes."""
        await checkpoint_if_cancelled()
        self._sent = True
        sent = self._send_nowait(data)
        if sent is not None:
            await cancel_shielded_checkpoint()
        while sent is None:
            await trio.lowlevel.wait_writable(self.sock)
            sent = self._send_nowait(data)
        return sent

    def _send_nowait(self, data: Data) -> int | None:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise self._fault(exc) from exc

    async def flush(self) -> None:
        """No-op: the kernel has everything."""

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until something can be sent."""
        await checkpoint_if_cancelled()
        if self._closing:
            raise trio.ClosedResourceError("this socket was closed")
        await trio.lowlevel.wait_writable(self.sock)

    async def send_eof(self) -> None:
        """Send FIN."""
        await checkpoint()
        self.send_eof_nowait()

    def send_eof_nowait(self) -> None:
        """Send FIN; no checkpoint."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            raise self._fault(exc) from exc

    async def aclose(self) -> None:
        """Send EOF, wait for the peer's, close. When cancelled, close at once.

        A socket that is closed while its peer still sends answers with RST, which can destroy what was sent last before the
        peer has read it (RFC 2525, 2.17).
        """
        if self._closing:
            await checkpoint()
            return
        self._closing = True
        trio.lowlevel.notify_closing(self.sock)
        try:
            if not self.finished:
                await self._linger()
        finally:
            self.sock.close()

    @property
    def finished(self) -> bool:
        """True if the peer has sent EOF or is gone, so that there is nothing to wait for."""
        return self.eof or self._broken

    def close_nowait(self, *, quiet: bool) -> None:
        """Close a finished one; `quiet`: no task waits for it, so that trio need not be notified."""
        self._closing = True
        if not quiet:
            trio.lowlevel.notify_closing(self.sock)
        self.sock.close()

    async def wait_delivered(self) -> None:
        """Wait until the peer's system has all that was sent."""
        await wait_delivered(self.sock)

    def abort(self) -> None:
        """Close by RST; just close a unix socket, which has none."""
        self._closing = True
        if self.sock.fileno() != -1:
            trio.lowlevel.notify_closing(self.sock)
            reset(self.sock)

    def abandon(self) -> None:
        """Close the socket."""
        self._closing = True
        self.sock.close()

    async def _linger(self) -> None:
        looks = 0
        with suppress(trio.BrokenResourceError, OSError):
            self.sock.shutdown(socket.SHUT_WR)
            while not self.eof:
                await checkpoint()
                looks += 1
                try:
                    self.receive_nowait(_CHUNK)
                except trio.WouldBlock:
                    if not self._sent:
                        return  # nothing was sent that an RST could destroy
                    await trio.lowlevel.wait_readable(self.sock)
                if not self._sent and looks == _LAST_LOOKS:
                    return

    def _fault(self, exc: OSError) -> Exception:
        if self.sock.fileno() == -1:
            return trio.ClosedResourceError("this socket was closed")
        self._broken = True
        # Not for EPIPE: after the peer's FIN a send fails with it, and a FIN is a real end.
        self._reset = self._reset or exc.errno != errno.EPIPE
        return trio.BrokenResourceError(f"socket connection broken: {exc}")


def _name(get: Any) -> Any:
    try:
        return get()
    except OSError:  # the connection is already gone
        return None
