"""A socket with TLS on it, for a user that never waits: the relay engine."""

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
    """Receives and sends like a non-blocking socket, with two differences that its user must ask about.

    Ciphertext of what it accepted may be `unsent`; until that is `flush`ed it accepts nothing more. And there may be `more` to
    receive although the descriptor below has nothing, so that no event tells of it.
    """

    __slots__ = ("_sock", "_tls", "fd")

    def __init__(self, sock: socket.socket, tls: Tls) -> None:
        self._sock = sock
        self._tls = tls
        self.fd = sock.fileno()

    @property
    def more(self) -> bool:
        """True if there may be more to receive, whatever the descriptor says."""
        return not self._tls.dry

    @property
    def unsent(self) -> bool:
        """True if there is ciphertext to flush."""
        return self._tls.out.pending

    def recv_into(self, buffer: memoryview, nbytes: int) -> int:
        """Receive what is there, up to `nbytes`; return how many bytes, 0 at EOF.

        Raises:
            BlockingIOError: there is nothing, as far as one try can tell.
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
        """Accept all bytes, or none while some are `unsent`; return how many.

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
            # The handshake would have to be read first, and may never end. It is rare: TLS 1.3 has none.
            raise trio.BrokenResourceError("the peer shakes hands anew in the middle of a relay")
        self.flush()
        return len(data)

    def flush(self) -> None:
        """Send as much of the unsent ciphertext as there is room for.

        Raises:
            OSError: the connection is broken below.
        """
        while self._tls.out.pending:
            try:
                self._tls.out.sent(self._sock.send(self._tls.out.next()))
            except BlockingIOError:
                return


def broken(fault: ssl.SSLError) -> trio.BrokenResourceError:
    """Return the stream error for a TLS fault; its caller raises it from the fault."""
    return trio.BrokenResourceError(f"TLS connection broken: {fault}")
