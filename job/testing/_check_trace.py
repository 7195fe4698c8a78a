"""Check a trace against the guarantees of the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from .._core.words.states import JOB_MOVES, TASK_MOVES, JobState, Phase, TaskState
from ._check_cause import wrong_causes
from ._check_finalize import strayed_routines, unbalanced_finalizers, unfinished_routines
from ._check_order import broken_order, disturbed_finalizers
from ._trace import Entered, JobMoved, TaskMoved, Trace


def illegal_moves(trace: Trace) -> Iterator[str]:
    """Yield the ways in which a trace breaks G8."""
    yield from _job_moves(trace)
    for index in trace.tasks:
        yield from _task_moves(trace, index)
    yield from _moves_and_routines(trace)


def _job_moves(trace: Trace) -> Iterator[str]:
    state = JobState.NEW
    for move in trace.of(JobMoved):
        if move.old is not state or move.new not in JOB_MOVES[move.old]:
            yield f"the job went {move.old.name} -> {move.new.name} from {state.name}"
        state = move.new
    if trace.end is not None and state is not trace.end.state:
        yield f"the job ended as {trace.end.state.name}, its last state was {state.name}"


def _task_moves(trace: Trace, index: int) -> Iterator[str]:
    state = TaskState.PENDING
    for move in trace.of(TaskMoved):
        if move.task == index:
            if move.old is not state or move.new not in TASK_MOVES[move.old]:
                yield f"task {index} went {move.old.name} -> {move.new.name} from {state.name}"
            state = move.new
    if trace.end is not None and TASK_MOVES[state]:
        yield f"the job ended and task {index} is {state.name}"


def _moves_and_routines(trace: Trace) -> Iterator[str]:
    """Yield the routines that ran in a wrong state."""
    job = JobState.NEW
    tasks = dict.fromkeys(trace.tasks, TaskState.PENDING)
    for record in trace.records:
        if isinstance(record, JobMoved):
            job = record.new
        elif isinstance(record, TaskMoved):
            tasks[record.task] = record.new
        elif isinstance(record, Entered):
            running = tasks[record.task] is TaskState.RUNNING
            if running is (record.phase is Phase.FINALIZE):
                yield f"{record.phase.value} of task {record.task} was entered while it was {tasks[record.task].name}"
            transient = trace.tasks[record.task].transient
            if not transient and (job is JobState.FINALIZING) is not (record.phase is Phase.FINALIZE):
                yield f"{record.phase.value} of task {record.task} was entered while the job was {job.name}"


_GUARANTEES: Final[dict[str, Callable[[Trace], Iterator[str]]]] = {
    "G1 order": broken_order,
    "G2 finalize": unbalanced_finalizers,
    "G3 quiet finalizers": disturbed_finalizers,
    "G4 one task, one trio task": strayed_routines,
    "G5 first cause wins": wrong_causes,
    "G6 no leftovers": unfinished_routines,
    "G8 states": illegal_moves,
}


class BrokenGuaranteeError(AssertionError):
    """A job broke its contract; the message names each broken guarantee, and shows the trace."""


def complaints(trace: Trace) -> list[str]:
    """Return one line for each way in which a trace breaks a guarantee; each begins with the guarantee's name."""
    return [f"{name}: {complaint}" for name, check in _GUARANTEES.items() for complaint in check(trace)]


def check_trace(trace: Trace) -> None:
    """Check a trace against the guarantees of order, finalizers, causes and states.

    Raises:
        BrokenGuaranteeError: the trace breaks at least one.
    """
    found = complaints(trace)
    if found:
        raise BrokenGuaranteeError("\n".join([*found, "in this run:", str(trace)]))
