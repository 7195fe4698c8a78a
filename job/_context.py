"""Which task, and so which job, the running code belongs to."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ._task import Task

if TYPE_CHECKING:
    from ._job import Job

T = TypeVar("T")

# Weak: contexts are copied into whatever is spawned, and would keep a job that ended long ago alive.
CURRENT: ContextVar[Callable[[], Task | Job[Any] | None]] = ContextVar("job current")


def _nothing() -> None:
    return None


def current_task() -> Task | None:
    """Return the task whose routine is running, also in what it spawned; None outside, and once its job has ended."""
    current = CURRENT.get(_nothing)()
    return current if isinstance(current, Task) and not current.job.ended else None


def current_job() -> Job[Any] | None:
    """Return the job whose code is running; None outside, and once that job has ended."""
    current = CURRENT.get(_nothing)()
    job = current.job if isinstance(current, Task) else current
    return None if job is None or job.ended else job


def enter_context_of(owner: Task | Job[Any]) -> None:
    """Make `owner` the current one for the rest of this trio task."""
    CURRENT.set(weakref.ref(owner))


@coroutine
def in_context(
    context: Context, work: Coroutine[Any, Any, T], suspends: Callable[[], None]
) -> Generator[Any, Any, T]:
    """Await `work` in the caller's trio task, but in a context of its own, so that the caller's stays what it was.

    Giving a context back afterwards would not do: a variable that was not set before cannot be unset, and in a copy of the old
    context the caller's own tokens are worth nothing.

    Args:
        context: in which `work` runs.
        work: what to await.
        suspends: called when `work` is about to suspend for the first time, if ever it does.
    """
    resume: Callable[[Any], Any] = work.send
    value: Any = None
    suspended = False
    while True:
        try:
            trap = context.run(resume, value)
        except StopIteration as end:
            return cast("T", end.value)
        if not suspended:
            suspended = True
            suspends()
        try:
            value = yield trap
            resume = work.send
        except BaseException as exc:
            value = exc
            resume = work.throw
