"""Events that belong to no single job, such as the health of an upstream: their observers and their log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..log import JobLog, Loggers
from .context import current_job, current_task
from .observers import Entry, Observers, global_observers
from .task import Task

if TYPE_CHECKING:
    from .job import Job


def announce(event: Any, beside: Task | None = None) -> None:
    """Notify the observers of the running job, of the jobs above it, and of all jobs; each observer once.

    Args:
        event: the record.
        beside: the task whose job is used if no job's code is running.

    Raises:
        BaseException: an observer raised something other than an Exception: an order to the calling code, and so to its job.
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
    """Return the log of the running task or job, or that of `beside`, or the default one."""
    where = _here(beside)
    return JobLog(Loggers(None), {}, {}) if where is None else where.log


def _here(beside: Task | None) -> Task | Job[Any] | None:
    return current_task() or current_job() or beside
