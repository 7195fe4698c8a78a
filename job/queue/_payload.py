"""The payloads of a queue as bytes."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, final, is_typeddict

from ._arguments import whole

T = TypeVar("T")

MAX_SIZE: Final = 1024 * 1024


@final
class Payloads(Generic[T]):
    """Turns payloads of one type into bytes and back; both are checked against the type.

    Bytes go as they are, any other type that msgspec knows as MessagePack.

    Raises:
        ImportError: another type than bytes, and msgspec is not installed.
        TypeError, ValueError: msgspec does not support the type, or `max_size` is no size.
    """

    __slots__ = ("_decode", "_encode", "max_size", "type")

    def __init__(self, type: Any, max_size: int) -> None:
        self.type = type
        self.max_size = whole("max_size", max_size)
        both: tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
        both = (_bytes, bytes) if type is bytes else _message_pack(type)
        self._encode, self._decode = both

    def encode(self, payload: T) -> bytes:
        """Return a payload as bytes.

        Raises:
            TypeError: it is not of the type.
            ValueError: it is longer than `max_size`.
        """
        data = self._encode(payload)
        if len(data) > self.max_size:
            raise ValueError(f"payload must be at most {self.max_size} bytes (max_size), got {len(data)}")
        return data

    def decode(self, data: bytes) -> T:
        """Return the payload that the bytes stand for.

        Raises:
            ValueError: they stand for none.
        """
        decoded: T = self._decode(data)
        return decoded


def _bytes(payload: Any) -> bytes:
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"payload must be bytes-like, got {payload!r}")
    return bytes(payload)


def _message_pack(type: Any) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    try:
        import msgspec
    except ImportError as error:
        raise ImportError(f"type={type!r} needs msgspec: install the extra `queue` (trio-job[queue])") from error
    try:
        decoder = msgspec.msgpack.Decoder(type)
    except TypeError as error:
        raise TypeError(f"type must be bytes or a type that msgspec supports, got {type!r}: {error}") from error
    # An int is a float to msgspec as it is to Python; a TypedDict has no instances.
    is_class = isinstance(type, builtins.type) and type is not float and not is_typeddict(type)
    # Besides msgspec's own errors: text that is not UTF-8, keys that cannot be hashed, nesting without end.
    faults = (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError)

    def encode(payload: Any) -> bytes:
        if is_class and not isinstance(payload, type):  # a dict goes for a dataclass on the way, but is none
            raise TypeError(f"payload must be of the type {type!r}, got {payload!r}")
        try:
            data = msgspec.msgpack.encode(payload)
            decoder.decode(data)  # A payload that no consumer could decode is refused here.
        except faults as error:
            raise TypeError(f"payload must be of the type {type!r}, got {payload!r}: {error}") from error
        return data

    def decode(data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except faults as error:
            raise ValueError(f"a payload of {len(data)} bytes does not decode to {type!r}: {error}") from error

    return encode, decode
