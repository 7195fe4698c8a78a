"""Decide which error an ended job raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .words.records import CauseKind
from .words.user_code import add_note

if TYPE_CHECKING:
    from .job import Job


async def outcome(job: Job[Any]) -> BaseException | None:
    """Return the error that an ended job has to raise, if any."""
    record = job._stop_record
    cancelled, record.cancelled = record.cancelled, None
    if record.fatal is not None:
        return with_note(job, record.fatal)
    if record.cause is None:
        return None
    if is_cancelled_externally(job):
        if cancelled is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        return cancelled
    assert record.cause.error is not None
    return with_note(job, record.cause.error)


def with_note(job: Job[Any], error: BaseException) -> BaseException:
    """Add a note to an error that names its job, task and phase; return the error, or the order that its add_note raised."""
    place = f"in job {job.name!r}"
    for failure in job._stop_record.errors:
        if failure.error is error and failure.task is not None and failure.phase is not None:
            place += f", task {failure.task.name!r}, {failure.phase.value}"
    try:
        add_note(error, place)
    except BaseException as order:  # Its own add_note raised a SystemExit, for example.
        job._obey(order)
    return job._stop_record.fatal or error


def error_from_parent(job: Job[Any]) -> BaseException | None:
    """Return the error of a job that its parent cancelled directly: the block was cut short, and nothing else would show it."""
    cause = job._stop_record.cause
    return None if cause is None or cause.error is None else with_note(job, cause.error)


def failed_before(job: Job[Any], raised: BaseException) -> bool:
    """Return True if a job has an error to raise that precedes this error of its block, or that is an order."""
    cause, order = job._stop_record.cause, job._stop_record.fatal
    if order is not None and (isinstance(raised, (Exception, trio.Cancelled))):
        return True
    return cause is not None and not is_cancelled_externally(job) and cause.error is not raised


def is_cancelled_externally(job: Job[Any]) -> bool:
    """Return True if an outer scope or the parent cancelled a job, which then raises no error of its own."""
    cause = job._stop_record.cause
    return cause is not None and (job._stop_record.outside or cause.kind is CauseKind.PARENT)
