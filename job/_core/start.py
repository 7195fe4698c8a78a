"""How a job is run: in the foreground, contained, or beside a block."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio import current_time
from trio.lowlevel import enable_ki_protection

from .family import end_unrun
from .observers import Entry, Observers, global_observers
from .outcome import is_cancelled_externally, outcome
from .registry import job_started
from .run.lifecycle import JobRun
from .trio.clock import clock
from .words.events import TaskAdded
from .words.exceptions import JobStateError
from .words.records import Cause, CauseKind
from .words.typevars import V
from .words.user_code import reserve_stack

if TYPE_CHECKING:
    from .job import Job
    from .words.states import JobState


def mark_started(job: Job[Any]) -> None:
    """Take a job for its one run.

    Raises:
        JobStateError: it has been run before.
    """
    reserve_stack()
    if job._started:
        raise JobStateError(f"job {job.name!r} has been run before, it is {job._state.value}; a job runs once")
    job._started = True


def run_to_end(job: Job[Any], *, contained: bool = False, block_hold: bool = False) -> Awaitable[None]:
    """Run a job to its verdict; the awaitable raises nothing."""
    if not job._ended:
        try:
            _begin(job, block_hold=block_hold)
        except BaseException as fault:  # an order of an observer, or a signal that cannot be held
            job._stop_record.interrupt(Cause(CauseKind.ERROR, error=fault, at=clock()), mapped=False)
            end_unrun(job)
    if job._run is None:  # it was cancelled or finished before its run
        return trio.lowlevel.cancel_shielded_checkpoint()  # noqa: ASYNC105 - returned to a caller that awaits it
    return job._run.run_to_end(contained=contained)


def _begin(job: Job[Any], *, block_hold: bool) -> None:
    global_entries = global_observers()
    if global_entries and not job._hidden:
        _listen(job, global_entries)
    if job._signals is not None:
        job._signals.open(job)
    job._started_at = current_time()
    job._run = JobRun(job, job._stop_record, block_hold=block_hold)
    if (job._parent is None or job._running_parent() is None) and not job._hidden:
        job_started(job)


@enable_ki_protection
async def run_contained(job: Job[Any], *, task_status: trio.TaskStatus[JobState] = trio.TASK_STATUS_IGNORED) -> None:
    """Run a job to its end; only an order comes out, or the Cancelled of an outer scope."""
    job._on_ready = partial(_tell_state, job, task_status)
    await run_to_end(job, contained=True)
    job._set_ready()
    if job._stop_record.fatal is not None or is_cancelled_externally(job):
        error = await outcome(job)
        if error is not None:
            try:
                raise error
            finally:
                del job, error


@enable_ki_protection
async def run_beside(job: Job[Any], on_ready: Callable[[], None]) -> None:
    """Run a job to its end beside a block that keeps it open; `on_ready` is called when the block may begin."""
    job._on_ready = on_ready
    await run_to_end(job, block_hold=True)
    job._set_ready()


def _listen(job: Job[Any], global_entries: tuple[Entry, ...]) -> None:
    """Add the observers of all jobs; they hear now of the tasks that were added before."""
    newcomers = Observers(global_entries, job.log)
    if job._observers is None:
        job._observers = newcomers
    else:
        job._observers.extend(global_entries)
    for task in job.tasks:
        if (order := newcomers.notify(TaskAdded(task, clock()))) is not None:
            job._obey(order)


def tell_started(job: Job[V], task_status: trio.TaskStatus[V]) -> None:
    """Tell `nursery.start` that a job is up, with its value."""
    task_status.started(job.value)


def _tell_state(job: Job[Any], task_status: trio.TaskStatus[JobState]) -> None:
    task_status.started(job._state)
