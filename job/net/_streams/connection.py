"""What lies under a `Stream`: one link, its two halves, and the ways to close them.

The stream is the face for programs; relays, `serve` and the tasks of an endpoint work on this. `connection_of` in `stream.py`
leads from the one to the other.

    Stream ──> Connection ──> Inbox, Outbox ──> Link ──> Wire

Each arrow is a reference, and none goes back, so that a connection is freed by refcounting the moment its stream is dropped.
A relayed stream has neither inbox nor outbox: the relay reads and writes past them, on the link.

There are three ways to close. `close_nowait` is for a connection whose peer has already sent EOF or is gone: there is nothing
to wait for, and it needs no checkpoint. `linger` sends EOF and waits for the peer's. `abort` cuts, so that the peer sees it.
Which one is right depends on how the job ended; `closing.py` decides that.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, final

import trio

from .codec import Framing
from .inbox import Inbox
from .link import Link
from .outbox import Outbox
from .owner import StreamOwner
from .patience import give_up_at, patience
from .socket_wire import SocketWire
from .tls_socket import TlsSocket
from .tls_wire import TlsWire
from .wire import Wire

if TYPE_CHECKING:
    from ..._core.job import Job


@final
class Connection:
    """A wire with the two halves of its stream.

    Attributes:
        dialed: the address it was dialed by; None if it was accepted.
        framing: cuts messages; None for chunks as they come.
    """

    __slots__ = ("_in", "_lingering", "_out", "dialed", "framing", "link")

    def __init__(self, wire: Wire, owner: StreamOwner, framing: Framing | None, dialed: str | None) -> None:
        self.link = Link(wire, owner)
        self.dialed = dialed
        self.framing = framing
        self._lingering = False
        self._in: Inbox | None = None  # made on first use: a relayed stream needs neither
        self._out: Outbox | None = None

    @property
    def inbox(self) -> Inbox:
        """The receiving half."""
        if self._in is None:
            self._in = Inbox(self.link, self.framing)
        return self._in

    @property
    def outbox(self) -> Outbox:
        """The sending half."""
        if self._out is None:
            self._out = Outbox(self.link)
        return self._out

    def use(self, framing: Framing | None) -> None:
        """Cut messages this way from now on."""
        self.framing = framing
        self.link.raw = False
        if self._in is not None:
            self._in.use(framing)

    @property
    def unreceived(self) -> int:
        """How many bytes have arrived, or were put back, and wait to be taken."""
        return 0 if self._in is None else len(self._in.buffer)

    def take_unread(self) -> bytes:
        """Take all of them."""
        return self.inbox.take_bytes(self.unreceived) if self.unreceived else b""

    @property
    def writing(self) -> bool:
        """True if a task is sending."""
        return self._out is not None and self._out.writing

    @property
    def eof_sent(self) -> bool:
        """True if the peer was told that no more bytes are coming."""
        return self.link.eof_sent

    @property
    def half_closes(self) -> bool:
        """True if an EOF takes effect at once, while the other direction goes on."""
        return self.link.wire.half_closes

    @property
    def plain(self) -> socket.socket | None:
        """The raw socket, lent; None unless the wire is a plain socket with nothing left to send."""
        wire = self.link.wire
        return wire.lend() if isinstance(wire, SocketWire) and self._sends_next else None

    @property
    def secured(self) -> TlsSocket | None:
        """The socket with its TLS, lent; None unless the wire is one of ours with nothing left to send."""
        wire = self.link.wire
        return wire.lend() if isinstance(wire, TlsWire) and self._sends_next else None

    @property
    def _sends_next(self) -> bool:
        """True if bytes written to the raw socket now would be the next ones the peer receives."""
        return not self.link.eof_sent and self._all_sent

    @property
    def _all_sent(self) -> bool:
        return self._out is None or self._out.clean

    async def wait_delivered(self) -> None:
        """Wait until what was sent has reached the peer, as far as that can be known."""
        await self.link.wire.wait_delivered()

    async def linger(self, j: Job[Any] | None) -> None:
        """Close in good order, waiting for the peer for as long as the job has patience."""
        self._shut()
        self._lingering = True
        try:
            with patience(j, give_up_at(j, self.link.owner.close_timeout)):
                await self.link.wire.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer, or another task, was faster
        finally:
            self._lingering = False
            self._count_closed()

    def abort(self) -> None:
        """Close at once, so that the peer sees a cut; also ends a `linger` of another task."""
        if self._lingering:
            self.link.wire.abort()
        elif not self.link.closed:
            self._shut()
            self.link.wire.abort()
            self._count_closed()

    def close_nowait(self, *, cut: bool = False) -> bool:
        """Close if there is no peer to wait for; return True if the connection is closed.

        Args:
            cut: what was sent is not the whole: do not close if the peer would take the close for an end.
        """
        link, wire = self.link, self.link.wire
        if link.closed or not isinstance(wire, SocketWire):
            return link.closed
        if wire.finished and not (cut and wire.eof and not link.eof_sent):
            quiet = wire.quiet and self._out is None and link.receiver is None
            self._shut()
            wire.close_nowait(quiet=quiet)
            self._count_closed()
        return link.closed

    async def release(self) -> bool:
        """Give the wire back to the owner for the next dial; return False if it cannot be reused."""
        if self.dialed is None or not self._is_reusable():
            return False
        await self.link.owner.discard_old()
        # Asked again: another task may have used the connection meanwhile.
        if not self._is_reusable() or not self.link.owner.keep(self.dialed, self.link.wire):
            return False
        self._shut()
        self._count_closed()
        return True

    def _is_reusable(self) -> bool:
        link = self.link
        return (
            self.framing is not None
            and not (link.closed or link.raw or link.wire.eof or link.eof_sent or link.receiver is not None)
            and not (self.inbox.in_use or self.unreceived)
            and self._all_sent
        )

    def _shut(self) -> None:
        """Refuse every use from now on."""
        self.link.close()
        if self._in is not None:
            self._in.close()
        if self._out is not None:
            self._out.close()

    def _count_closed(self) -> None:
        if self.dialed is not None:
            self.link.owner.outbound_closed()
