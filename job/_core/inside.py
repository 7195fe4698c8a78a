"""Inspect running jobs from outside, from any thread: for the rooms that look into a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from weakref import ReferenceType

import trio

from .context import reference_in
from .registry import running_heads
from .run.lifecycle import JobRun
from .run.task_run import run_task
from .task import Task
from .trio.drive import drive_rest
from .trio.time_slice import TimeSlice

if TYPE_CHECKING:
    from .job import Job

RUN_OF_A_JOB: Final = JobRun.run_to_end.__code__
"""The code of the frame in which a host runs a job to its end."""

RUN_OF_A_TASK: Final = run_task.__code__
"""The code of the frame in which a trio task runs a task, from its init to its exits."""

DRIVEN_BY_HAND: Final = drive_rest.__code__
"""The code of the generator between an awaiting frame and the coroutine that it drives."""


def roots() -> tuple[Job[Any], ...]:
    """Return the running jobs without a running parent, the oldest first.

    This may be called from any thread and from a signal handler. A job is found from the start of its `run` until it has ended.
    The result keeps it alive; nothing else here does.
    """
    return tuple(job for job in running_heads() if (above := job.parent) is None or above._run is None)


def children(job: Job[Any]) -> list[Job[Any]]:
    """Return the running children of a job, in the order in which they were started."""
    found = job._children
    return [] if found is None else sorted(found.started(), key=_start)


def _start(job: Job[Any]) -> float:
    return job._started_at or 0.0


def family(job: Job[Any]) -> Iterator[tuple[Job[Any], int]]:
    """Yield a job and all running jobs below it, each with the position of its parent (its own for the first)."""
    level = [(job, 0)]
    position = 0
    while level:
        below: list[tuple[Job[Any], int]] = []
        for each, above in level:
            yield each, above
            if each._children is not None:
                below += [(child, position) for child in children(each)]
            position += 1
        level = below


def turns_of(job: Job[Any]) -> TimeSlice | None:
    """Return the time slice of a job's trio run, with its clock and token; None if the job does not run."""
    life = job._run
    return None if life is None else life.time_slice


def now_in(job: Job[Any]) -> float | None:
    """Return the time on the job's clock; for an ended job the time of its end, for a new one None."""
    turns = turns_of(job)
    if turns is not None:
        return turns.clock.current_time()
    return job._ended_at if job.ended else None


def age(job: Job[Any]) -> float | None:
    """Return the seconds that a job has run, or None before its start."""
    now, started_at = now_in(job), job._started_at
    return None if now is None or started_at is None else now - started_at


def idle_left(task: Task, now: float | None) -> float | None:
    """Return the seconds until a task's idle timeout; None without one, or if the job does not run."""
    clock = task._idle
    return None if clock is None or now is None else clock.deadline - now


def trio_task_of(task: Task) -> trio.lowlevel.Task | None:
    """Return the trio task in which a task runs at present."""
    return task._trio_task


def task_in(trio_task: trio.lowlevel.Task) -> Task | Job[Any] | None:
    """Return the innermost task, or else the job, whose code a trio task runs."""
    found = None
    for root in roots():
        for job, _ in family(root):
            found = next((task for task in job.tasks if task._trio_task is trio_task), found)
    if found is not None:
        return found
    reference: ReferenceType[Any] | None = reference_in(trio_task.context)
    return None if reference is None else reference()


def connection_of(job: Job[Any]) -> Any:
    """Return the stream of the client for which `serve` built this job, or None."""
    return getattr(job._on_end, "stream", None)


def hide(job: Job[Any]) -> Job[Any]:
    """Hide a job that has not started from inspection, because it serves the inspection; return it."""
    job._hidden = True
    return job
