"""What a job writes to its log by itself: one wide `job.ended` record, and a line for each failure that it survived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from ._exceptions import JobError
from ._verdict import TaskError
from .log import MORE

if TYPE_CHECKING:
    from ._job import Job
    from ._task import Task


def report_survived(job: Job[Any], task: Task, failure: TaskError) -> None:
    """Write that a task failed and the job goes on: a warning, or a line at level 1 where the error is one of `quiet`."""
    fields: dict[str, Any] = {"error": repr(failure.error), "phase": failure.phase.value if failure.phase else None}
    if isinstance(failure.error, job._quiet):
        task.log.info("task.failed", **fields)
    else:
        task.log.warning("task.failed", **fields, **_traceback(failure.error))


def report_stalled(task: Task, since: float) -> None:
    """Write that a task has been working for longer than it was thought to."""
    task.log.warning("task.stalled", seconds=round(trio.current_time() - since, 6))


def report_end(job: Job[Any], raised: BaseException | None) -> None:
    """Write `job.ended`: at level 1, or as a warning where an error would otherwise be seen by nobody."""
    unseen = _unseen(job._ending.errors, raised, job._quiet)
    if unseen:
        job.log.warning("job.ended", **_summary(job), **_traceback(*(failure.error for failure in unseen)))
    elif job._loggers.wants(MORE):
        job.log.info("job.ended", **_summary(job))


def _unseen(
    errors: Sequence[TaskError], raised: BaseException | None, quiet: tuple[type[BaseException], ...]
) -> list[TaskError]:
    return [failure for failure in errors if failure.error is not raised and not isinstance(failure.error, quiet)]


def _summary(job: Job[Any]) -> dict[str, Any]:
    verdict = job.verdict
    assert verdict is not None
    cause = verdict.cause
    fields: dict[str, Any] = {"state": verdict.state.value, "code": verdict.code}
    if verdict.started_at is not None and verdict.ended_at is not None:
        fields["seconds"] = round(verdict.ended_at - verdict.started_at, 6)
    fields["steps"] = job._steps
    if cause.error is not None:
        fields["error"] = repr(cause.error)
    if verdict.cut:
        fields["cut"] = [task.name for task in verdict.cut]
    later = [repr(failure.error) for failure in verdict.errors if failure.error is not cause.error]
    if later:
        fields["other_errors"] = later
    return fields


def _traceback(*errors: BaseException) -> dict[str, Any]:
    # A limit that was reached or an assertion that failed says all in its one line; a traceback is for faults of the code.
    faults = [error for error in errors if not isinstance(error, JobError)]
    return {"exc_info": faults[0]} if faults else {}
