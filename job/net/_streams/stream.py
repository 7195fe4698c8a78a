"""A connection, as the code of a proxy or a service sees it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, final

import trio
from trio.lowlevel import checkpoint

from ..._core import check
from ..._core.context import current_job
from ..._core.forms import Routines
from .._addresses import host_of
from .._endpoints.closing import give_up_at, is_cancelled, patience
from .._errors import ProtocolError
from .codec import PayloadCodec, framing_of
from .ends import FindEnd, delimited, exactly, one_line
from .inbox import Inbox, Received
from .keys import claim_key
from .link import Link
from .outbox import Outbox
from .socket_wire import SocketWire
from .tasks import read_routines, write_routines
from .tls_socket import TlsSocket
from .tls_wire import TlsWire
from .wire import Data, Wire

if TYPE_CHECKING:
    from ..._core.job import Job
    from .._endpoints.endpoint import Endpoint
    from .tls_info import TLSInfo


@final
class Stream(trio.abc.HalfCloseableStream):
    """A connection of an `Endpoint`: trio's stream, and on top of it messages, handshakes and reuse.

    Made by `Endpoint.dial`, `connect_task`, `accept_task` and `serve`, never directly. Whoever made it closes it, so code in
    a job need not.

    A **message** is one chunk of bytes, or with a `codec` one payload. Receive them with `received`, send them with `send`;
    both work with or without the two tasks `read_task` and `write_task`, which read and write in a trio task of their own.
    Bytes and messages may be mixed at will: a message is cut off the front of what has arrived, and the rest stays for
    whatever comes next.

    One task at a time may receive, and one may `send_all`: else `trio.BusyResourceError`. `send` queues. On a closed
    stream everything raises `trio.ClosedResourceError`, and where the peer is at fault `trio.BrokenResourceError`. A receive
    that is cancelled has lost nothing.
    """

    __slots__ = ("__weakref__", "_closing", "_dialed", "_framing", "_in", "_key", "_link", "_opened_at", "_out")

    def __init__(self, wire: Wire, endpoint: Endpoint, *, dialed: str | None = None) -> None:
        self._link = Link(wire, endpoint)
        self._dialed = dialed  # the name of the address that it was dialed by
        self._framing = endpoint._framing
        self._opened_at = trio.current_time()
        self._key: str | None = None  # claimed when it is asked for
        self._closing = False  # a task waits for the peer's end
        self._in: Inbox | None = None  # made when needed: a relayed stream needs neither
        self._out: Outbox | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive bytes: what was put back first, else what arrives.

        Args:
            max_bytes: at most so many; by default the endpoint's `read_size`.

        Returns:
            At least one byte; none at EOF.
        """
        most = None if max_bytes is None else check.int_("max_bytes", max_bytes)
        self._link.check_may_receive()
        self._link.raw = True
        if self._unreceived:
            await checkpoint()
        # Looked at again: meanwhile another task may have closed the stream, or taken what was there.
        if not self._unreceived:
            return await self._link.receive(most)
        return self._inbox.take_bytes(most or self._link.read_size)

    async def receive_exactly(self, n: int) -> bytes:
        """Receive `n` bytes.

        Raises:
            ProtocolError: EOF came first; what had come before stays in the stream.
        """
        if n == 0 and not isinstance(n, bool):
            self._link.check_open()
            await checkpoint()
            return b""
        return await self._take_until(exactly(check.int_("n", n)), f"{n} were there")

    async def receive_until(self, delimiter: Data, *, limit: int) -> bytes:
        """Receive bytes up to and including `delimiter`.

        Args:
            delimiter: at least one byte.
            limit: the longest result, in bytes, delimiter included.

        Raises:
            ProtocolError: it would be longer, or EOF came first; what had come before stays in the stream.
        """
        end = bytes(check.bytes_like("delimiter", delimiter))
        if not end:
            raise ValueError(f"delimiter must not be empty, got {delimiter!r}")
        return await self._take_until(delimited(end, check.int_("limit", limit)), f"{end!r}")

    async def receive_line(self, *, limit: int = 65536) -> bytes | None:
        r"""Receive a line: the bytes up to `\n` or `\r\n`, without that.

        Args:
            limit: the longest line, in bytes, its end not counted.

        Returns:
            The line, which may be empty; None at EOF.

        Raises:
            ProtocolError: it is longer, or EOF came inside of it; what had come before stays in the stream.
        """
        line = await self._inbox.take_until(one_line(check.int_("limit", limit)))
        if line is None:
            if self._unreceived:
                raise ProtocolError(f"the stream ended after {self._unreceived} bytes of a line, before its end")
            return None
        return line.removesuffix(b"\n").removesuffix(b"\r")

    async def _take_until(self, end_of: FindEnd, what: str) -> bytes:
        taken = await self._inbox.take_until(end_of)
        if taken is None:
            raise ProtocolError(f"the stream ended after {self._unreceived} bytes, before {what}")
        return taken

    def unread(self, data: Data) -> None:
        """Put bytes back: they are what is received next, by whomever."""
        check.bytes_like("data", data)
        self._link.check_open()
        self._inbox.put_back(data)

    async def send_all(self, data: Data) -> None:
        """Send bytes. Cancelled half way, `bytes_sent` tells how many went out.

        Raises:
            trio.BusyResourceError: another task is sending.
        """
        view = memoryview(data).cast("B")
        self._link.check_can_send()
        self._link.raw = True
        if view:
            await self._outbox.write_raw(view)
        else:
            await checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send something, as far as that can be known."""
        self._link.check_can_send()
        await self._outbox.wait_for_room()

    async def send_eof(self) -> None:
        """Say that no more bytes are coming; receiving goes on. Over TLS this is a close_notify.

        Harmless the second time.

        Raises:
            trio.BusyResourceError: a task is sending.
        """
        self._link.check_open()
        if self._link.eof_sent:
            await checkpoint()
            return
        if self._out is not None and self._out.writing:
            raise trio.BusyResourceError("another task is sending on this stream")
        await self._link.send_eof()

    async def aclose(self) -> None:
        """Say EOF, and wait for the peer's, so that nothing sent is lost; after `close_timeout` close anyway.

        Shielded: a cancellation strikes when the stream is closed. Where it was cancelled before, it is an `abort`. In a job
        that is cancelled it does not wait, and where a stop's grace is over no longer than that and `close_timeout`. Tasks
        that use the stream get ClosedResourceError.
        """
        if not self.close_nowait(cut=True):
            if is_cancelled():
                self.abort()
            elif not self.close_nowait():
                await self.linger(current_job())
        await checkpoint()

    async def linger(self, j: Job[Any] | None) -> None:
        """Close in good order, as long as the job has patience for that."""
        self._shut()
        self._closing = True
        try:
            with patience(j, give_up_at(j, self.endpoint.close_timeout)):
                await self._link.wire.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # somebody was faster
        finally:
            self._closing = False
            self._tell_closed()

    def abort(self) -> None:
        """Close at once, so that the peer sees that it was cut: what it has received is not the whole.

        On TCP that is an RST, over TLS an end without close_notify, in memory a BrokenResourceError; a plain unix socket
        has no reset: there it is a close. What has not reached the peer yet is not delivered any more. Harmless the second
        time, and also while another task is in `aclose`, which it ends. `trio.aclose_forcefully` does the same. Tasks that
        use the stream get ClosedResourceError.
        """
        if self._closing:
            self._link.wire.abort()
        elif not self.closed:
            self._shut()
            self._link.wire.abort()
            self._tell_closed()

    def received(self) -> Received:
        """Receive one message for the length of a block: `async with stream.received() as data:`.

        The other side of the hand-over, the `read_task` where there is one, goes on when the block is left, however it is
        left.

        Raises, on entering:
            trio.EndOfChannel: the peer has ended its direction.
            ProtocolError: it did so inside a frame, or sent what is none.
        """
        return Received(self._inbox)

    def received_nowait(self) -> Received:
        """Receive one message that is there, as `received` does: `with stream.received_nowait() as data:`.

        Raises, on entering:
            trio.WouldBlock: there is none, or another task has it.
        """
        return Received(self._inbox)

    async def send(self, data: Any) -> int:
        """Send one message: bytes, or with a `codec` a payload. Any number of tasks may send, one waits for the other.

        A message is sent whole: one that is cancelled before its turn is not sent, one cancelled half way is finished by
        who sends next.

        Returns:
            How many bytes were written, the frame's header included.

        Raises:
            FrameError: the payload is too long; nothing was written.
            Exception: what the codec raised at the payload; nothing was written.
        """
        if self._framing is None:
            message = bytes(check.bytes_like("data", data, " on a stream without a codec"))
        else:
            message = self._framing.pack(data)
        self._link.check_can_send()
        if message:
            await self._outbox.send(message)
        else:
            await checkpoint()
        return len(message)

    def read_task(self, j: Job[Any]) -> Routines:
        """Task factory: reads messages and hands them to the caller of `received`; done at EOF."""
        return read_routines(lambda: self)

    def write_task(self, j: Job[Any]) -> Routines:
        """Task factory: writes what others `send`."""
        return write_routines(lambda: self)

    async def release(self) -> None:
        """Give the connection back for the next dial, or close it.

        Given back is an outbound connection with a codec, between messages in both directions, with no byte unread, as long
        as the endpoint holds fewer than `max_idle`. Once bytes went past the codec (`receive_exactly`, `send_all`, a relay …)
        nobody knows whether it is between messages, until the codec is written. In either case this stream is closed. The
        endpoint closes what it has held for `max_idle_age` seconds when it is next dialed or given a connection.
        """
        if self._dialed is not None and self._is_reusable():
            await self.endpoint._pool.close_old()
        if self._dialed is not None and self._is_reusable() and self.endpoint._keep(self._dialed, self._link.wire):
            self._shut()
            self._tell_closed()
            await checkpoint()
        else:
            await self.aclose()

    @property
    def codec(self) -> PayloadCodec | None:
        """What makes messages of bytes; None for chunks as they come. Write it between messages."""
        return None if self._framing is None else self._framing.codec

    @codec.setter
    def codec(self, codec: PayloadCodec | None) -> None:
        self._framing = framing_of(codec)
        self._link.raw = False
        if self._in is not None:
            self._in.use(self._framing)

    @property
    def endpoint(self) -> Endpoint:
        """Where the stream comes from."""
        return self._link.endpoint

    @property
    def inbound(self) -> bool:
        """Whether it was accepted; else it was dialed."""
        return self._dialed is None

    @property
    def local(self) -> str:
        """The address of this end."""
        return self._link.wire.local

    @property
    def peer(self) -> str:
        """The address of the other end."""
        return self._link.wire.peer

    @property
    def peer_host(self) -> str:
        """The other end's host, without port and brackets: what affinity goes by, `balancer.connect_task(key=...)` say.

        An address that has no port, a unix socket's or a transport's own, is given whole.
        """
        return host_of(self.peer) or self.peer

    @property
    def tls(self) -> TLSInfo | None:
        """What the TLS handshake has settled: version, protocol inside, who the peer is. None without TLS."""
        return self._link.wire.tls

    @property
    def key(self) -> str:
        """What tells this connection from all others: no other open stream of the process has it.

        It is both addresses and, where other streams have the same two, as the clients of a unix socket do, a number.
        """
        if self._key is None:
            self._key = claim_key(self)
        return self._key

    @property
    def opened_at(self) -> float:
        """When it was made, on trio's clock."""
        return self._opened_at

    @property
    def bytes_received(self) -> int:
        """How many bytes came in: inside TLS, frames with their headers."""
        return self._link.bytes_received

    @property
    def bytes_sent(self) -> int:
        """How many bytes went out."""
        return self._link.bytes_sent

    @property
    def closed(self) -> bool:
        """Whether it has been closed or released."""
        return self._link.closed

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Stream {self.key} {state}, {self.bytes_received} bytes received, {self.bytes_sent} sent>"

    @property
    def half_closes(self) -> bool:
        """Whether `send_eof` takes effect at once."""
        return self._link.wire.half_closes

    @property
    def plain(self) -> socket.socket | None:
        """The socket, where the stream is nothing but a socket."""
        wire = self._link.wire
        return wire.lend() if isinstance(wire, SocketWire) and self._sends_next else None

    @property
    def secured(self) -> TlsSocket | None:
        """The socket with its TLS, where the stream is nothing but that."""
        wire = self._link.wire
        return wire.lend() if isinstance(wire, TlsWire) and self._sends_next else None

    @property
    def _sends_next(self) -> bool:
        """Whether what is sent next goes out next."""
        return not self._link.eof_sent and self._all_sent

    @property
    def eof_sent(self) -> bool:
        """Whether the peer was told that no more bytes are coming."""
        return self._link.eof_sent

    async def wait_delivered(self) -> None:
        """Wait until what was sent has reached the peer, as far as that can be known."""
        await self._link.wire.wait_delivered()

    def take_unread(self) -> bytes:
        """Take all that has arrived and was not received."""
        return self._inbox.take_bytes(self._unreceived) if self._unreceived else b""

    @property
    def _inbox(self) -> Inbox:
        if self._in is None:
            self._in = Inbox(self._link, self._framing)
        return self._in

    @property
    def _outbox(self) -> Outbox:
        if self._out is None:
            self._out = Outbox(self._link)
        return self._out

    @property
    def _unreceived(self) -> int:
        """How many bytes have arrived, or were put back, that nobody has taken."""
        return 0 if self._in is None else len(self._in.buffer)

    @property
    def _all_sent(self) -> bool:
        """Whether nothing is on its way to be sent."""
        return self._out is None or self._out.clean

    def _is_reusable(self) -> bool:
        link = self._link
        return (
            self._framing is not None
            and not (link.closed or link.raw or link.wire.eof or link.eof_sent or link.receiver is not None)
            and not (self._inbox.in_use or self._unreceived)
            and self._all_sent
        )

    def close_nowait(self, *, cut: bool = False) -> bool:
        """Close where there is no peer to wait for; return whether it is closed.

        cut: not so where the peer would take it for an end, and that is not true.
        """
        link, wire = self._link, self._link.wire
        if link.closed or not isinstance(wire, SocketWire):
            return link.closed
        if wire.finished and not (cut and wire.eof and not link.eof_sent):
            quiet = wire.quiet and self._out is None and link.receiver is None
            self._shut()
            wire.close_nowait(quiet=quiet)
            self._tell_closed()
        return link.closed

    def _shut(self) -> None:
        """Take no more part in anything."""
        self._link.close()
        if self._in is not None:
            self._in.close()
        if self._out is not None:
            self._out.close()

    def _tell_closed(self) -> None:
        if self._dialed is not None:
            self.endpoint._outbound_closed()
