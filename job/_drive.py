"""Awaiting a coroutine step by step: in a context of its own, or with an eye on whether it ever suspends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Final, TypeVarTuple

P = TypeVarTuple("P")
_OVER: Final = object()


@coroutine
def drive(
    step: Callable[..., Any],
    work: Coroutine[Any, Any, object],
    suspends: Callable[[*P], object],
    *about: *P,
) -> Generator[Any, Any, None]:
    """Await `work` in the caller's trio task; what it returns is dropped.

    Args:
        step: makes each step of `work`, `operator.call` as they are. With `context.run` they happen in a context of their
            own, so that the caller's stays what it was. Giving a context back afterwards would not do: a variable that was
            not set before cannot be unset, and in a copy of the old context the caller's own tokens are worth nothing.
        work: what to await.
        suspends: called when `work` is about to suspend for the first time, if ever it does. Trio has not seen that yet, so
            a scope that is around `work` may still be cancelled, shielded or bounded here.
        about: what `suspends` is called with.
    """
    steps = work.__await__()
    trap = step(
        next, steps, _OVER
    )  # not by `send`: a StopIteration costs more than many a coroutine that never suspends
    if trap is _OVER:
        return
    suspends(*about)
    resume: Callable[[Any], Any]
    try:
        while True:
            try:
                value = yield trap
                resume = steps.send
            except BaseException as exc:
                # Thrown in below: from here it would be the exception that all of `work` is seen to handle.
                value = exc
                resume = steps.throw
            trap = step(resume, value)
    except StopIteration:
        return
