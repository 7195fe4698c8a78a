"""Awaiting a coroutine step by step: in a context of its own, or with an eye on whether it ever suspends.

The first step is made by hand: `next(steps, COMPLETED)`, where `steps` is the coroutine's `__await__()`. What it gives has
not been seen by trio yet, so a scope that is around the coroutine may still be cancelled, shielded or bounded before the
`drive_rest`. (Not by `send`: the StopIteration at the end costs more than many a coroutine that never suspends.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import coroutine
from typing import Any, Final

COMPLETED: Final[Any] = object()
"""What the first step gives of a coroutine that has ended."""


@coroutine
def drive_rest(step: Callable[..., Any], steps: Generator[Any, Any, object], trap: Any) -> Generator[Any, Any, None]:
    """Await the rest of a coroutine in the caller's trio task; what it returns is dropped.

    Args:
        step: makes each step, `operator.call` as they are. With `context.run` they happen in a context of their own, so that
            the caller's stays what it was. Giving a context back afterwards would not do: a variable that was not set before
            cannot be unset, and in a copy of the old context the caller's own tokens are worth nothing.
        steps: those of the coroutine, the first of which has been made.
        trap: what that has given.
    """
    resume: Callable[[Any], Any]
    try:
        while True:
            try:
                value = yield trap
                resume = steps.send
            except BaseException as exc:
                # Thrown in below: from here it would be the exception that all of the coroutine is seen to handle.
                value = exc
                resume = steps.throw
            trap = step(resume, value)
    except StopIteration:
        return
    finally:
        value = None  # trio's outcome, whose exception leads to this frame
