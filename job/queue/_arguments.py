"""Checks of arguments, and errors as text."""

from __future__ import annotations

import sys
from typing import Final

from .._core import check
from .._core.words.user_code import shown

_LONGEST: Final = 2000
"""Characters that are kept of an error: a history goes with its message wherever that goes."""


def whole(name: str, value: object, *, least: int = 1, most: int = sys.maxsize) -> int:
    """Return `value` as a count: an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if not least <= value <= most:
        expected = f"{least} or more" if value < least and most == sys.maxsize else f"{least} to {most}"
        raise ValueError(f"{name} must be {expected}, got {check.shown(value)}")
    return value


def delay(name: str, value: object) -> float:
    """Return `value` as seconds to wait, which must come to an end."""
    found = check.seconds(name, value)
    if found == float("inf"):
        raise ValueError(f"{name} must be a number of seconds, not infinity, got {value!r}")
    return found


def error_text(error: BaseException | str | None) -> str | None:
    """Return an error as a history keeps it."""
    if error is None:
        return None
    text = error if isinstance(error, str) else shown(error)
    return text[:_LONGEST].encode(errors="backslashreplace").decode()
