"""A codec, the toolkit's or the user's own, and the frames its payloads travel in."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, final

from ..._core import check
from .._errors import ProtocolError
from .._framing import LONGEST, MAX_FRAME, check_bytes, end_of_frame, frame_of, payload_in
from .._options import check_methods


class PayloadCodec(Protocol):
    """Turns payloads into bytes and back; one is the inverse of the other. The frames around them are the stream's.

    It may have a `max_frame` besides: the longest payload in bytes, as encoded, either way; 1 MiB without one.
    """

    def encode(self, payload: Any, /) -> bytes:
        """Return a payload as bytes. What it raises comes out of `send`, and nothing is written."""
        ...

    def decode(self, data: bytes, /) -> Any:
        """Return the payload that the bytes stand for; raise any Exception if they stand for none."""
        ...


@final
class Framing:
    """Packs payloads into frames, and cuts frames off a buffer.

    A codec is checked here, at the call that passes it, as far as that is possible without a payload: an error at the first
    message would come too late.

    Raises:
        TypeError, ValueError: the object is not a codec.
    """

    __slots__ = ("codec", "max_frame")

    def __init__(self, codec: PayloadCodec) -> None:
        check_methods("codec", codec, "encode", "decode")
        for name in ("encode", "decode"):
            _check_takes_one(name, getattr(codec, name))
        self.codec = codec
        self.max_frame = check.int_("max_frame of codec", getattr(codec, "max_frame", MAX_FRAME), most=LONGEST)

    def pack(self, payload: Any) -> bytes:
        """Return the frame that carries a payload.

        Raises:
            FrameError: it is too long.
            TypeError: the codec gave no bytes.
        """
        encoded = self.codec.encode(payload)
        check_bytes("what codec.encode returns", encoded)
        return frame_of(encoded, self.max_frame)

    def cut(self, buffer: bytearray) -> tuple[int, Any] | None:
        """Return the length in the buffer and the payload of its first message; None if that is not complete.

        Raises:
            ProtocolError: it is too long, or does not decode.
        """
        end = end_of_frame(buffer, 0, self.max_frame)
        return None if end is None else (end, self._decode(payload_in(buffer, 0, end)))

    def _decode(self, data: bytes) -> Any:
        # Any exception: which one a parser raises depends on the bytes, and those are the peer's. The message leaves out its
        # text, which may contain the bytes or fail to be formatted; the cause has it.
        try:
            return self.codec.decode(data)
        except ProtocolError:
            raise
        except Exception as error:
            raise ProtocolError(f"a payload of {len(data)} bytes does not decode: {type(error).__name__}") from error


def framing_of(codec: PayloadCodec | None) -> Framing | None:
    """Return the framing of a codec; None without one: then a message is a chunk."""
    return None if codec is None else Framing(codec)


def _check_takes_one(name: str, method: Any) -> None:
    """Refuse a coroutine function, and one that cannot be called with one argument: a class instead of its instance, say."""
    if inspect.iscoroutinefunction(method):
        raise TypeError(f"codec must have a plain function {name}, got the coroutine function {method!r}")
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # a C function without a signature
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(f"codec must have a function {name} of one argument, got {method!r}: {error}") from None
