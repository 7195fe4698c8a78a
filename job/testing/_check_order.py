"""G1 and G3: the order of routines, and undisturbed finalizers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, takewhile

from .._core.words.exceptions import FinalizeTimeoutError, StopTimeoutError
from .._core.words.states import JobState, Phase
from ._trace import Added, Closed, Entered, JobMoved, Left, Trace, is_cancelled, visits

# A virtual clock adds up floats.
TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class CleanUp:
    """The clean-up of a task, finalizer and exits: the positions and times of its first and last record."""

    task: int
    start: int
    end: int
    began: float
    ended: float


def broken_order(trace: Trace) -> Iterator[str]:
    """Yield the ways in which a trace breaks G1: oneshot; inits one by one; loops at once; finalizers in reverse order."""
    yield from _oneshot_first(trace)
    yield from _inits_one_by_one(trace)
    yield from _loops_after_inits(trace)
    yield from _loops_at_once(trace)
    yield from _finalizers_in_reverse(trace)


def _oneshot_first(trace: Trace) -> Iterator[str]:
    if 0 not in trace.tasks:
        return
    forward = visits(trace, Phase.INIT, Phase.RUN)
    recurrent = [visit for visit in forward if visit.task != 0]
    for visit in forward:
        if visit.task == 0 and recurrent and (visit.failed or not visit.before(recurrent[0].start)):
            yield f"{recurrent[0]} was entered, but {visit} of the oneshot had not succeeded"


def _inits_one_by_one(trace: Trace) -> Iterator[str]:
    inits = visits(trace, Phase.INIT)
    for first, second in pairwise(inits):
        if second.task <= first.task:
            yield f"{second} came after {first}: not in the order of the indexes"
        if not first.before(second.start):
            yield f"{second} was entered before {first} had ended"


def _loops_after_inits(trace: Trace) -> Iterator[str]:
    inits = {visit.task: visit for visit in visits(trace, Phase.INIT)}
    at_start = _tasks_of_the_start(trace)
    for run in visits(trace, Phase.RUN):
        needed = {index for index in inits if index <= run.task}
        if run.task != 0:
            needed |= at_start & inits.keys()
        for index in sorted(needed):
            if not inits[index].before(run.start):
                yield f"{run} was entered before {inits[index]} had ended"


def _loops_at_once(trace: Trace) -> Iterator[str]:
    at_start = _tasks_of_the_start(trace)
    first: dict[int, float] = {}
    for run in visits(trace, Phase.RUN):
        if run.task in at_start:
            first.setdefault(run.task, run.at)
    if len(set(first.values())) > 1:
        yield f"the run loops began at different times: {first}"


def _tasks_of_the_start(trace: Trace) -> set[int]:
    """Return the recurrent tasks that the job had when it started."""
    before = takewhile(lambda record: not isinstance(record, JobMoved), trace.records)
    return {record.task.index for record in before if isinstance(record, Added)} - {0}


def _finalizers_in_reverse(trace: Trace) -> Iterator[str]:
    for first, second in pairwise(clean_ups(trace)):
        if second.task >= first.task:
            yield f"task {second.task} was finalised after task {first.task}: not in reverse order of init"
        if second.start <= first.end:
            yield f"task {second.task} was finalised before the finalizer and exits of task {first.task} were over"


def clean_ups(trace: Trace, *, transient: bool = False) -> list[CleanUp]:
    """Return the clean-ups of the tasks in order; those of transient tasks, which have their own order, on demand."""
    found: dict[int, CleanUp] = {}
    for place, record in enumerate(trace.records):
        if isinstance(record, Closed) or (isinstance(record, Entered | Left) and record.phase is Phase.FINALIZE):
            if trace.tasks[record.task].transient and not transient:
                continue
            begun = found.get(record.task, CleanUp(record.task, place, place, record.at, record.at))
            found[record.task] = CleanUp(record.task, begun.start, place, begun.began, record.at)
    return sorted(found.values(), key=lambda each: each.start)


def disturbed_finalizers(trace: Trace) -> Iterator[str]:
    """Yield the ways in which a trace breaks G3: finalizers after all loops, not cancelled early, faults recorded."""
    yield from _finalizers_after_loops(trace)
    yield from _cut_too_early(trace)
    yield from _cut_too_late(trace)
    yield from _cut_in_silence(trace)
    yield from _good_end_of_a_bad_finalizer(trace)


def _finalizers_after_loops(trace: Trace) -> Iterator[str]:
    starts = {end.start: f"the finalizer of task {end.task} started" for end in clean_ups(trace)[:1]}
    for place, move in enumerate(trace.records):
        if isinstance(move, JobMoved) and move.new is JobState.FINALIZING:
            starts[place] = "the job was FINALIZING"
    for start, what in starts.items():
        for visit in visits(trace, Phase.INIT, Phase.RUN):
            if not visit.before(start):
                yield f"{what}, but {visit} had not ended"


def _cut_too_early(trace: Trace) -> Iterator[str]:
    if trace.job.nested or trace.job.stop_timeout < float("inf"):
        return
    began = {each.task: each.began for each in clean_ups(trace, transient=True)}
    for left in _cancelled_finalizers(trace):
        if left.at < began[left.task] + trace.job.finalize_timeout - TOLERANCE:
            yield f"the finalizer of task {left.task} was cancelled at {left.at:g}, before its time was up"


def _cut_too_late(trace: Trace) -> Iterator[str]:
    for each in clean_ups(trace, transient=True):
        if each.ended - each.began > trace.job.finalize_timeout + TOLERANCE:
            yield f"finalizer and exits of task {each.task} took {each.ended - each.began:g} s, more than their time"


def _cut_in_silence(trace: Trace) -> Iterator[str]:
    if trace.end is None:
        return
    named = {
        failure.task
        for failure in trace.end.errors
        if isinstance(failure.error, FinalizeTimeoutError | StopTimeoutError) or failure.phase is Phase.FINALIZE
    }
    for left in _cancelled_finalizers(trace):
        if not trace.tasks[left.task].transient and left.task not in named:
            yield f"the finalizer of task {left.task} overran, and errors does not name it"


def _cancelled_finalizers(trace: Trace) -> list[Left]:
    return [left for left in trace.of(Left) if left.phase is Phase.FINALIZE and is_cancelled(left.error)]


def _good_end_of_a_bad_finalizer(trace: Trace) -> Iterator[str]:
    if trace.end is None or trace.end.state is not JobState.DONE:
        return
    for failure in trace.end.errors:
        if failure.task is not None and failure.phase is Phase.FINALIZE and not trace.tasks[failure.task].contains:
            yield f"the job is DONE in spite of {failure.error!r} in the finalizer of task {failure.task}"
