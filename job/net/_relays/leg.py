"""One of the two streams of a relay, with what the relay must know of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, final

import trio

from .._reason import Side
from .._streams.abort import abort, wait_stream_delivered
from .._streams.link import Link
from .._streams.stream import Stream, connection_of

CLOSE_TIMEOUT: Final = 5.0
"""The `close_timeout`, in seconds, of a stream without an endpoint; equal to the default of `Endpoint`."""


@final
class Leg:
    """Any trio stream. What only our own streams have is asked for here and nowhere else in the relay.

    Attributes:
        half_closes: the peer learns of an EOF while the other direction goes on.
        plain: the socket of a stream that is nothing but a socket, else None.
        secured: the socket with its TLS, if the stream is one of ours with TLS, else None.
        fd: its descriptor, also after the socket was closed; -1 if there is none.
        link: what is below the stream if it is one of ours, else None.
    """

    __slots__ = ("fd", "half_closes", "link", "plain", "secured", "side", "stream")

    def __init__(self, side: Side, stream: trio.abc.Stream) -> None:
        self.side = side
        self.stream = stream
        # By its type: an object that wraps one of ours and forwards unknown attributes must not be bypassed.
        own = connection_of(stream) if isinstance(stream, Stream) else None
        self.link: Link | None = None if own is None else own.link
        self.plain = _socket_of(stream) if own is None else own.plain
        self.secured = own.secured if own is not None and self.plain is None else None
        self.fd = self.plain.fileno() if self.plain is not None else -1 if self.secured is None else self.secured.fd
        self.half_closes = hasattr(stream, "send_eof") if own is None else own.half_closes

    @property
    def close_timeout(self) -> float:
        """Seconds that its peer has to receive what was sent, before it is cut."""
        return CLOSE_TIMEOUT if self.link is None else self.link.owner.close_timeout

    def lend(self, closing: Callable[[], None]) -> None:
        """Reserve receiving for the relay until `take_back`; `closing` is called if the stream is closed before that."""
        if self.link is not None:
            self.link.lend(closing)

    def take_back(self) -> None:
        """Let tasks receive from the stream again."""
        if self.link is not None:
            self.link.take_back()

    def take_unread(self) -> bytes:
        """Take what was put back into the stream: the relay reads the socket directly, past it."""
        return connection_of(self.stream).take_unread() if isinstance(self.stream, Stream) else b""

    def count_received(self, size: int) -> None:
        """Count bytes that were read past the stream."""
        if self.link is not None:
            self.link.count_received(size)

    def count_sent(self, size: int) -> None:
        """Count bytes that were written past the stream."""
        if self.link is not None:
            self.link.count_sent(size)

    async def send_eof(self) -> None:
        """Pass on an EOF, if the stream can."""
        if hasattr(self.stream, "send_eof"):
            await self.stream.send_eof()

    async def wait_delivered(self) -> None:
        """Wait until what was sent has reached the peer, as far as that can be known."""
        if self.link is not None:
            await self.link.wire.wait_delivered()
        else:
            await wait_stream_delivered(self.stream)

    async def abort(self) -> None:
        """Close so that the peer sees that it was cut."""
        await abort(self.stream)


def _socket_of(stream: trio.abc.Stream) -> socket.socket | None:
    """Return the socket under a stream of trio's; None if there is none.

    trio keeps the socket private. A socket of our own on the same descriptor would be worse: when the program closes its own,
    the descriptor may become the next connection's, whereas a closed socket object says that it is closed.
    """
    if type(stream) is not trio.SocketStream or stream.socket.did_shutdown_SHUT_WR:
        return None
    plain = getattr(stream.socket, "_sock", None)
    return plain if isinstance(plain, socket.socket) else None
