"""A user function bound to its arguments, and how it is retried."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, final

from . import check
from .border import report_contained
from .forms import form_name
from .retry import Retry
from .task import Task


@final
class Work:
    """A function to be called later, `async def` or plain; an awaitable result of a plain one is awaited.

    Raises:
        TypeError: `fn` is not callable. If it is a coroutine, the usual mistake, it is closed.
    """

    __slots__ = ("_args", "_fn", "name")

    def __init__(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        check.uncalled("fn", fn)
        self._fn = fn
        self._args = args
        self.name = form_name(fn)

    async def __call__(self) -> Any:
        """Call the function, and return its result."""
        result = self._fn(*self._args)
        return await result if inspect.isawaitable(result) else result


async def attempt(
    task: Task, work: Callable[[], Awaitable[Any]], retry: Retry | None, pause: Callable[[float], Awaitable[bool]]
) -> Any:
    """Attempt `work` until it succeeds, and return its result; report each failure but the last as survived.

    Args:
        task: the task that does the work.
        work: called for each attempt.
        retry: how often and when to retry; None for a single attempt.
        pause: waits between two attempts and returns True to make the next one; if it returns False, the result is None.

    Raises:
        Exception: the error of the last attempt.
    """
    failures = 0
    while True:
        try:
            return await work()
        except Exception as error:
            failures += 1
            seconds = None if retry is None else retry.next_delay(failures, error)
            if seconds is None:
                raise
            report_contained(task, error)
        if not await pause(seconds):
            return None
