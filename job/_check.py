"""Checks of arguments: each names the argument, the value and what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def seconds(name: str, value: object) -> float:
    """Return `value` as a duration: a number of seconds that is not negative; infinity is none."""
    if type(value) is float and value >= 0:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must be 0 or more seconds, got {value!r}")
    return float(value)


def positive_seconds(name: str, value: object) -> float:
    """Return `value` as a duration longer than nothing."""
    if not isinstance(value, (int, float)) or value > 0:
        return seconds(name, value)
    raise ValueError(f"{name} must be more than 0 seconds, got {value!r}")


def flag(name: str, value: object) -> bool:
    """Return `value` as True or False, one of which it must be: a string that says no is true."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def function(name: str, value: T) -> T:
    """Return `value`, which must be callable."""
    if not callable(value):
        raise TypeError(f"{name} must be callable or None, got {value!r}")
    return value


def text(name: str, value: object) -> str:
    """Return `value` as a string that is not empty."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {value!r}")
    if not value:
        raise ValueError(f"{name} must not be empty, got {value!r}")
    return value


def fields(name: str, value: object) -> dict[str, Any]:
    """Return a dict of its own with the log fields in `value`."""
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


def number(name: str, value: object) -> float:
    """Return `value` as a number, which it must be; NaN is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if math.isnan(value):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)
