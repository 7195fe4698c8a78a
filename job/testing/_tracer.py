"""Observe jobs and record what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import trio

from .._core.border import limits_of, wrap_routines
from .._core.words.events import Event, JobEnded, JobStateChanged, TaskAdded, TaskStateChanged
from .._core.words.states import JobState, Phase
from ._trace import (
    Added,
    Ask,
    Asked,
    End,
    Entered,
    Failure,
    JobFacts,
    JobMoved,
    Left,
    Outcome,
    Record,
    TaskFacts,
    TaskMoved,
    Trace,
)

if TYPE_CHECKING:
    from .._core.forms import AsyncRoutine
    from .._core.job import Job
    from .._core.task import Task
    from .._core.words.records import TaskError, Verdict


@final
class Tracer:
    """An `Observer` that keeps a trace of each job; pass it to `register_observer` before they run.

    When a task is added, the tracer wraps a recorder around each routine, so it works with any job. A recorder adds no
    checkpoint, so the routines run as they otherwise would.
    """

    def __init__(self) -> None:
        self._books: dict[int, _Book] = {}

    def on_event(self, event: Event, /) -> None:
        """Take one record."""
        match event:
            case TaskAdded(task):
                self._book(task.job).add(task)
            case TaskStateChanged(task, old, new):
                self.note(task.job, TaskMoved(trio.current_time(), task.index, old, new))
            case JobStateChanged(job, old, new):
                self.note(job, JobMoved(trio.current_time(), old, new))
            case JobEnded(job, verdict):
                self._book(job).end = _end(verdict)
            case _:
                pass  # The errors are in the verdict.

    def note(self, job: Job[Any], record: Record) -> None:
        """Add a record of something that the events do not report."""
        self._book(job).records.append(record)

    def note_asked(self, job: Job[Any], asked: Asked) -> None:
        """Record a request to end, unless the job has ended; an outer scope still affects the rest of the call."""
        if not job.ended or asked.what is Ask.OUTER:
            self.note(job, asked)

    def note_outcome(self, job: Job[Any], outcome: Outcome) -> None:
        """Record the outcome of running a job."""
        book = self._book(job)
        book.outcome = outcome
        if book.end is None and job.verdict is not None:  # It never ran, so its observers were not notified.
            book.end = _end(job.verdict)
            book.records.append(JobMoved(trio.current_time(), JobState.NEW, job.state))

    def traces(self) -> tuple[Trace, ...]:
        """Return the traces of all jobs, in the order in which they were first heard of."""
        return tuple(book.trace() for book in self._books.values())

    def forget(self) -> None:
        """Drop the traces, whose errors refer to frames of the run."""
        self._books.clear()

    def _book(self, job: Job[Any]) -> _Book:
        if job.id not in self._books:
            self._books[job.id] = _Book(job)
        return self._books[job.id]


class _Book:
    """The trace of one job while it is being written."""

    def __init__(self, job: Job[Any]) -> None:
        limits = limits_of(job)
        self._facts = JobFacts(job.name, limits.finalize_timeout, limits.stop_timeout, job.parent is not None)
        self.records: list[Record] = []
        self.end: End | None = None
        self.outcome: Outcome | None = None

    def add(self, task: Task) -> None:
        phases = wrap_routines(task, self._recorded)
        has_init, has_run, has_finalize = (phase in phases for phase in Phase)
        facts = TaskFacts(task.index, task.name, task.policy, task.transient, has_init, has_run, has_finalize)
        self.records.append(Added(trio.current_time(), facts))

    def _recorded(self, phase: Phase, routine: AsyncRoutine) -> AsyncRoutine:
        async def recorded(task: Task) -> object:
            self.records.append(Entered(trio.current_time(), task.index, phase, id(trio.lowlevel.current_task())))
            try:
                result = await routine(task)
            except BaseException as error:
                self._left(task, phase, error)
                raise
            self._left(task, phase, None)
            return result

        return recorded

    def _left(self, task: Task, phase: Phase, error: BaseException | None) -> None:
        self.records.append(Left(trio.current_time(), task.index, phase, error, task.job.stopping))

    def trace(self) -> Trace:
        return Trace(self._facts, tuple(self.records), self.end, self.outcome)


def _end(verdict: Verdict) -> End:
    cause = verdict.cause
    interrupted = None if cause.error is None else Failure(_index(cause.task), cause.phase, cause.error)
    return End(
        state=verdict.state,
        kind=cause.kind,
        cause=interrupted,
        since=cause.at or 0.0,
        errors=tuple(_failure(error) for error in verdict.errors),
        cut=tuple(task.index for task in verdict.cut),
    )


def _failure(error: TaskError) -> Failure:
    return Failure(_index(error.task), error.phase, error.error)


def _index(task: Task | None) -> int | None:
    return None if task is None else task.index
