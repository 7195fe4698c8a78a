"""Checks of arguments that are no durations: each names the argument, the value and what was expected."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

import trio

from .. import _check
from ._wire import Data

T = TypeVar("T")


def whole(name: str, value: object, *, least: int = 1, most: int = sys.maxsize) -> int:
    """Return `value` as a count: an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not least <= value <= most:
        expected = f"{least} or more" if value < least and most == sys.maxsize else f"{least} to {most}"
        raise ValueError(f"{name} must be {expected}, got {_check.shown(value)}")
    return value


def number(name: str, value: object, *, least: float, most: float) -> float:
    """Return `value` as a number from `least` to `most`; NaN is none."""
    found = _check.number(name, value)
    if not least <= found <= most:
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, got {value!r}")
    return found


def octets(name: str, value: object, where: str = "") -> Data:
    """Return `value` as it is: bytes, in any of their types."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be bytes, bytearray or memoryview{where}, got {value!r}")
    return value


def stream(name: str, value: object) -> None:
    """Refuse what is no stream; one that only behaves like one will do."""
    if isinstance(value, trio.abc.Stream):
        return
    if not all(callable(getattr(value, method, None)) for method in ("receive_some", "send_all")):
        raise TypeError(f"{name} must be a stream, got {value!r}")


def all_of(name: str, kind: type[T], values: object) -> list[T]:
    """Return `values` as a list; each of them is of that kind."""
    found: list[Any] = list(values) if isinstance(values, Iterable) else [values]
    for each in found:
        if not isinstance(each, kind) or values is each:
            raise TypeError(f"{name} must be an iterable of {kind.__name__}, got {each!r}")
    return found
