"""G5: the first cause wins, is known before anything is cancelled, and no later error is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import trio

from .._core.words.records import CauseKind
from .._core.words.states import JobState, Phase
from ._check_finalize import lone_cancellations
from ._trace import Ask, Asked, Closed, End, Entry, JobMoved, Left, Trace, is_cancelled, leaves, same_error

# Causes that a trace shows only by their consequences: limits, broken rules, the parent.
_UNSEEN = {CauseKind.TIMEOUT, CauseKind.IDLE, CauseKind.UNEXPECTED_STOP, CauseKind.PARENT, CauseKind.SIGNAL}
# Causes that trio itself enforces: the engine learns of them by the cancellation.
_ENFORCED_BY_TRIO = {CauseKind.TIMEOUT, CauseKind.PARENT}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event in the trace that would interrupt the job if it came first."""

    at: float
    task: int | None
    error: BaseException | None
    outer: bool = False

    def __str__(self) -> str:
        what = "the outer scope" if self.outer else f"{self.error!r}"
        return f"{what} of {'no task' if self.task is None else f'task {self.task}'} at {self.at:g}"


def wrong_causes(trace: Trace) -> Iterator[str]:
    """Yield the ways in which a trace breaks G5."""
    if trace.end is None:
        return
    yield from _first_cause(trace, trace.end)
    yield from _lost_errors(trace, trace.end)
    yield from _order_of_errors(trace, trace.end)
    yield from _cancelled_unknown(trace, trace.end)
    yield from _what_came_out(trace, trace.end)


def _first_cause(trace: Trace, end: End) -> Iterator[str]:
    if (end.state is JobState.DONE) is (end.cause is not None):
        yield f"the job is {end.state.name}, interrupted by {end.cause}"
    candidates = _candidates(trace)
    if not candidates:
        if end.kind in (CauseKind.CANCEL, CauseKind.ASSERT) and not trace.job.nested:
            yield f"the cause is {end.cause}, which was not seen to happen"
        return
    first = candidates[0]
    if _is_cause(first, end):
        return
    if (first.outer and _outer_came_too_late(trace, end, candidates)) or _in_the_same_step(trace, end, candidates):
        return
    unseen = end.kind in _UNSEEN or (end.cause is not None and not _is_any(candidates, end))
    if end.cause is None or not unseen or end.since > first.at:
        yield f"the cause is {end.cause}, but first came {first}"


def _candidates(trace: Trace) -> list[Candidate]:
    """Return the events that would interrupt the job, up to the start of its finalizers; after that the cause stands."""
    found: list[Candidate] = []
    for record in trace.records:
        if isinstance(record, JobMoved) and record.new is JobState.FINALIZING:
            break
        if isinstance(record, Asked) and record.what is not Ask.FINISH:
            found.append(Candidate(record.at, None, record.error, record.what is Ask.OUTER))
        elif isinstance(record, Left) and record.phase is not Phase.FINALIZE and _stops(trace, record):
            found.append(Candidate(record.at, record.task, record.error))
    return found


def _stops(trace: Trace, left: Left) -> bool:
    """Return True if an error came out of a routine that the policy of its task does not contain."""
    raised = [] if left.error is None else list(leaves(left.error))
    return bool(raised) and (
        not trace.tasks[left.task].contains or any(not isinstance(error, Exception) for error in raised)
    )


def _is_cause(candidate: Candidate, end: End) -> bool:
    if end.cause is None or end.cause.task != candidate.task:
        return False
    if candidate.error is None:  # It was cancelled without an error, or by the outer scope, so the framework made one.
        return end.kind in (CauseKind.CANCEL, CauseKind.PARENT)
    return same_error(end.cause.error, candidate.error)


def _is_any(candidates: list[Candidate], end: End) -> bool:
    return any(_is_cause(candidate, end) for candidate in candidates)


def _in_the_same_step(trace: Trace, end: End, candidates: list[Candidate]) -> bool:
    """Return True if the first candidate came from a task that may have been cut alone, which takes one more step."""
    first = candidates[0]
    alone = first.task is not None and trace.tasks[first.task].contains
    return alone and any(_is_cause(each, end) for each in candidates if each.at == first.at)


def _outer_came_too_late(trace: Trace, end: End, candidates: list[Candidate]) -> bool:
    """Return True if no routine could see the outer cancellation before the job had another cause, or ended."""
    at = candidates[0].at
    if end.kind is CauseKind.TIMEOUT and not any(at <= left.at < end.since for left in lone_cancellations(trace)):
        return True  # The routines were shielded, so none could see it before the time was up.
    if end.cause is None or end.kind is CauseKind.FINALIZE:
        return any(move.new is JobState.FINALIZING and move.at == at for move in trace.of(JobMoved))
    return any(_is_cause(each, end) for each in candidates if each.task is None and each.at == at)


def _lost_errors(trace: Trace, end: End) -> Iterator[str]:
    for left in (record for record in trace.records if isinstance(record, Left | Closed)):
        if trace.tasks[left.task].transient or left.error is None or is_cancelled(left.error):
            continue
        if not any(same_error(failure.error, left.error) for failure in end.errors if failure.task == left.task):
            yield f"{left.error!r} of task {left.task} is not in errors"


def _order_of_errors(trace: Trace, end: End) -> Iterator[str]:
    ended = (record for record in trace.records if isinstance(record, Left | Closed))
    happened = [left.error for left in ended if left.error is not None and not trace.tasks[left.task].contains]
    places = [
        place
        for failure in end.errors
        for place, error in enumerate(happened)
        if not is_cancelled(error) and same_error(failure.error, error)
    ]
    if places != sorted(places) and end.kind is not CauseKind.FINALIZE:
        yield f"errors are not in the order in which they happened: {[failure.error for failure in end.errors]}"


def _cancelled_unknown(trace: Trace, end: End) -> Iterator[str]:
    if end.cause is None or end.kind in _ENFORCED_BY_TRIO or _struck_from_outside(trace):
        return
    for left in lone_cancellations(trace):
        if not left.known and not trace.tasks[left.task].contains:
            yield f"{left.phase.value} of task {left.task} was cancelled before the cause was recorded"


def _what_came_out(trace: Trace, end: End) -> Iterator[str]:
    if trace.outcome is None:
        return
    raised = trace.outcome.raised
    expected = _expected(trace, end)
    if expected is trio.Cancelled:
        # If both were requested, the trace does not show which was the cause; a `Job.cancel` comes out as it is.
        if not (raised is None or isinstance(raised, trio.Cancelled) or raised is end.errors[0].error):
            yield f"it raised {raised!r}, expected Cancelled"
        if raised is None and trace.outcome.entry is Entry.RUN:
            yield "it returned, expected Cancelled"
    elif raised is not expected and not _cancelled_on_the_way_out(trace):
        yield f"it raised {raised!r}, expected {expected!r}"


def _expected(trace: Trace, end: End) -> BaseException | type[trio.Cancelled] | None:
    """Return the error that the call which ran the job has to raise."""
    for failure in end.errors:
        if not isinstance(failure.error, Exception):
            return failure.error
    if end.kind is CauseKind.CANCEL and _struck_from_outside(trace):
        return trio.Cancelled
    contained = trace.outcome is not None and trace.outcome.entry is Entry.BACKGROUND
    return None if end.cause is None or contained else end.cause.error


def _cancelled_on_the_way_out(trace: Trace) -> bool:
    """Return True if the outer scope may have cancelled the call at its own checkpoint, after the end of the job."""
    assert trace.outcome is not None
    own = trace.outcome.entry is Entry.RUN
    return _struck_from_outside(trace) and not own and isinstance(trace.outcome.raised, trio.Cancelled)


def _struck_from_outside(trace: Trace) -> bool:
    """Return True if a scope around the job is known to be cancelled; a trace does not show the scopes around a child."""
    return trace.job.nested or any(asked.what is Ask.OUTER for asked in trace.of(Asked))
