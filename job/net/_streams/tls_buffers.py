"""Buffers for ciphertext on its way into OpenSSL and out of it.

OpenSSL's own buffers never shrink, and each connection has two, though most connections are idle. So they are given about one
record at a time; the rest waits here, where its memory is freed once it has gone.
"""

from __future__ import annotations

import ssl
from typing import Final, final

from .wire import Data

RECORD: Final = 16384
"""The most bytes in one record (RFC 8446, 5.1)."""

_NOTHING: Final = memoryview(b"")


@final
class Intake:
    """Ciphertext that the peer has sent and OpenSSL has not asked for yet."""

    __slots__ = ("_ended", "_rest", "bio")

    def __init__(self) -> None:
        self.bio = ssl.MemoryBIO()
        self._rest = _NOTHING
        self._ended = False

    def put(self, ciphertext: Data) -> None:
        """Add ciphertext; empty bytes mark the end."""
        if not ciphertext:
            self._ended = True
        self._rest = memoryview(bytes(self._rest) + ciphertext if self._rest else ciphertext)

    def pass_on(self) -> bool:
        """Give OpenSSL the next piece, or the end; return False if there was neither."""
        if self._rest:
            self.bio.write(self._rest[:RECORD])
            self._rest = self._rest[RECORD:] or _NOTHING
            return True
        if self._ended and not self.bio.eof:
            self.bio.write_eof()
            return True
        return False


@final
class Outlet:
    """Ciphertext that OpenSSL wants sent to the peer."""

    __slots__ = ("_rest", "bio")

    def __init__(self) -> None:
        self.bio = ssl.MemoryBIO()
        self._rest = _NOTHING

    @property
    def pending(self) -> bool:
        """True if there is something to send."""
        return bool(self._rest) or self.bio.pending > 0

    def next(self) -> memoryview:
        """Return what must be sent next; the same again until it is `sent`."""
        if not self._rest:
            self._rest = memoryview(self.bio.read())
        return self._rest

    def sent(self, size: int) -> None:
        """Drop the first `size` bytes: they were sent."""
        self._rest = self._rest[size:] or _NOTHING

    def collect(self, records: list[bytes]) -> None:
        """Append records that were read from the bio one by one."""
        self._rest = memoryview(b"".join((self._rest, *records)))

    def take(self) -> bytes:
        """Remove and return all of it."""
        rest, self._rest = bytes(self._rest), _NOTHING
        return rest + self.bio.read()
