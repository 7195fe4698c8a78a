"""Clean up after a trio run that was brought down: its hanging coroutines die at once, and silently."""

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
    """Yield the coroutines of the trio tasks below one, innermost first, and its own last."""
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from coroutines_below(child)
    yield task.coro


def bury(coroutines: list[Coroutine[Any, Any, object]], error: BaseException) -> None:
    """Close the coroutines of a run, and drop the error that brought it down, with everything that it holds.

    Otherwise the garbage collector would close them at some time, outside of any trio run: their `finally` blocks would fail,
    and Python, trio and the jobs would report each of them, when only the reason why the run was brought down matters.
    """
    with _silence():
        while coroutines:
            _close(coroutines.pop(0))
        for each in filter(None, (error, error.__cause__)):
            traceback.clear_frames(each.__traceback__)
            each.__traceback__ = None
        gc.collect()


def _close(coroutine: Coroutine[Any, Any, object]) -> None:
    """Close a coroutine for good, again if it awaits in a `finally`."""
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
