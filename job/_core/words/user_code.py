"""Code of the user's that the engine calls on its way: the repr of an error, its notes, the `isinstance` of a type.

Any of it may raise. What is asked here never fails with an Exception; it gives the plainest answer there is. A BaseException
(SystemExit, pytest's Failed) is an order and goes on: the caller sees to it that the job hears of it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

_CAUSE: Final[Any] = BaseException.__cause__  # asked of the type it is the descriptor

STACK_RESERVE: Final = 120
"""Frames that must be left where the engine begins something: its own calls, and a log and observers of some depth."""


def shown(value: object) -> str:
    """Return the repr of a value, or a text that says why there is none."""
    try:
        return repr(value)
    except Exception as fault:
        return f"<{type(value).__name__}, whose repr raised {type(fault).__name__}>"


def as_text(value: object) -> str:
    """Return `str` of a value, or what `shown` gives where that fails."""
    try:
        return str(value)
    except Exception:
        return shown(value)


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error, once; an error that takes none, as a frozen dataclass, stays without."""
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception:
        return


def set_cause(error: BaseException, cause: BaseException) -> None:
    """Set `__cause__`, also of an error that refuses to be written to: past its own `__setattr__`."""
    _CAUSE.__set__(error, cause)


def is_instance(error: BaseException, types: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Return `isinstance(error, types)`; where a metaclass fails at that, False."""
    try:
        return isinstance(error, types)
    except Exception:
        return False


def reserve_stack() -> None:
    """Refuse to begin what could not be brought to an end.

    Python's RecursionError may strike in the middle of anything. Raised here it finds nothing registered, and none who waits.

    Raises:
        RecursionError: fewer than `STACK_RESERVE` frames are left.
    """
    try:
        sys._getframe(max(0, sys.getrecursionlimit() - STACK_RESERVE))
    except ValueError:
        return  # the stack is not that deep
    raise RecursionError(f"fewer than {STACK_RESERVE} frames of Python's recursion limit are left")
