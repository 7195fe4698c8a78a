"""Safe calls of user code that the engine makes in passing: the repr of an error, its notes, the `isinstance` of a type.

Any user code may raise. These functions never raise an Exception; they give the plainest answer instead. Any other
BaseException (SystemExit, pytest's Failed) is an order and goes through: the caller makes sure that the job obeys it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

_CAUSE: Final[Any] = BaseException.__cause__  # Looked up on the type, this is the descriptor itself.

STACK_RESERVE: Final = 200
"""Stack frames that must be left before the engine begins something: enough for its own calls, a log and observers."""


def shown(value: object) -> str:
    """Return the repr of a value, or a text that says why it has none."""
    try:
        return repr(value)
    except Exception as fault:
        return f"<{type(value).__name__}, whose repr raised {type(fault).__name__}>"


def as_text(value: object) -> str:
    """Return `str(value)`, or `shown(value)` if that fails."""
    try:
        return str(value)
    except Exception:
        return shown(value)


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error, once; skip errors that accept no note, such as frozen dataclasses."""
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception:
        return


def set_cause(error: BaseException, cause: BaseException) -> None:
    """Set `__cause__`, bypassing the error's own `__setattr__`, which may refuse it."""
    _CAUSE.__set__(error, cause)


def is_instance(error: BaseException, types: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Return `isinstance(error, types)`, or False if a metaclass raises."""
    try:
        return isinstance(error, types)
    except Exception:
        return False


def reserve_stack() -> None:
    """Refuse to begin what could not be brought to an end.

    Python's RecursionError may strike in the middle of anything; raised here, it finds nothing registered that would be waited
    for. How many frames are left cannot be asked, as calls from C count too and have no frame. So the stack is tried, but only
    where it is deep at all.

    Raises:
        RecursionError: fewer than `STACK_RESERVE` frames are left.
    """
    try:
        sys._getframe(sys.getrecursionlimit() // 2)
    except ValueError:
        return  # the stack is not that deep
    _descend(STACK_RESERVE)


def _descend(frames: int) -> None:
    if frames:
        _descend(frames - 1)
