"""The records that a job writes to its log by itself: one wide `job.ended`, and a line for each contained failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import trio

from ..log import DEBUG, MORE
from .outcome import is_cancelled_externally
from .trio.clock import clock
from .trio.tracebacks import begin_with_user_code
from .words.events import TaskFailed, TaskStalled
from .words.exceptions import JobError
from .words.groups import holds_for
from .words.records import TaskError
from .words.states import Phase
from .words.user_code import shown

if TYPE_CHECKING:
    from .job import Job
    from .task import Task

# Reserved in `job.ended` even if absent: a user's field named error must not look like the job's error.
_KEYS: Final = frozenset({"state", "code", "seconds", "steps", "error"})


def report_loudly(job: Job[Any], error: BaseException) -> None:
    """Log this error as a fault of the framework, whatever types are quiet."""
    job._loud = error


def _is_quiet(job: Job[Any], error: BaseException) -> bool:
    return error is not job._loud and holds_for(job._quiet, error)


def write_contained(job: Job[Any], task: Task, failure: TaskError) -> None:
    """Write that a task failed and the job goes on: as a warning, or at level 1 if the error is expected (`quiet`)."""
    fields: dict[str, Any] = {
        "error": _format_error(job, failure.error),
        "phase": failure.phase.value if failure.phase else None,
    }
    if _is_quiet(job, failure.error):
        task.log._write_own("info", "task.failed", fields)
    else:
        task.log._write_own("warning", "task.failed", {**fields, **_traceback(job, [failure])})


def write_stalled(task: Task, since: float) -> None:
    """Write that a task has been working for longer than it should."""
    task.log._write_own("warning", "task.stalled", {"seconds": round(trio.current_time() - since, 6)})


def report_end(job: Job[Any], *, contained: bool) -> None:
    """Write `job.ended`: at level 1, or as a warning if an error would otherwise go unseen.

    Args:
        job: the job that has ended.
        contained: True if the job's failure is not raised.
    """
    errors = job._stop_record.errors
    unreported = errors and _unreported(job, errors, _raised(job, contained=contained))
    if unreported:
        job.log._write_own("warning", "job.ended", {**_summary(job), **_traceback(job, unreported)}, _KEYS)
    elif job._loggers.wants(MORE):
        job.log._write_own("info", "job.ended", _summary(job), _KEYS)


def _raised(job: Job[Any], *, contained: bool) -> BaseException | None:
    """Return the error that the job raises, if any."""
    if contained and not is_cancelled_externally(job):
        return None
    cause = job._stop_record.cause
    return job._stop_record.fatal or (cause.error if cause is not None else None)


def _unreported(job: Job[Any], errors: Sequence[TaskError], raised: BaseException | None) -> list[TaskError]:
    return [failure for failure in errors if failure.error is not raised and not _is_quiet(job, failure.error)]


def _summary(job: Job[Any]) -> dict[str, Any]:
    verdict = job.verdict
    assert verdict is not None
    cause = verdict.cause
    fields: dict[str, Any] = {"state": verdict.state.value, "code": verdict.code}
    if verdict.started_at is not None and verdict.ended_at is not None:
        fields["seconds"] = round(verdict.ended_at - verdict.started_at, 6)
    fields["steps"] = _steps_of(job)
    if cause.error is not None:
        fields["error"] = _format_error(job, cause.error)
    if verdict.cut:
        fields["cut"] = [task.name for task in verdict.cut]
    later = [_format_error(job, failure.error) for failure in verdict.errors if failure.error is not cause.error]
    if later:
        fields["other_errors"] = later
    return fields


def _format_error(job: Job[Any], error: BaseException) -> str:
    try:
        if isinstance(error, OSError) and error.filename is not None:  # Its repr leaves out the file, or the address.
            return f"{type(error).__name__}{shown((error.errno, error.strerror, error.filename))}"
        return shown(error)
    except BaseException as order:  # A repr raised it; the record is written all the same.
        job._obey(order)
        return f"<{type(error).__name__}>"


def _traceback(job: Job[Any], failures: Sequence[TaskError]) -> dict[str, Any]:
    faults = [failure.error for failure in failures if not _needs_no_traceback(job, failure)]
    return {"exc_info": faults[0]} if faults else {}


def _needs_no_traceback(job: Job[Any], failure: TaskError) -> bool:
    """Return True if one line will do: a limit was reached, an assertion failed, or the system refused a start.

    A traceback is for faults of the code. For a refused start it is written at the debug level only.
    """
    if holds_for(JobError, failure.error):
        return True
    return isinstance(failure.error, OSError) and _is_startup_failure(failure) and not job._loggers.wants(DEBUG)


def _is_startup_failure(failure: TaskError) -> bool:
    oneshot = failure.task is not None and failure.task.index == 0
    return failure.phase is Phase.INIT or (oneshot and failure.phase is Phase.RUN)


def report_failure(job: Job[Any], task: Task, failure: TaskError, *, survived: bool) -> None:
    """Tell the observers of a job that a task of it failed, and its log if the job goes on in spite of that."""
    begin_with_user_code(failure.error)
    if job._observers is not None:
        job._tell(TaskFailed(task, failure, survived, clock()))
    if survived:
        job._report(write_contained, job, task, failure)


def report_stall(job: Job[Any], task: Task, since: float) -> None:
    """Tell the observers and the log of a job that a task has been working since then without ending."""
    if job._observers is not None:
        job._tell(TaskStalled(task, since, clock()))
    job._report(write_stalled, task, since)


def _steps_of(job: Job[Any]) -> int:
    return job._steps_of_gone + sum(task.steps for task in job.tasks)
