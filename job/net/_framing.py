"""The framing of messages: a header of 4 bytes, big-endian, with the length of the payload after it.

The only code that reads and writes it; used by `frames`, which is public, and by the inbox of a stream.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from ._errors import FrameError

MAX_FRAME: Final = 1024 * 1024
"""The longest payload, in bytes, unless another limit is given."""

LONGEST: Final = 2**32 - 1
"""The longest payload that a header can announce."""

BytesLike: TypeAlias = bytes | bytearray | memoryview

_HEADER: Final = struct.Struct(">I")


def check_bytes(name: str, value: object) -> None:
    """Refuse an object that is not bytes, bytearray or memoryview."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be bytes, bytearray or memoryview, got {value!r}")


def as_bytes(payload: BytesLike) -> bytes:
    """Return a payload as bytes, without a copy if it is bytes."""
    return payload if isinstance(payload, bytes) else bytes(payload)


def frame_of(payload: BytesLike, max_frame: int) -> bytes:
    """Return the frame that carries a payload.

    Raises:
        FrameError: the payload is too long.
    """
    return _HEADER.pack(checked_length(payload, max_frame)) + as_bytes(payload)


def checked_length(payload: BytesLike, max_frame: int) -> int:
    """Return the length of a payload in bytes.

    Raises:
        FrameError: it is too long.
    """
    # Not len(): a memoryview counts items, which need not be bytes.
    length = payload.nbytes if isinstance(payload, memoryview) else len(payload)
    if length > max_frame:
        raise FrameError(f"a payload of {length} bytes is longer than max_frame, {max_frame}")
    return length


def end_of_frame(buffer: bytearray, start: int, max_frame: int) -> int | None:
    """Return the end of the frame that begins at `start`; None if it is not complete.

    Raises:
        FrameError: its header claims more than `max_frame`.
    """
    if len(buffer) - start < _HEADER.size:
        return None
    (length,) = _HEADER.unpack_from(buffer, start)
    if length > max_frame:
        raise FrameError(f"a frame of {length} bytes is longer than max_frame, {max_frame}")
    end: int = start + _HEADER.size + length
    return end if end <= len(buffer) else None


def payload_in(buffer: bytearray, start: int, end: int) -> bytes:
    """Return the payload of the frame from `start` to `end`, copied once."""
    # The view must be released before the buffer is cut: an exported bytearray cannot be resized.
    with memoryview(buffer) as view:
        return bytes(view[start + _HEADER.size : end])


def check_complete(buffer: bytearray) -> None:
    """Refuse the end of a stream inside a frame.

    Raises:
        FrameError: a part of a frame is left.
    """
    if buffer:
        raise FrameError(f"the stream ended inside a frame, {len(buffer)} bytes after its start")
