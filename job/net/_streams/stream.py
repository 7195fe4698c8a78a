"""The public face of a connection: trio's stream, with messages, handshakes and reuse on top."""

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
    """A connection of an `Endpoint`: trio's stream, with messages, handshakes and reuse on top.

    Made by `Endpoint.dial`, `connect_task`, `accept_task` and `serve`, never directly. The three factories close what they
    made, so code in a job need not; the caller of `dial` closes its stream.

    A **message** is one chunk of bytes, or with a `codec` one payload. Receive them with `received`, send them with `send`;
    both work with or without the two tasks `read_task` and `write_task`, which read and write in a trio task of their own.
    Bytes and messages may be mixed freely: a message is cut off the front of what has arrived, and the rest stays for
    whatever is received next.

    One task at a time may receive, and one may `send_all`: otherwise `trio.BusyResourceError`. `send` queues. A closed stream
    raises `trio.ClosedResourceError`, a fault of the peer `trio.BrokenResourceError`. A cancelled receive has lost nothing.
    """

    __slots__ = ("__weakref__", "_connection", "_endpoint", "_key", "_link", "_opened_at")

    def __init__(self, connection: Connection, endpoint: Endpoint) -> None:
        self._connection = connection
        self._link = connection.link  # one look-up less for each chunk
        self._endpoint = endpoint
        self._opened_at = trio.current_time()
        self._key: str | None = None  # claimed when it is asked for

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive bytes: first those put back, then those that arrive.

        Args:
            max_bytes: at most this many; the endpoint's `read_size` by default.

        Returns:
            At least one byte; empty at EOF.
        """
        most = None if max_bytes is None else check.int_("max_bytes", max_bytes)
        self._link.check_may_receive()
        self._link.raw = True
        if self._connection.unreceived:
            await checkpoint()
        # Look again: another task may have closed the stream, or taken the bytes, during the checkpoint.
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
        """Put bytes back: they are received next, by any caller, a relay included."""
        check.bytes_like("data", data)
        self._link.check_open()
        self._connection.inbox.put_back(data)

    async def send_all(self, data: Data) -> None:
        """Send bytes. After a cancellation half way, `bytes_sent` tells how many went out.

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
        """Wait until there is room to send, as far as that can be known."""
        self._link.check_can_send()
        await self._connection.outbox.wait_for_room()

    async def send_eof(self) -> None:
        """Tell the peer that no more bytes are coming; receiving goes on. Over TLS this is a close_notify.

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
        """Send EOF and wait for the peer's, so that nothing sent is lost; close anyway after `close_timeout`.

        Shielded: a cancellation takes effect when the stream is closed. If the caller was cancelled before, this is an
        `abort`. In a job that is cancelled it does not wait; in a job that is finished, `close_timeout` counts from the end of
        the grace at the latest. Tasks that use the stream get ClosedResourceError.
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

        On TCP that is an RST, over TLS an end without close_notify, in memory a BrokenResourceError. A plain unix socket has
        no reset; it is just closed. What has not reached the peer is no longer delivered. Harmless the second time, and while
        another task is in `aclose`: that returns at once. `trio.aclose_forcefully` does the same. Tasks that use the stream
        get ClosedResourceError.
        """
        self._connection.abort()

    def received(self) -> Received:
        """Receive one message for the length of a block: `async with stream.received() as data:`.

        The other side of the hand-over, a `read_task`, goes on when the block is left, however it is left.

        Raises, on entering:
            trio.EndOfChannel: the peer has ended its direction.
            ProtocolError: it did so inside a frame, or sent something that is not a frame.
        """
        return Received(self._connection.inbox)

    def received_nowait(self) -> Received:
        """Like `received`, but for a message that is already there: `with stream.received_nowait() as data:`.

        Raises, on entering:
            trio.WouldBlock: there is none, or another task has it.
        """
        return Received(self._connection.inbox)

    async def send(self, data: Any) -> int:
        """Send one message: bytes, or with a `codec` a payload. Any number of tasks may send; they queue.

        A message is sent whole: one that is cancelled before its turn is not sent, and one that is cancelled half way is
        finished by the next send.

        Returns:
            How many bytes were written, the frame's header included.

        Raises:
            FrameError: the payload is too long; nothing was written.
            Exception: raised by the codec; nothing was written.
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
        """Give the connection back for the next dial, or close it. In either case this stream is closed.

        A connection is given back if it is outbound, has a codec, is between messages in both directions with no byte unread,
        and the endpoint holds fewer than `max_idle`. Once bytes went past the codec (`receive_exactly`, `send_all`, a relay …)
        it cannot be known whether it is between messages, until the codec is set again. The endpoint closes a connection that
        it has held for `max_idle_age` seconds when it is next dialed or given one.
        """
        if await self._connection.release():
            await checkpoint()
        else:
            await self.aclose()

    @property
    def codec(self) -> PayloadCodec | None:
        """What turns bytes into messages; None for chunks as they come. Set it between messages."""
        framing = self._connection.framing
        return None if framing is None else framing.codec

    @codec.setter
    def codec(self, codec: PayloadCodec | None) -> None:
        self._connection.use(framing_of(codec))

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that made the stream."""
        return self._endpoint

    @property
    def inbound(self) -> bool:
        """True if the stream was accepted, False if it was dialed."""
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
        """The other end's host, without port and brackets: a key for affinity, as in `balancer.connect_task(key=...)`.

        An address without a port, of a unix socket or a transport's own, is given whole.
        """
        return host_of(self.peer) or self.peer

    @property
    def tls(self) -> TLSInfo | None:
        """The result of the TLS handshake: version, protocol inside, the peer's certificate. None without TLS."""
        return self._link.wire.tls

    @property
    def key(self) -> str:
        """The identity of this connection: no other open stream of the process has the same.

        It consists of both addresses and, if other streams have the same two, as clients of a unix socket do, a number.
        """
        if self._key is None:
            self._key = claim_key(self)
        return self._key

    @property
    def opened_at(self) -> float:
        """When the stream was made, in seconds on trio's clock."""
        return self._opened_at

    @property
    def bytes_received(self) -> int:
        """How many bytes were received: inside TLS, frames with their headers."""
        return self._link.bytes_received

    @property
    def bytes_sent(self) -> int:
        """How many bytes were sent, counted the same way."""
        return self._link.bytes_sent

    @property
    def closed(self) -> bool:
        """True if the stream was closed or released."""
        return self._link.closed

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Stream {self.key} {state}, {self.bytes_received} bytes received, {self.bytes_sent} sent>"


def connection_of(stream: Stream) -> Connection:
    """Return what lies under a stream: for parts of the toolkit, not for programs."""
    return stream._connection
