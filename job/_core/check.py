"""Checks of arguments: each names the argument, the value and what was expected."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final, TypeVar

T = TypeVar("T")

_MOST_BITS: Final = 256
"""Longer ints are shown by their size: Python refuses to write out more than 4,300 digits."""


def seconds(name: str, value: object) -> float:
    """Return `value` as a duration: 0 or more seconds, where infinity means no limit."""
    if type(value) is float and value >= 0:
        return value
    number = _real(name, value, "a number of seconds")
    if not number >= 0:  # Written so that NaN fails, too.
        raise ValueError(f"{name} must be 0 or more seconds, got {value!r}")
    return number


def positive_seconds(name: str, value: object) -> float:
    """Return `value` as a duration of more than 0 seconds."""
    number = _real(name, value, "a number of seconds")
    if not number > 0:
        raise ValueError(f"{name} must be more than 0 seconds, got {value!r}")
    return number


def number(name: str, value: object, *, least: float = -math.inf, most: float = math.inf) -> float:
    """Return `value` as a number from `least` to `most`; NaN is refused."""
    found = _real(name, value, "a number")
    if not least <= found <= most:  # Written so that NaN fails, too.
        limits = "" if least == -math.inf else f" from {least:g} to {most:g}"
        raise ValueError(f"{name} must be a number{limits}, got {value!r}")
    return found


def _real(name: str, value: object, what: str) -> float:
    """Return an int or a float as a float; refuse Decimal and Fraction, which cannot be added to trio's clock."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be {what}, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be {what} that a float can hold, got {shown(value)}") from None


def times(name: str, value: object, *, least: int = 1) -> float:
    """Return `value` as a count: a whole number, or infinity for no limit."""
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value == math.inf)):
        raise TypeError(f"{name} must be a whole number or math.inf, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {shown(value)}")
    return value


def shown(value: float) -> str:
    """Return a number as text for a message, however long it is."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"an int of {value.bit_length()} bits"
    return repr(value)


def bool_(name: str, value: object) -> bool:
    """Return `value` if it is True or False; anything else is refused, because the string "no" is truthy."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def member(name: str, value: object, kind: type[Enum]) -> None:
    """Refuse anything but a member of an Enum."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a member of {kind.__name__}, got {value!r}")


def function(name: str, value: T) -> T:
    """Return `value` if it is callable."""
    if not callable(value):
        raise TypeError(f"{name} must be callable or None, got {value!r}")
    return value


def uncalled(name: str, value: object) -> None:
    """Refuse anything that is not callable. A coroutine, the usual mistake, is closed first."""
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(f"{name} must be a function, not called yet, and its arguments after it, got {value!r}")
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {value!r}")


def plain(name: str, value: T) -> T:
    """Return a callable that will not be awaited; refuse an async one, which would never run."""
    if _is_async(value):
        raise TypeError(f"{name} must be a plain function, as it is never awaited, got {value!r}")
    return value


def _is_async(value: object) -> bool:
    """Return True if a call of `value` returns a coroutine or an async generator; look into partials and callable objects."""
    while isinstance(value, functools.partial):
        value = value.func
    call = getattr(type(value), "__call__", None)  # noqa: B004 - the method itself is needed
    return any(inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each) for each in (value, call))


def str_(name: str, value: object) -> str:
    """Return `value` if it is a string that is not empty."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {value!r}")
    if not value:
        raise ValueError(f"{name} must not be empty, got {value!r}")
    return value


def fields(name: str, value: object) -> dict[str, Any]:
    """Return a copy of the log fields in `value`."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a mapping with str keys, got {value!r}")
    return dict(value)


def exception_types(name: str, value: object) -> tuple[type[BaseException], ...]:
    """Return `value` as a tuple of exception types."""
    types = tuple(value) if isinstance(value, Iterable) else (value,)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise TypeError(f"{name} must hold exception types, got {each!r}")
    return types


def int_(name: str, value: object, *, least: int = 1, most: int = sys.maxsize) -> int:
    """Return `value` as a count: an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not least <= value <= most:
        expected = f"{least} or more" if value < least and most == sys.maxsize else f"{least} to {most}"
        raise ValueError(f"{name} must be {expected}, got {shown(value)}")
    return value


def bytes_like(name: str, value: object, where: str = "") -> bytes | bytearray | memoryview:
    """Return `value` if it is bytes, a bytearray or a memoryview."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be bytes, bytearray or memoryview{where}, got {value!r}")
    return value


def stream(name: str, value: object) -> None:
    """Refuse anything without the methods of a stream."""
    if not all(callable(getattr(value, method, None)) for method in ("receive_some", "send_all")):
        raise TypeError(f"{name} must be a stream, got {value!r}")


def list_of(name: str, kind: type[T], values: object) -> list[T]:
    """Return `values` as a list if each of them is an instance of `kind`."""
    found: list[Any] = list(values) if isinstance(values, Iterable) else [values]
    for each in found:
        if not isinstance(each, kind) or values is each:
            raise TypeError(f"{name} must be an iterable of {kind.__name__}, got {each!r}")
    return found
