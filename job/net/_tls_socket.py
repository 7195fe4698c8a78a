"""A socket with TLS on it, for who never waits: the relay engine."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import final

import trio

from ._tls import RECORD, Tls


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
        return self._tls.pending

    def recv_into(self, buffer: memoryview) -> int:
        """Receive what is there; return how many bytes, 0 at EOF.

        Raises:
            BlockingIOError: there is nothing, as far as one look tells.
            OSError, trio.BrokenResourceError: the connection is broken, below or inside.
        """
        try:
            data = self._tls.read(len(buffer))
            if data is None:
                self._tls.feed(self._sock.recv(RECORD))
                data = self._tls.read(len(buffer))
        except ssl.SSLError as fault:
            with suppress(OSError):
                self.flush()
            raise broken(fault) from fault
        if self._tls.pending:  # an answer of the protocol's own
            self.flush()
        if data is None:
            raise BlockingIOError
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: memoryview) -> int:
        """Take bytes, a record at a time, until one is `unsent`; return how many.

        Raises:
            BlockingIOError: there is no room for any.
            OSError, trio.BrokenResourceError: the connection is broken, below or inside.
        """
        self.flush()
        taken = 0
        while taken < len(data) and not self._tls.pending:
            record = data[taken : taken + RECORD]
            self._encrypt(record)
            self.flush()
            taken += len(record)
        if data and not taken:
            raise BlockingIOError
        return taken

    def _encrypt(self, record: memoryview) -> None:
        try:
            if self._tls.write(record):
                return
        except ssl.SSLError as fault:
            raise broken(fault) from fault
        # It would have to be waited for, and may never come to an end. Nearly no peer does so: TLS 1.3 has no such thing.
        raise trio.BrokenResourceError("the peer shakes hands anew in the middle of a relay")

    def flush(self) -> None:
        """Send what is unsent, as far as there is room.

        Raises:
            OSError: the connection is broken below.
        """
        while self._tls.pending:
            try:
                self._tls.sent(self._sock.send(self._tls.outgoing()))
            except BlockingIOError:
                return


def broken(fault: ssl.SSLError) -> trio.BrokenResourceError:
    """Return a fault as what a stream raises, who is its cause."""
    return trio.BrokenResourceError(f"TLS connection broken: {fault}")
