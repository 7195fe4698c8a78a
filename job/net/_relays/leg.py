"""One of the two ends of a relay: a stream, and all that the relay must know of it."""

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
"""The `close_timeout`, in seconds, of a stream without an endpoint; the default of those that have one."""


@final
class Leg:
    """Any trio stream. What only our own has is asked for here and nowhere else in the relay.

    Attributes:
        half_closes: whether the peer learns of an EOF while the other direction goes on.
        plain: the socket under a stream that is nothing but a socket.
        secured: the socket of one of ours that has TLS on it.
        fd: its descriptor, also when it has been closed; -1 where there is none.
        link: what is below the stream, where it is one of ours.
    """

    __slots__ = ("fd", "half_closes", "link", "plain", "secured", "side", "stream")

    def __init__(self, side: Side, stream: trio.abc.Stream) -> None:
        self.side = side
        self.stream = stream
        # By its type: an object that wraps one of ours and passes on what it does not know itself must not be passed by.
        own = connection_of(stream) if isinstance(stream, Stream) else None
        self.link: Link | None = None if own is None else own.link
        self.plain = _socket_of(stream) if own is None else own.plain
        self.secured = own.secured if own is not None and self.plain is None else None
        self.fd = self.plain.fileno() if self.plain is not None else -1 if self.secured is None else self.secured.fd
        self.half_closes = hasattr(stream, "send_eof") if own is None else own.half_closes

    @property
    def close_timeout(self) -> float:
        """Seconds in which its peer may take what was given, before it is cut."""
        return CLOSE_TIMEOUT if self.link is None else self.link.owner.close_timeout

    def lend(self, closing: Callable[[], None]) -> None:
        """Have the stream to ourselves until `take_back`, and be told when somebody closes it nevertheless."""
        if self.link is not None:
            self.link.lend(closing)

    def take_back(self) -> None:
        """Let others use the stream again."""
        if self.link is not None:
            self.link.take_back()

    def take_unread(self) -> bytes:
        """Take what was put back into the stream, past which the socket is about to be read."""
        return connection_of(self.stream).take_unread() if isinstance(self.stream, Stream) else b""

    def count_received(self, size: int) -> None:
        """Tell the stream what was read past it."""
        if self.link is not None:
            self.link.count_received(size)

    def count_sent(self, size: int) -> None:
        """Tell the stream what was written past it."""
        if self.link is not None:
            self.link.count_sent(size)

    async def send_eof(self) -> None:
        """Pass on an EOF, where there is a way to."""
        if hasattr(self.stream, "send_eof"):
            await self.stream.send_eof()

    async def wait_delivered(self) -> None:
        """Wait until the peer has what was sent, as far as that can be known."""
        if self.link is not None:
            await self.link.wire.wait_delivered()
        else:
            await wait_stream_delivered(self.stream)

    async def abort(self) -> None:
        """Close so that the peer sees that it was cut."""
        await abort(self.stream)


def _socket_of(stream: trio.abc.Stream) -> socket.socket | None:
    """Return the socket under a stream of trio's, None where there is none.

    trio keeps the socket to itself. A socket of our own on the same descriptor would be no better: closed by somebody else,
    the descriptor is the next connection's, whereas a closed socket object says that it is closed.
    """
    if type(stream) is not trio.SocketStream or stream.socket.did_shutdown_SHUT_WR:
        return None
    plain = getattr(stream.socket, "_sock", None)
    return plain if isinstance(plain, socket.socket) else None
