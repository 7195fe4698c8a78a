"""Awaiting a coroutine step by step: in a context of its own, or with an eye on whether it ever suspends."""

from __future__ import annotations

import operator
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any


@coroutine
def drive(
    work: Coroutine[Any, Any, object], suspends: Callable[[], object], step: Callable[..., Any] = operator.call
) -> Generator[Any, Any, None]:
    """Await `work` in the caller's trio task; what it returns is dropped.

    Args:
        work: what to await.
        suspends: called when `work` is about to suspend for the first time, if ever it does. Trio has not seen that yet, so
            a scope that is around `work` may still be cancelled, shielded or bounded here.
        step: makes each step of `work`. With `context.run` it happens in a context of its own, so that the caller's stays
            what it was. Giving a context back afterwards would not do: a variable that was not set before cannot be unset,
            and in a copy of the old context the caller's own tokens are worth nothing.
    """
    resume: Callable[[Any], Any]
    try:
        trap = step(work.send, None)
        suspends()
        while True:
            try:
                value = yield trap
                resume = work.send
            except BaseException as exc:
                # Thrown in below: from here it would be the exception that all of `work` is seen to handle.
                value = exc
                resume = work.throw
            trap = step(resume, value)
    except StopIteration:
        return
