"""The one event stream: frozen records of what happens to jobs and tasks, and who may listen to them.

`at` is on trio's clock, in seconds; None for what happens outside of a trio run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from . import _check

if TYPE_CHECKING:
    from ._job import Job
    from ._states import JobState, TaskState
    from ._task import Task
    from ._verdict import TaskError, Verdict


@dataclass(frozen=True, slots=True)
class JobStateChanged:
    """A job moved from one state to the next."""

    job: Job[Any]
    old: JobState
    new: JobState
    at: float | None


@dataclass(frozen=True, slots=True)
class TaskAdded:
    """A job got a task. Observers for all jobs hear of the tasks added before the start when the job starts."""

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
    """Something went wrong in a task; `survived` is True wherever the job goes on in spite of it."""

    task: Task
    error: TaskError
    survived: bool
    at: float | None


@dataclass(frozen=True, slots=True)
class TaskStalled:
    """A task has been working since `since` without ending, for longer than its manager thinks right."""

    task: Task
    since: float
    at: float | None


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job has ended, finalizers included; the last record of a job."""

    job: Job[Any]
    verdict: Verdict
    at: float | None


Event: TypeAlias = JobStateChanged | TaskAdded | TaskStateChanged | TaskFailed | TaskStalled | JobEnded


class Observer(Protocol):
    """Listens to the events of jobs.

    `on_event` is called synchronously from inside the engine: return quickly and do not block. An observer that raises is
    reported once; neither the job nor the other observers notice.
    """

    def on_event(self, event: Event, /) -> None:
        """Take one record."""
        ...


class Seat:
    """The place of one registered observer, and whether its fault has been reported."""

    __slots__ = ("faulty", "observer")

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.faulty = False


# In the order of registration; a dict, as the same observer may be registered twice and each taken back by itself.
_seats_for_all: dict[Seat, None] = {}


def register_observer(observer: Observer) -> Callable[[], None]:
    """Let `observer` hear the events of every job that starts from now on.

    Returns:
        A function that takes the registration back; jobs that already run keep the observer until they end. Calling it
        twice is harmless.

    Raises:
        TypeError: `observer` has no callable `on_event`.
    """
    check_observer("observer", observer)
    seat = Seat(observer)
    _seats_for_all[seat] = None

    def unregister() -> None:
        _seats_for_all.pop(seat, None)

    return unregister


def seats_of(observers: Iterable[Observer]) -> tuple[Seat, ...]:
    """Return the places of a job's own observers."""
    try:
        found = tuple(observers)
    except TypeError:
        raise TypeError(f"observers must be a list of observers, or the like, got {observers!r}") from None
    for each in found:
        check_observer("each of observers", each)
    return tuple(map(Seat, found))


def seats_for_all() -> tuple[Seat, ...]:
    """Return the observers that a job starting now has to serve."""
    return tuple(_seats_for_all)


def check_observer(name: str, observer: object) -> None:
    """Refuse what cannot listen."""
    on_event = getattr(observer, "on_event", None)
    if not callable(on_event):
        raise TypeError(f"{name} must have a method on_event(event), got {observer!r}")
    _check.plain(f"on_event of {name}", on_event)
