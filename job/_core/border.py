"""The verbs of the core: everything that rooms and programs may do with a job or a task beyond its public face.

No other package touches a private part of the core; tests/test_architecture.py holds that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import trio

from . import start
from .family import finish_family
from .report import report_failure, report_stall
from .run.progress import CANCELLED
from .words.records import Cause, CauseKind, TaskError
from .words.states import Phase

if TYPE_CHECKING:
    from .forms import AsyncRoutine
    from .idle_clock import IdleClock
    from .job import Job
    from .plan import Limits
    from .task import Task


def limits_of(job: Job[Any]) -> Limits:
    """Return the times that bound a job."""
    return job._limits


def mark_started(job: Job[Any], *, quiet: tuple[type[BaseException], ...] = ()) -> None:
    """Mark a job as started for `run_contained`, so that no other code can run it.

    Args:
        job: a job that has not been run.
        quiet: expected exception types, in addition to its own.

    Raises:
        JobStateError: it has been run before.
    """
    start.mark_started(job)
    if quiet:
        job._quiet = (*job._quiet, *quiet)


async def run_contained(job: Job[Any], *, before_end: Callable[[Job[Any]], None] | None = None) -> None:
    """Run a job marked by `mark_started` to its end; its failure is recorded and logged, not raised.

    Args:
        job: the job.
        before_end: called with the job when it has ended, before observers and the log are told.

    Raises:
        trio.Cancelled: an outer scope or the parent cancelled the job.
        BaseException: an error that must not be contained, such as KeyboardInterrupt or SystemExit.
    """
    job._on_end = before_end
    await start.run_contained(job)


async def drained(job: Job[Any]) -> None:
    """Stop keeping a job open, by `keep_open` or its block, and wait until it has ended by itself."""
    if job._run is not None:
        job._run.drop_keep_open()
    await job.wait()


def start_helper(job: Job[Any], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a function of a room beside the tasks of a running job, until all run loops have exited."""
    if job._run is not None:
        job._run.stop.start_helper(work)


def obey(job: Job[Any], order: BaseException) -> None:
    """End a job with an error of user code that has no other way out, such as one from a signal's callback."""
    job._obey(order)


def finish_by_signal(job: Job[Any], task: Task | None = None) -> None:
    """Finish a job within its own grace because of a signal; `task` is the task that listened, if any."""
    finish_family(job, Cause(CauseKind.SIGNAL, task, at=trio.current_time()), job._limits.grace)


def stop_cause(job: Job[Any]) -> Cause | None:
    """Return the cause of a job's stop: the finish if there was one, else the interruption, or None."""
    record = job._stop_record
    return record.asked or record.cause


def is_halted(job: Job[Any]) -> bool:
    """Return True if all run loops of a running job have been cancelled."""
    return job._run is not None and job._run.stop.mode is CANCELLED


def cancellable(task: Task) -> trio.CancelScope:
    """Return a new scope that cancels only this task's loop; call this before the task starts."""
    task._loop_scope = trio.CancelScope()
    return task._loop_scope


def wrap_routines(task: Task, wrap: Callable[[Phase, AsyncRoutine], AsyncRoutine]) -> frozenset[Phase]:
    """Replace each routine of a task by `wrap` of it; return which routines the task has."""
    given = zip(Phase, (task._init, task._run, task._finalize), strict=True)
    wrapped = {phase: wrap(phase, routine) for phase, routine in given if routine is not None}
    task._init, task._run, task._finalize = map(wrapped.get, Phase)
    return frozenset(wrapped)


def idle_clock_of(task: Task) -> IdleClock | None:
    """Return the idle clock of a task, or None without an idle timeout."""
    return task._idle


def report_contained(task: Task, error: Exception, phase: Phase = Phase.RUN) -> None:
    """Report an error of a task that goes on in spite of it to observers and the log, and nowhere else."""
    report_failure(task.job, task, TaskError(task, phase, error), survived=True)


def report_stalled(task: Task, since: float) -> None:
    """Report to observers and the log that a task has been working without ending since `since`."""
    report_stall(task.job, task, since)
