"""One of the two ends of a relay: a stream, and all that the relay must know of it."""

from __future__ import annotations

import socket
from typing import Any, Final, final

import trio

from ._reason import Side

CLOSE_TIMEOUT: Final = 5.0
"""The `close_timeout`, in seconds, of a stream without an endpoint; the default of those that have one."""


@final
class End:
    """Any trio stream. What only `job.net.Stream` has is asked for here and nowhere else in the relay.

    Attributes:
        half_closes: whether the peer learns of an EOF while the other direction goes on; over TLS it does not.
        close_timeout: seconds that are left to such a peer to end its own direction.
        plain: the socket under a stream that is nothing but a socket.
    """

    __slots__ = ("_count", "_take_unread", "_unread", "close_timeout", "half_closes", "plain", "side", "stream")

    def __init__(self, side: Side, stream: trio.abc.Stream) -> None:
        self.side = side
        self.stream = stream
        self.close_timeout: float = getattr(getattr(stream, "endpoint", None), "close_timeout", CLOSE_TIMEOUT)
        self.half_closes: bool = getattr(stream, "half_closes", hasattr(stream, "send_eof"))
        self.plain = _socket_of(getattr(stream, "plain", stream))
        self._take_unread = getattr(stream, "take_unread", None)
        self._unread = getattr(stream, "unread", None)
        self._count = getattr(stream, "count", None)

    def take_unread(self) -> bytes:
        """Take what was put back into the stream, past which the socket is about to be read."""
        return b"" if self._take_unread is None else self._take_unread()

    def put_back(self, data: bytes) -> None:
        """Put back what was received and cannot be passed on; a stream that does not take it loses it."""
        if self._unread is not None:
            self._unread(data)

    def count(self, *, received: int = 0, sent: int = 0) -> None:
        """Tell the stream what went past it."""
        if self._count is not None:
            self._count(received=received, sent=sent)

    async def send_eof(self) -> None:
        """Pass on an EOF, where there is a way to."""
        if hasattr(self.stream, "send_eof"):
            await self.stream.send_eof()


def _socket_of(stream: Any) -> socket.socket | None:
    """Return the socket of a stream that may be read and written past trio, None where there is none.

    trio keeps the socket to itself. A socket of our own on the same descriptor would be no better: closed by somebody else,
    the descriptor is the next connection's, whereas a closed socket object says that it is closed.
    """
    if type(stream) is not trio.SocketStream or stream.socket.did_shutdown_SHUT_WR:
        return None
    plain = getattr(stream.socket, "_sock", None)
    return plain if isinstance(plain, socket.socket) else None
