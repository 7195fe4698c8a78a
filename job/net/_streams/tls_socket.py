"""A socket with TLS on it, for who never waits: the relay engine."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final, final

import trio

from .tls import Tls
from .tls_buffers import RECORD

_CHUNK: Final = 2 * RECORD
"""Bytes received from below at once."""


@final
class TlsSocket:
    """Receives and sends like a non-blocking socket, but that two things need a look in between.

    What it has `taken` may be `unsent`, and then it takes nothing more before that is `flush`ed. And there may be `more` to
    receive though the descriptor below has nothing, so that no event tells of it.
    """

    __slots__ = ("_sock", "_tls", "fd")

    def __init__(self, sock: socket.socket, tls: Tls) -> None:
        self._sock = sock
        self._tls = tls
        self.fd = sock.fileno()

    @property
    def more(self) -> bool:
        """Whether to receive again, whatever the descriptor says."""
        return not self._tls.dry

    @property
    def unsent(self) -> bool:
        """Whether something has to be flushed."""
        return self._tls.out.pending

    def recv_into(self, buffer: memoryview, nbytes: int) -> int:
        """Receive what is there, up to `nbytes`; return how many bytes, 0 at EOF.

        Raises:
            BlockingIOError: there is nothing, as far as one look tells.
            OSError, trio.BrokenResourceError: the connection is broken, below or inside.
        """
        try:
            data = self._tls.read(nbytes)
            if data is None:
                self._tls.feed(self._sock.recv(_CHUNK))
                data = self._tls.read(nbytes)
        except ssl.SSLError as fault:
            with suppress(OSError):
                self.flush()
            raise broken(fault) from fault
        if self._tls.out.pending:  # an answer of the protocol's own
            self.flush()
        if data is None:
            raise BlockingIOError
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: memoryview) -> int:
        """Take all bytes, or none where some are `unsent`; return how many.

        Raises:
            BlockingIOError: there is no room for any.
            OSError, trio.BrokenResourceError: the connection is broken, below or inside.
        """
        self.flush()
        if self._tls.out.pending:
            raise BlockingIOError
        try:
            written = self._tls.write(data)
        except ssl.SSLError as fault:
            raise broken(fault) from fault
        if not written:
            # It would have to be heard first, and may never come to an end. Few do so: TLS 1.3 has no such thing.
            raise trio.BrokenResourceError("the peer shakes hands anew in the middle of a relay")
        self.flush()
        return len(data)

    def flush(self) -> None:
        """Send what is unsent, as far as there is room.

        Raises:
            OSError: the connection is broken below.
        """
        while self._tls.out.pending:
            try:
                self._tls.out.sent(self._sock.send(self._tls.out.next()))
            except BlockingIOError:
                return


def broken(fault: ssl.SSLError) -> trio.BrokenResourceError:
    """Return a fault as what a stream raises, who is its cause."""
    return trio.BrokenResourceError(f"TLS connection broken: {fault}")
