"""A codec, the toolkit's or one of the user's own, and the frames that its payloads travel in."""

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
        """Return the payload that the bytes stand for. Any Exception says that they stand for none."""
        ...


@final
class Framing:
    """Makes messages of payloads, and cuts them off a buffer.

    All that can be wrong with a codec whatever its payloads are is found here, at the call that hands it in, and not at
    the first message.

    Raises:
        TypeError, ValueError: what was given is no codec.
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
        """Return the first message of a buffer, as its length there and its payload; None where it is not complete.

        Raises:
            ProtocolError: it is too long, or does not decode.
        """
        end = end_of_frame(buffer, 0, self.max_frame)
        return None if end is None else (end, self._decode(payload_in(buffer, 0, end)))

    def _decode(self, data: bytes) -> Any:
        # Any exception: what a parser raises at bytes that it does not expect is up to these bytes, and they are the
        # peer's. Its text may have them in it, or fail to be made: the cause has it.
        try:
            return self.codec.decode(data)
        except ProtocolError:
            raise
        except Exception as error:
            raise ProtocolError(f"a payload of {len(data)} bytes does not decode: {type(error).__name__}") from error


def framing_of(codec: PayloadCodec | None) -> Framing | None:
    """Return the framing of a codec; without one a message is a chunk."""
    return None if codec is None else Framing(codec)


def _check_takes_one(name: str, method: Any) -> None:
    """Refuse a coroutine function, and one that cannot be called with one argument: a class in place of its object, say."""
    if inspect.iscoroutinefunction(method):
        raise TypeError(f"codec must have a plain function {name}, got the coroutine function {method!r}")
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # a function of C that does not tell
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(f"codec must have a function {name} of one argument, got {method!r}: {error}") from None
