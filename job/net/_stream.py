"""A connection, as the code of a proxy or a service sees it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import trio
from trio.lowlevel import checkpoint

from .._forms import Routines
from ._arguments import whole
from ._errors import ProtocolError
from ._inbox import Inbox, Received
from ._options import check_methods
from ._outbox import Outbox
from ._socket_wire import SocketWire
from ._stream_tasks import read_routines, write_routines
from ._wire import Data, Wire

if TYPE_CHECKING:
    from .._job import Job
    from ._endpoint import Endpoint
    from .frames import Codec


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

    __slots__ = (
        "_bytes_received",
        "_bytes_sent",
        "_closed",
        "_closing",
        "_codec",
        "_dialed",
        "_endpoint",
        "_eof",
        "_eof_sent",
        "_in",
        "_opened_at",
        "_out",
        "_raw",
        "_receiving",
        "_wire",
    )

    def __init__(self, wire: Wire, endpoint: Endpoint, *, dialed: str | None = None) -> None:
        self._wire = wire
        self._endpoint = endpoint
        self._dialed = dialed  # the name of the address that it was dialed by
        self._codec: Codec[Any] | None = endpoint._options.codec
        self._opened_at = trio.current_time()
        self._bytes_received = 0
        self._bytes_sent = 0
        self._closed = False
        self._closing: Callable[[], None] | None = None  # tells who has been lent the stream
        self._eof = False
        self._eof_sent = False
        self._receiving = False
        self._raw = False  # bytes went past the codec: where the next message begins is the program's affair
        self._in: Inbox | None = None  # made when needed: a relayed stream needs neither
        self._out: Outbox | None = None

    # -- bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive bytes: what was put back first, else what arrives.

        Args:
            max_bytes: at most so many; by default the endpoint's `read_size`.

        Returns:
            At least one byte; none at EOF.
        """
        most = self._read_size if max_bytes is None else whole("max_bytes", max_bytes)
        self._raw = True
        if not self._unreceived or self._receiving:
            return await self._receive(most)
        self._check_open()
        await checkpoint()
        return self._inbox.take_bytes(most)

    async def receive_exactly(self, n: int) -> bytes:
        """Receive `n` bytes.

        Raises:
            ProtocolError: EOF came first; what had come before stays in the stream.
        """
        if n == 0 and not isinstance(n, bool):
            await checkpoint()
            return b""
        wanted = whole("n", n)
        return await self._receive_until(
            lambda buffer: wanted if len(buffer) >= wanted else None, f"{wanted} were there"
        )

    async def receive_until(self, delimiter: Data, *, limit: int) -> bytes:
        """Receive bytes up to and including `delimiter`.

        Args:
            delimiter: at least one byte.
            limit: the longest result, in bytes, delimiter included.

        Raises:
            ProtocolError: it would be longer, or EOF came first; what had come before stays in the stream.
        """
        if not isinstance(delimiter, (bytes, bytearray, memoryview)):
            raise TypeError(f"delimiter must be bytes, bytearray or memoryview, got {delimiter!r}")
        end = bytes(delimiter)
        if not end:
            raise ValueError(f"delimiter must not be empty, got {delimiter!r}")
        most = whole("limit", limit)

        def found(buffer: bytearray) -> int | None:
            at = buffer.find(end, 0, most)
            if at == -1 and len(buffer) >= most:
                raise ProtocolError(f"no {end!r} within {most} bytes")
            return None if at == -1 else at + len(end)

        return await self._receive_until(found, f"{end!r}")

    def unread(self, data: Data) -> None:
        """Put bytes back: they are what is received next, by whomever."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, bytearray or memoryview, got {data!r}")
        self._check_open()
        self._inbox.put_back(data)

    async def send_all(self, data: Data) -> None:
        """Send bytes. Cancelled half way, `bytes_sent` tells how many went out.

        Raises:
            trio.BusyResourceError: another task is sending.
        """
        view = memoryview(data).cast("B")
        self._check_can_send()
        self._raw = True
        if view:
            await self._outbox.write_raw(view)
        else:
            await checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send something, as far as that can be known."""
        self._check_can_send()
        await self._outbox.wait_for_room()

    async def send_eof(self) -> None:
        """Say that no more bytes are coming; receiving goes on. Over TLS it takes effect when the peer has done the same.

        Harmless the second time.

        Raises:
            trio.BusyResourceError: a task is sending.
        """
        self._check_open()
        if self._eof_sent:
            await checkpoint()
            return
        if self._out is not None and self._out.writing:
            raise trio.BusyResourceError("another task is sending on this stream")
        await self._wire.send_eof()
        self._eof_sent = True

    async def aclose(self) -> None:
        """Say EOF, and wait for the peer's, so that nothing sent is lost; after `close_timeout` close anyway.

        Shielded: a cancellation strikes when the stream is closed. Tasks that use the stream get ClosedResourceError.
        """
        if not self.close_nowait():
            self._shut()
            seconds = self._endpoint.close_timeout
            try:
                with trio.CancelScope(deadline=trio.current_time() + seconds, shield=True):
                    await self._wire.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # somebody was faster
            finally:
                self._tell_closed()
        await checkpoint()

    # -- messages

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
        """
        message = _as_bytes(data) if self._codec is None else self._codec.encode(data)
        self._check_can_send()
        if message:
            await self._outbox.send(message)
        else:
            await checkpoint()
        return len(message)

    def read_task(self, j: Job[Any]) -> Routines:
        """Be a task that reads messages and hands them to whoever calls `received`; it is done at EOF."""
        return read_routines(lambda: self)

    def write_task(self, j: Job[Any]) -> Routines:
        """Be a task that writes what others `send`."""
        return write_routines(lambda: self)

    async def release(self) -> None:
        """Be done with the stream: give the connection back for the next dial, or close it.

        Given back is an outbound connection with a codec, between messages in both directions, with no byte unread, as long
        as the endpoint holds fewer than `max_idle`. Once bytes went past the codec (`receive_exactly`, `send_all`, a relay …)
        nobody knows whether it is between messages, until the codec is written. In either case this stream is closed.
        """
        if self._dialed is not None and self._is_reusable() and self._endpoint._keep(self._dialed, self._wire):
            self._shut()
            self._tell_closed()
            await checkpoint()
        else:
            await self.aclose()

    # -- what it is

    @property
    def codec(self) -> Codec[Any] | None:
        """What makes messages of bytes; None for chunks as they come. Write it between messages."""
        return self._codec

    @codec.setter
    def codec(self, codec: Codec[Any] | None) -> None:
        check_methods("codec", codec, "encode", "decode")
        self._codec = codec
        self._raw = False
        if self._in is not None:
            self._in.spoil()

    @property
    def endpoint(self) -> Endpoint:
        """Where the stream comes from."""
        return self._endpoint

    @property
    def inbound(self) -> bool:
        """Whether it was accepted; else it was dialed."""
        return self._dialed is None

    @property
    def local(self) -> str:
        """The address of this end."""
        return self._wire.local

    @property
    def peer(self) -> str:
        """The address of the other end."""
        return self._wire.peer

    @property
    def key(self) -> str:
        """Both addresses: what tells this connection from all others."""
        return f"{self.peer} -> {self.local}"

    @property
    def opened_at(self) -> float:
        """When it was made, on trio's clock."""
        return self._opened_at

    @property
    def bytes_received(self) -> int:
        """How many bytes came in: inside TLS, frames with their headers."""
        return self._bytes_received

    @property
    def bytes_sent(self) -> int:
        """How many bytes went out."""
        return self._bytes_sent

    @property
    def closed(self) -> bool:
        """Whether it has been closed or released."""
        return self._closed

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Stream {self.key} {state}, {self._bytes_received} bytes received, {self._bytes_sent} sent>"

    # -- for the relay, which moves bytes past the stream

    @property
    def half_closes(self) -> bool:
        """Whether `send_eof` takes effect at once."""
        return self._wire.half_closes

    @property
    def plain(self) -> socket.socket | None:
        """The socket, where the stream is nothing but a socket."""
        sends_next = not self._eof_sent and self._all_sent
        return self._wire.lend() if isinstance(self._wire, SocketWire) and sends_next else None

    def lend(self, closing: Callable[[], None]) -> None:
        """Receive nothing until `take_back`; call `closing` when somebody closes the stream nevertheless.

        Raises:
            trio.BusyResourceError: another task is receiving from this stream.
        """
        self._begin_receiving()
        self._raw = True
        self._closing = closing

    def take_back(self) -> None:
        """Receive as before."""
        self._receiving = False
        self._closing = None

    def end_nowait(self) -> None:
        """Say EOF on a plain socket, without a checkpoint.

        Raises:
            OSError: the peer is gone.
        """
        assert isinstance(self._wire, SocketWire)
        self._wire.send_eof_nowait()
        self._eof_sent = True

    def note_eof(self) -> None:
        """Take note that the peer has said EOF, which went past while the stream was lent."""
        assert isinstance(self._wire, SocketWire)
        self._eof = self._wire.eof = True
        self._wire.quiet = True

    def take_unread(self) -> bytes:
        """Take all that has arrived and was not received."""
        return self._inbox.take_bytes(self._unreceived) if self._unreceived else b""

    def count_received(self, size: int) -> None:
        """Count bytes that came in."""
        self._bytes_received += size
        self._endpoint._tally.bytes_received += size

    def count_sent(self, size: int) -> None:
        """Count bytes that went out."""
        self._bytes_sent += size
        self._endpoint._tally.bytes_sent += size

    # -- for its halves

    @property
    def _inbox(self) -> Inbox:
        if self._in is None:
            self._in = Inbox(self)
        return self._in

    @property
    def _outbox(self) -> Outbox:
        if self._out is None:
            self._out = Outbox(self)
        return self._out

    @property
    def _unreceived(self) -> int:
        """How many bytes have arrived, or were put back, that nobody has taken."""
        return 0 if self._in is None else len(self._in.buffer)

    @property
    def _all_sent(self) -> bool:
        """Whether nothing is on its way to be sent."""
        return self._out is None or self._out.clean

    @property
    def _read_size(self) -> int:
        return self._endpoint._options.read_size

    async def _receive(self, most: int | None = None) -> bytes:
        self._begin_receiving()
        try:
            data = await self._wire.receive_some(most or self._read_size)
        finally:
            self._receiving = False
        return self._arrived(data)

    def _begin_receiving(self) -> None:
        self._check_open()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True

    def _receive_nowait(self) -> bytes:
        if self._receiving:
            raise trio.WouldBlock
        return self._arrived(self._wire.receive_nowait(self._read_size))

    def _arrived(self, data: bytes) -> bytes:
        if data:
            self.count_received(len(data))
        else:
            self._eof = True
        return data

    async def _receive_until(self, found: Callable[[bytearray], int | None], what: str) -> bytes:
        self._check_open()
        self._raw = True
        inbox = self._inbox
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        end = found(inbox.buffer)
        if end is not None:
            await checkpoint()
        while end is None:
            data = await self._receive()
            if not data:
                raise ProtocolError(f"the stream ended after {len(inbox.buffer)} bytes, before {what}")
            inbox.add(data)
            end = found(inbox.buffer)
        return inbox.take_bytes(end)

    async def _send_some(self, data: memoryview) -> int:
        self._check_open()
        sent = await self._wire.send_some(data)
        self.count_sent(sent)
        return sent

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")

    def _check_can_send(self) -> None:
        self._check_open()
        if self._eof_sent:
            raise trio.ClosedResourceError("cannot send after EOF was sent")

    def _is_reusable(self) -> bool:
        return (
            not self._closed
            and self._codec is not None
            and not (
                self._raw or self._eof or self._eof_sent or self._receiving or self._inbox.held or self._unreceived
            )
            and self._all_sent
        )

    def close_nowait(self) -> bool:
        """Close where nobody needs to be waited for; return whether it is closed."""
        if not self._closed and isinstance(self._wire, SocketWire) and self._wire.finished:
            quiet = self._wire.quiet and self._out is None and not self._receiving
            self._shut()
            self._wire.close_nowait(quiet=quiet)
            self._tell_closed()
        return self._closed

    def _shut(self) -> None:
        """Take no more part in anything."""
        self._closed = True
        if self._closing is not None:
            self._closing()
        if self._in is not None:
            self._in.close()
        if self._out is not None:
            self._out.close()
        # They refer to the stream: a cycle would be work for the garbage collector, at each connection.
        self._in = self._out = None

    def _tell_closed(self) -> None:
        if self._dialed is not None:
            self._endpoint._outbound_closed()


def _as_bytes(data: object) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"data must be bytes, bytearray or memoryview on a stream without a codec, got {data!r}")
    return data if isinstance(data, bytes) else bytes(data)
