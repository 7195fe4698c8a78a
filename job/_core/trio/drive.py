"""Drive a coroutine step by step: in a context of its own, or to find out whether it ever suspends.

The caller makes the first step itself, with `next(steps, COMPLETED)`, where `steps` is the coroutine's `__await__()`. trio has
not seen the trap that this step yields, so the caller can still cancel, shield or bound a scope around the coroutine before
it awaits `drive_rest`. (The first step does not use `send`: its final StopIteration costs more than a coroutine that never
suspends.)
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import coroutine
from typing import Any, Final

COMPLETED: Final[Any] = object()
"""The value of the first step if the coroutine ended in it."""


@coroutine
def drive_rest(step: Callable[..., Any], steps: Generator[Any, Any, object], trap: Any) -> Generator[Any, Any, None]:
    """Await the rest of a coroutine in the caller's trio task, and drop its return value.

    Args:
        step: makes each step: `operator.call` in the caller's context, `context.run` in a context of its own, so that the
            caller's stays as it was. Restoring a context afterwards would not do: a variable that was not set before cannot
            be unset, and the caller's own tokens are invalid in a copy of its context.
        steps: the coroutine's `__await__()`, after its first step.
        trap: the value that the first step yielded.
    """
    resume: Callable[[Any], Any]
    try:
        while True:
            try:
                value = yield trap
                resume = steps.send
            except BaseException as exc:
                # It is thrown in below: thrown from here, it would be the context of every exception in the coroutine.
                value = exc
                resume = steps.throw
            trap = step(resume, value)
    except StopIteration:
        return
    finally:
        value = None  # The traceback of trio's outcome refers to this frame.
