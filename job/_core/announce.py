"""Events of no single job, the health of an upstream say: which observers hear of them, and where they are logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..log import JobLog, Loggers
from .context import current_job, current_task
from .observers import Entry, Observers, global_observers
from .task import Task

if TYPE_CHECKING:
    from .job import Job


def announce(event: Any, beside: Task | None = None) -> None:
    """Tell the observers of the job whose code is running, those of the jobs above it, and those for all; each once.

    beside: the task whose job is taken where no job's code is running.

    Raises:
        BaseException: what an observer raised that is no Exception: an order to the code that announces, and so to its job.
    """
    where = _here(beside)
    job = where.job if isinstance(where, Task) else where
    entries: dict[Entry, None] = {}
    while job is not None:
        if job._observers is not None:
            entries.update(dict.fromkeys(job._observers.entries))
        job = job.parent
    entries.update(dict.fromkeys(global_observers()))
    order = Observers(entries, log_here(beside)).notify(event)
    if order is not None:
        raise order


def log_here(beside: Task | None = None) -> JobLog:
    """Return the log of the running task or job, else that of `beside`, else the default one."""
    where = _here(beside)
    return JobLog(Loggers(None), {}, {}) if where is None else where.log


def _here(beside: Task | None) -> Task | Job[Any] | None:
    return current_task() or current_job() or beside
