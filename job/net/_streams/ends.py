"""Find the end of what a handshake waits for. Pure functions, linear in the bytes however small the pieces that come."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .._errors import ProtocolError

FindEnd: TypeAlias = Callable[[bytearray, int], int | None]
"""Returns the index of the end in a buffer, None if it has not come yet. The second argument is how many bytes at the front
an earlier call has searched in vain."""


def exactly(wanted: int) -> FindEnd:
    """Find the end of `wanted` bytes."""
    return lambda buffer, seen: wanted if len(buffer) >= wanted else None


def delimited(delimiter: bytes, limit: int) -> FindEnd:
    """Find the end of a delimiter within `limit` bytes."""

    def find(buffer: bytearray, seen: int) -> int | None:
        # A delimiter may have begun in the part already searched.
        at = buffer.find(delimiter, max(0, seen - len(delimiter) + 1), limit)
        if at >= 0:
            return at + len(delimiter)
        if len(buffer) >= limit:
            raise ProtocolError(f"no {delimiter!r} within {limit} bytes")
        return None

    return find


def one_line(limit: int) -> FindEnd:
    r"""Find the end of a line of up to `limit` bytes and `\n` or `\r\n`."""

    def find(buffer: bytearray, seen: int) -> int | None:
        at = buffer.find(b"\n", seen, limit + 2)
        end = min(len(buffer), limit + 2) if at < 0 else at
        if end - buffer.endswith(b"\r", 0, end) > limit:
            raise ProtocolError(f"a line of more than {limit} bytes")
        return None if at < 0 else at + 1

    return find
