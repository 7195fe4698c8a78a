"""Checks of arguments that are no durations: each names the argument, the value and what was expected."""

from __future__ import annotations

import math


def whole(name: str, value: object, *, least: int = 1, most: float = math.inf) -> int:
    """Return `value` as a count: an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least} {'or more' if most == math.inf else f'to {most}'}, got {value!r}")
    return value


def number(name: str, value: object, *, least: float, most: float) -> float:
    """Return `value` as a number from `least` to `most`; NaN is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be a number from {least:g} to {most:g}, got {value!r}")
    return value
