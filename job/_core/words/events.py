"""The one event stream: frozen records of what happens to jobs and tasks.

`at` is in seconds on trio's clock, or None outside of a trio run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from ..job import Job
    from ..task import Task
    from .records import TaskError, Verdict
    from .states import JobState, TaskState


@dataclass(frozen=True, slots=True)
class JobStateChanged:
    """A job moved from one state to the next."""

    job: Job[Any]
    old: JobState
    new: JobState
    at: float | None


@dataclass(frozen=True, slots=True)
class TaskAdded:
    """A job got a task. Observers of all jobs receive the tasks that were added before the start when the job starts."""

    task: Task
    at: float | None


@dataclass(frozen=True, slots=True)
class TaskStateChanged:
    """A task moved from one state to the next."""

    task: Task
    old: TaskState
    new: TaskState
    at: float | None


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """Something went wrong in a task; `survived` is True if the job goes on in spite of it."""

    task: Task
    error: TaskError
    survived: bool
    at: float | None


@dataclass(frozen=True, slots=True)
class TaskStalled:
    """A task has been working since `since`, for longer than its manager's `stalled_after`."""

    task: Task
    since: float
    at: float | None


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job has ended, finalizers included. This is the last record of a job."""

    job: Job[Any]
    verdict: Verdict
    at: float | None


Event: TypeAlias = JobStateChanged | TaskAdded | TaskStateChanged | TaskFailed | TaskStalled | JobEnded


class Observer(Protocol):
    """A listener to the events of jobs.

    The engine calls `on_event` synchronously: return quickly and do not block. An observer that raises is reported once, and
    affects neither the job nor the other observers.
    """

    def on_event(self, event: Event, /) -> None:
        """Receive one record."""
        ...
