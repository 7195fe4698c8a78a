"""A connection, as the code of a proxy or a service sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import trio
from trio.lowlevel import checkpoint

from ..._core import check
from ..._core.context import current_job
from ..._core.forms import Routines
from .._addresses import host_of
from .._errors import ProtocolError
from .codec import PayloadCodec, framing_of
from .connection import Connection
from .ends import FindEnd, delimited, exactly, one_line
from .hand_over import read_routines, write_routines
from .inbox import Received
from .keys import claim_key
from .patience import is_cancelled
from .wire import Data

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

    __slots__ = ("__weakref__", "_connection", "_endpoint", "_key", "_link", "_opened_at")

    def __init__(self, connection: Connection, endpoint: Endpoint) -> None:
        self._connection = connection
        self._link = connection.link  # one look-up less for each chunk
        self._endpoint = endpoint
        self._opened_at = trio.current_time()
        self._key: str | None = None  # claimed when it is asked for

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
        if self._connection.unreceived:
            await checkpoint()
        # Looked at again: meanwhile another task may have closed the stream, or taken what was there.
        if not self._connection.unreceived:
            return await self._link.receive(most)
        return self._connection.inbox.take_bytes(most or self._link.read_size)

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
        line = await self._connection.inbox.take_until(one_line(check.int_("limit", limit)))
        if line is None:
            if self._connection.unreceived:
                raise ProtocolError(
                    f"the stream ended after {self._connection.unreceived} bytes of a line, before its end"
                )
            return None
        return line.removesuffix(b"\n").removesuffix(b"\r")

    async def _take_until(self, end_of: FindEnd, what: str) -> bytes:
        taken = await self._connection.inbox.take_until(end_of)
        if taken is None:
            raise ProtocolError(f"the stream ended after {self._connection.unreceived} bytes, before {what}")
        return taken

    def unread(self, data: Data) -> None:
        """Put bytes back: they are what is received next, by whomever."""
        check.bytes_like("data", data)
        self._link.check_open()
        self._connection.inbox.put_back(data)

    async def send_all(self, data: Data) -> None:
        """Send bytes. Cancelled half way, `bytes_sent` tells how many went out.

        Raises:
            trio.BusyResourceError: another task is sending.
        """
        view = memoryview(data).cast("B")
        self._link.check_can_send()
        self._link.raw = True
        if view:
            await self._connection.outbox.write_raw(view)
        else:
            await checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send something, as far as that can be known."""
        self._link.check_can_send()
        await self._connection.outbox.wait_for_room()

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
        if self._connection.writing:
            raise trio.BusyResourceError("another task is sending on this stream")
        await self._link.send_eof()

    async def aclose(self) -> None:
        """Say EOF, and wait for the peer's, so that nothing sent is lost; after `close_timeout` close anyway.

        Shielded: a cancellation strikes when the stream is closed. Where it was cancelled before, it is an `abort`. In a job
        that is cancelled it does not wait, and where a stop's grace is over no longer than that and `close_timeout`. Tasks
        that use the stream get ClosedResourceError.
        """
        connection = self._connection
        if not connection.close_nowait(cut=True):
            if is_cancelled():
                connection.abort()
            elif not connection.close_nowait():
                await connection.linger(current_job())
        await checkpoint()

    def abort(self) -> None:
        """Close at once, so that the peer sees that it was cut: what it has received is not the whole.

        On TCP that is an RST, over TLS an end without close_notify, in memory a BrokenResourceError; a plain unix socket
        has no reset: there it is a close. What has not reached the peer yet is not delivered any more. Harmless the second
        time, and also while another task is in `aclose`, which it ends. `trio.aclose_forcefully` does the same. Tasks that
        use the stream get ClosedResourceError.
        """
        self._connection.abort()

    def received(self) -> Received:
        """Receive one message for the length of a block: `async with stream.received() as data:`.

        The other side of the hand-over, the `read_task` where there is one, goes on when the block is left, however it is
        left.

        Raises, on entering:
            trio.EndOfChannel: the peer has ended its direction.
            ProtocolError: it did so inside a frame, or sent what is none.
        """
        return Received(self._connection.inbox)

    def received_nowait(self) -> Received:
        """Receive one message that is there, as `received` does: `with stream.received_nowait() as data:`.

        Raises, on entering:
            trio.WouldBlock: there is none, or another task has it.
        """
        return Received(self._connection.inbox)

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
        framing = self._connection.framing
        if framing is None:
            message = bytes(check.bytes_like("data", data, " on a stream without a codec"))
        else:
            message = framing.pack(data)
        self._link.check_can_send()
        if message:
            await self._connection.outbox.send(message)
        else:
            await checkpoint()
        return len(message)

    def read_task(self, j: Job[Any]) -> Routines:
        """Task factory: reads messages and hands them to the caller of `received`; done at EOF."""
        return read_routines(lambda: self._connection)

    def write_task(self, j: Job[Any]) -> Routines:
        """Task factory: writes what others `send`."""
        return write_routines(lambda: self._connection)

    async def release(self) -> None:
        """Give the connection back for the next dial, or close it.

        Given back is an outbound connection with a codec, between messages in both directions, with no byte unread, as long
        as the endpoint holds fewer than `max_idle`. Once bytes went past the codec (`receive_exactly`, `send_all`, a relay …)
        nobody knows whether it is between messages, until the codec is written. In either case this stream is closed. The
        endpoint closes what it has held for `max_idle_age` seconds when it is next dialed or given a connection.
        """
        if await self._connection.release():
            await checkpoint()
        else:
            await self.aclose()

    @property
    def codec(self) -> PayloadCodec | None:
        """What makes messages of bytes; None for chunks as they come. Write it between messages."""
        framing = self._connection.framing
        return None if framing is None else framing.codec

    @codec.setter
    def codec(self, codec: PayloadCodec | None) -> None:
        self._connection.use(framing_of(codec))

    @property
    def endpoint(self) -> Endpoint:
        """Where the stream comes from."""
        return self._endpoint

    @property
    def inbound(self) -> bool:
        """Whether it was accepted; else it was dialed."""
        return self._connection.dialed is None

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


def connection_of(stream: Stream) -> Connection:
    """Return what lies under a stream: for the parts of the toolkit, not for programs."""
    return stream._connection
