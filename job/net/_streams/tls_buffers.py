"""Ciphertext on its way into OpenSSL and out of it.

The buffers of OpenSSL's own never shrink, and there are two for each connection, most of which are idle. So they get no more
than about a record at a time, and what is more waits here, where it is given back when it has gone.
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
    """What the peer has sent, and OpenSSL has not asked for yet."""

    __slots__ = ("_ended", "_rest", "bio")

    def __init__(self) -> None:
        self.bio = ssl.MemoryBIO()
        self._rest = _NOTHING
        self._ended = False

    def put(self, ciphertext: Data) -> None:
        """Take in some more; nothing is the end."""
        if not ciphertext:
            self._ended = True
        self._rest = memoryview(bytes(self._rest) + ciphertext if self._rest else ciphertext)

    def pass_on(self) -> bool:
        """Give OpenSSL, which wants more, the next piece, or word of the end; return whether there was anything."""
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
    """What OpenSSL wants the peer to have."""

    __slots__ = ("_rest", "bio")

    def __init__(self) -> None:
        self.bio = ssl.MemoryBIO()
        self._rest = _NOTHING

    @property
    def pending(self) -> bool:
        """Whether there is something."""
        return bool(self._rest) or self.bio.pending > 0

    def next(self) -> memoryview:
        """Return what is to be sent next, again and again until it is `sent`."""
        if not self._rest:
            self._rest = memoryview(self.bio.read())
        return self._rest

    def sent(self, size: int) -> None:
        """Forget the first so many bytes of it."""
        self._rest = self._rest[size:] or _NOTHING

    def collect(self, records: list[bytes]) -> None:
        """Put records, which were taken out of the bio one by one, behind what is there."""
        self._rest = memoryview(b"".join((self._rest, *records)))

    def take(self) -> bytes:
        """Return all there is, and forget it."""
        rest, self._rest = bytes(self._rest), _NOTHING
        return rest + self.bio.read()
