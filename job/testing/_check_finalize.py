"""G2: each task that was begun is finalised exactly once, and no other; G4: in the trio task where it was begun."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .._core.words.states import Phase
from ._trace import Closed, Entered, Left, Opened, TaskFacts, Trace, Visit, is_cancelled, visits


def unbalanced_finalizers(trace: Trace) -> Iterator[str]:
    """Yield the ways in which a trace breaks G2."""
    yield from _inits_repeated(trace)
    yield from _finalize_calls(trace)
    yield from _inits_after_a_failed_one(trace)
    yield from _exits(trace)


def _inits_repeated(trace: Trace) -> Iterator[str]:
    for index, count in Counter(visit.task for visit in visits(trace, Phase.INIT)).items():
        if count > 1:
            yield f"init of task {index} was called {count} times"


def _finalize_calls(trace: Trace) -> Iterator[str]:
    calls = Counter(visit.task for visit in visits(trace, Phase.FINALIZE))
    for facts in trace.tasks.values():
        due = _is_due(trace, facts) and facts.has_finalize
        count = calls[facts.index]
        if count > 1 or (due is True and count == 0) or (due is False and count == 1):
            yield f"finalize of task {facts.index} was called {count} times, expected {int(bool(due))}"


def _is_due(trace: Trace, facts: TaskFacts) -> bool | None:
    """Return True if a task's init was entered or, having none, was passed; None if the trace does not show it."""
    forward = visits(trace, Phase.INIT, Phase.RUN)
    if facts.has_init:
        return any(visit.task == facts.index and visit.phase is Phase.INIT for visit in forward)
    if any(visit.task >= facts.index for visit in forward):
        return True
    return False if _is_blocked(trace, facts, forward) else None


def _is_blocked(trace: Trace, facts: TaskFacts, forward: list[Visit]) -> bool:
    """Return True if an earlier event kept the job from reaching a task."""
    inits = {visit.task: visit for visit in forward if visit.phase is Phase.INIT}
    earlier = [other for other in trace.tasks.values() if other.index < facts.index]
    never = [other for other in earlier if other.has_init and other.index not in inits]
    failed = [visit for visit in forward if visit.task < facts.index and _blocks(trace, visit)]
    return bool(never or failed)


def _blocks(trace: Trace, visit: Visit) -> bool:
    if visit.task != 0 and visit.phase is not Phase.INIT:
        return False
    return visit.failed and not trace.tasks[visit.task].contains


def _inits_after_a_failed_one(trace: Trace) -> Iterator[str]:
    forward = visits(trace, Phase.INIT, Phase.RUN)
    for failed in forward:
        for later in forward:
            if _blocks(trace, failed) and failed.end is not None and later.start > failed.end:
                yield f"{later} was entered after {failed} had failed"


def _exits(trace: Trace) -> Iterator[str]:
    for index in trace.tasks:
        opened = [record.number for record in trace.of(Opened) if record.task == index]
        closed = [record.number for record in trace.of(Closed) if record.task == index]
        if closed != opened[::-1]:
            yield f"task {index} entered the context managers {opened} and left {closed}"
        yield from _exits_before_finalize(trace, index)


def _exits_before_finalize(trace: Trace, index: int) -> Iterator[str]:
    seen = [record for record in trace.records if isinstance(record, Left | Closed) and record.task == index]
    for place, record in enumerate(seen):
        if isinstance(record, Closed) and any(isinstance(later, Left) for later in seen[place:]):
            yield f"context manager {record.number} of task {index} was left before its finalizer"


def strayed_routines(trace: Trace) -> Iterator[str]:
    """Yield the ways in which a trace breaks G4: all routines of a task run in one trio task."""
    for index in trace.tasks:
        homes = {record.home for record in trace.of(Entered) if record.task == index}
        if len(homes) > 1:
            yield f"the routines of task {index} ran in {len(homes)} trio tasks"


def unfinished_routines(trace: Trace) -> Iterator[str]:
    """Yield the ways in which a trace breaks G6: nothing is left of an ended job."""
    for visit in visits(trace):
        if visit.left is None:
            yield f"{visit} never ended"
    if trace.end is None:
        yield "the job never ended"
    if trace.outcome is not None and trace.outcome.leaked:
        yield f"{trace.outcome.leaked} trio tasks were left behind"


def lone_cancellations(trace: Trace) -> list[Left]:
    """Return the routines that were cancelled before the finalizers began."""
    return [left for left in trace.of(Left) if left.phase is not Phase.FINALIZE and is_cancelled(left.error)]
