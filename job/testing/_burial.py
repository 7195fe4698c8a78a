"""The end of a trio run that was brought down: what it left hanging dies at once, and complains to nobody."""

from __future__ import annotations

import gc
import io
import sys
import traceback
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, Final

import trio

_MOST_CLOSES: Final = 1000


def coroutines_below(task: trio.lowlevel.Task) -> Iterator[Coroutine[Any, Any, object]]:
    """Give the coroutines of the trio tasks below one, the innermost first, and its own last."""
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from coroutines_below(child)
    yield task.coro


def bury(coroutines: list[Coroutine[Any, Any, object]], error: BaseException) -> None:
    """Close the coroutines of a run, and let go of the error that brought it down and all that it holds.

    Else they are closed whenever they are found, outside of any trio run: their `finally` blocks fail, and Python, trio and the
    jobs report each of them, where the one thing to be told is why the run was brought down.
    """
    with _silence():
        while coroutines:
            _close(coroutines.pop(0))
        for each in filter(None, (error, error.__cause__)):
            traceback.clear_frames(each.__traceback__)
            each.__traceback__ = None
        gc.collect()


def _close(coroutine: Coroutine[Any, Any, object]) -> None:
    """Close a coroutine for good; what awaits in a `finally` has to be closed again."""
    for _ in range(_MOST_CLOSES):
        with suppress(BaseException):
            coroutine.close()
            return


@contextmanager
def _silence() -> Iterator[None]:
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.unraisablehook = hook
