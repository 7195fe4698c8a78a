"""The task, and so the job, that the running code belongs to."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Final

from .task import Task

if TYPE_CHECKING:
    from .job import Job

# The reference is weak, because contexts are copied into whatever is spawned and would keep an ended job alive.
_current: ContextVar[Callable[[], Task | Job[Any] | None] | None] = ContextVar("job current", default=None)
make_current: Final = _current.set
"""Make the target of a weak reference the current task or job, for the rest of a context."""


def reference_in(context: Context) -> Any:
    """Return the weak reference to the task or job that a context belongs to, or None."""
    return context.get(_current)


context_of: Final = _current.get
"""Return the weak reference to the task or job that the running code belongs to, or once belonged to, or None."""


def current_task() -> Task | None:
    """Return the task whose routine, or whatever that spawned, is running; None outside, and once its job has ended."""
    reference = _current.get()
    if reference is None:
        return None
    current = reference()
    return current if isinstance(current, Task) and not current.job.ended else None


def current_job() -> Job[Any] | None:
    """Return the job whose code is running; None outside, and once that job has ended."""
    reference = _current.get()
    if reference is None:
        return None
    current = reference()
    job = current.job if isinstance(current, Task) else current
    return None if job is None or job.ended else job
