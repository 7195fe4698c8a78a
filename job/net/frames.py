"""Frames on a byte stream, without I/O: a length of 4 bytes, big-endian, then the payload of that many bytes.

`encode` makes a frame, a `Decoder` takes them apart however the bytes were cut on the way, and a `Codec` turns values into
payloads and back. For a stream that does all of it, give `Endpoint` a codec.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar, cast, final, overload

from .._core import check
from ._errors import FrameError, ProtocolError
from ._framing import (
    LONGEST,
    MAX_FRAME,
    BytesLike,
    as_bytes,
    check_bytes,
    check_complete,
    checked_length,
    end_of_frame,
    frame_of,
    payload_in,
)

__all__ = ["MAX_FRAME", "Codec", "Decoder", "encode"]

T = TypeVar("T")

_Both: TypeAlias = tuple[Callable[[Any], BytesLike], Callable[[BytesLike], Any]]


def encode(payload: BytesLike, *, max_frame: int = MAX_FRAME) -> bytes:
    """Return the frame that carries `payload`, which may be empty.

    Args:
        payload: the bytes to carry.
        max_frame: the longest payload that the other side takes, in bytes.

    Raises:
        FrameError: the payload is longer than `max_frame`.
        TypeError, ValueError: `payload` is not bytes-like, or `max_frame` is not 1 .. 2**32 - 1.
    """
    check_bytes("payload", payload)
    return frame_of(payload, _checked_limit(max_frame))


@final
class Decoder:
    """Takes a stream of bytes apart into the payloads of its frames, however the stream was cut.

    The work is linear in the bytes fed, in many small pieces as in one large one. The length in a header is never allocated:
    a frame grows as its bytes arrive, and one that would be too long is refused at its header. After such a header the stream
    cannot be read any further, and every later call raises.

    Args:
        max_frame: the longest payload that is taken, in bytes.

    Raises:
        TypeError, ValueError: `max_frame` is not 1 .. 2**32 - 1.
    """

    __slots__ = ("_buffer", "_max_frame")

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = _checked_limit(max_frame)
        self._buffer = bytearray()

    def feed(self, data: BytesLike) -> list[bytes]:
        """Take the next bytes of the stream, and return the payloads that they complete, in order.

        If a header that is too long follows good frames, those are returned and the next call raises. So call `feed(b"")`
        before waiting for more bytes.

        Raises:
            FrameError: the next frame is longer than `max_frame`.
            TypeError: `data` is not bytes-like.
        """
        check_bytes("data", data)
        self._check_header()  # nothing after a bad one is kept
        self._buffer += data
        payloads = self._take_payloads()
        if not payloads:
            self._check_header()
        return payloads

    @property
    def at_boundary(self) -> bool:
        """True if the stream may end here: no byte of an unfinished frame has been fed."""
        return not self._buffer

    def close(self) -> None:
        """Mark the end of the stream. May be called any number of times.

        Raises:
            FrameError: the stream ended inside a frame, or at one that is too long.
        """
        self._check_header()
        check_complete(self._buffer)

    def _check_header(self) -> None:
        end_of_frame(self._buffer, 0, self._max_frame)

    def _take_payloads(self) -> list[bytes]:
        payloads: list[bytes] = []
        start = 0
        with suppress(FrameError):  # a bad header stays at the front, where the next call finds it
            while (end := end_of_frame(self._buffer, start, self._max_frame)) is not None:
                payloads.append(payload_in(self._buffer, start, end))
                start = end
        # Cut once, so that many small frames in one feed do not move the rest of the buffer each time.
        del self._buffer[:start]
        return payloads


@final
class Codec(Generic[T]):
    """Turns values of one type into payloads of frames, and back.

    Bytes are sent as they are. Any other type that msgspec supports (str, int, dict[str, int], a dataclass, a msgspec.Struct,
    a union …) is sent as MessagePack, and what arrives is checked against the type. Nothing is ever pickled, so a peer can
    send a wrong value but no code. A codec holds no state of a stream: one can serve any number of them.

    Args:
        type: the type of the payloads.
        max_frame: the longest payload in bytes, as encoded, either way.

    Raises:
        ImportError: another type than bytes, and msgspec is not installed: it comes with the extra `net`.
        TypeError, ValueError: msgspec does not support `type`, or `max_frame` is not 1 .. 2**32 - 1.
    """

    __slots__ = ("_decode", "_encode", "_max_frame", "_type")

    @overload
    def __init__(self: Codec[bytes], *, max_frame: int = ...) -> None: ...
    @overload
    def __init__(self, type: builtins.type[T], *, max_frame: int = ...) -> None: ...
    @overload
    # For what msgspec takes as a type but a type checker does not: unions, Annotated, Literal …
    def __init__(self: Codec[Any], type: Any, *, max_frame: int = ...) -> None: ...
    def __init__(self, type: Any = bytes, *, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = _checked_limit(max_frame)
        self._type = type
        both: _Both = (_same, as_bytes) if type is bytes else _msgpack(type)
        self._encode, self._decode = both

    @property
    def type(self) -> Any:
        """The type of the payloads."""
        return self._type

    @property
    def max_frame(self) -> int:
        """The longest payload in bytes, as encoded."""
        return self._max_frame

    def encode(self, payload: T) -> bytes:
        """Return `payload` encoded, without the frame around it. The peer checks that it is of the type.

        Raises:
            FrameError: it is longer than `max_frame`.
            TypeError: it cannot be encoded.
        """
        encoded = self._encode(payload)
        check_bytes("payload", encoded)
        checked_length(encoded, self._max_frame)
        return as_bytes(encoded)

    def decode(self, payload: BytesLike) -> T:
        """Return the value that `payload`, the contents of one frame, stands for.

        Raises:
            ProtocolError: it does not decode to the type.
            TypeError: it is not bytes-like.
        """
        check_bytes("payload", payload)
        return cast(T, self._decode(payload))

    def __repr__(self) -> str:
        return f"Codec({self._type!r}, max_frame={self._max_frame})"


def _checked_limit(max_frame: int) -> int:
    return check.int_("max_frame", max_frame, most=LONGEST)


def _same(payload: Any) -> Any:
    return payload


def _msgpack(type: Any) -> _Both:
    """Return the encoder and the decoder of MessagePack for `type`."""
    try:
        import msgspec
    except ImportError as error:
        raise ImportError(f"Codec({type!r}) needs msgspec: install the extra `net` (trio-job[net])") from error
    try:
        decoder = msgspec.msgpack.Decoder(type)
    except TypeError as error:
        raise TypeError(f"type must be bytes or a type that msgspec supports, got {type!r}: {error}") from error

    # Besides msgspec's own errors: text that is not UTF-8, keys that cannot be hashed, nesting without end.
    faults = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)

    def decode(payload: BytesLike) -> Any:
        try:
            return decoder.decode(payload)
        except faults as error:
            raise ProtocolError(f"a payload of {len(payload)} bytes does not decode to {type!r}: {error}") from error

    return msgspec.msgpack.Encoder().encode, decode
