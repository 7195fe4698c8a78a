"""The checker: a good trace passes, and for each guarantee a trace that breaks it is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from job import CauseKind, FinalizeTimeoutError, JobCancelledError, JobState, JobTimeoutError, Phase, StopPolicy
from job import TaskState as State
from job.testing import (
    Added,
    Ask,
    Asked,
    BrokenGuaranteeError,
    Call,
    Closed,
    End,
    Ends,
    Entered,
    Entry,
    Failure,
    JobFacts,
    JobMoved,
    JobPlan,
    Left,
    Opened,
    Outcome,
    Push,
    Record,
    Scenario,
    TaskFacts,
    TaskMoved,
    TaskPlan,
    Trace,
    check_trace,
    play,
)

CANCELLED = play(Scenario(JobPlan((TaskPlan("a", (Call(Ends.TICK, 5.0, clings=0.5),)),)), (Push(1.0, Ask.OUTER),)))[0]
"""A job that was cancelled from outside, for its Cancelled: trio lets nobody else make one."""
CUT = next(left.error for left in CANCELLED.of(Left) if left.error is not None)

ERROR = ValueError("the first")
LATER = ValueError("a later one")


def added(*tasks: TaskFacts) -> list[Record]:
    """Begin a trace."""
    start = JobMoved(0, JobState.NEW, JobState.RECURRENT_RUNNING)
    return [*(Added(0, task) for task in tasks), start]


def began(task: int) -> TaskMoved:
    """Start a task."""
    return TaskMoved(0, task, State.PENDING, State.RUNNING)


def ended(task: int, state: State = State.FINISHED) -> TaskMoved:
    """End a task."""
    return TaskMoved(0, task, State.RUNNING, state)


def call(task: int, phase: Phase, error: BaseException | None = None, at: float = 0, home: int = 0) -> list[Record]:
    """One call of a routine."""
    return [Entered(at, task, phase, home or task), Left(at, task, phase, error)]


FINALIZING = JobMoved(0, JobState.RECURRENT_RUNNING, JobState.FINALIZING)
DONE = JobMoved(0, JobState.FINALIZING, JobState.DONE)
FAILED = [
    JobMoved(0, JobState.RECURRENT_RUNNING, JobState.STOPPING),
    JobMoved(0, JobState.STOPPING, JobState.FINALIZING),
]
GONE = JobMoved(0, JobState.FINALIZING, JobState.CANCELLED)
ONE, TWO = TaskFacts(1), TaskFacts(2)


def good() -> list[Record]:
    """Two tasks from init to finalize, in the right order."""
    return [
        *added(ONE, TWO),
        began(1),
        *call(1, Phase.INIT),
        began(2),
        *call(2, Phase.INIT),
        *call(1, Phase.RUN),
        *call(2, Phase.RUN),
        ended(1),
        ended(2),
        FINALIZING,
        *call(2, Phase.FINALIZE),
        *call(1, Phase.FINALIZE),
        DONE,
    ]


def failing(error: BaseException = ERROR, *more: Record, facts: TaskFacts = ONE) -> list[Record]:
    """One task whose run raises."""
    run = call(1, Phase.RUN, error)
    return [
        *added(facts), began(1), *call(1, Phase.INIT), *run, *FAILED[:1], ended(1, State.FAILED), *more, FAILED[1],
        *call(1, Phase.FINALIZE), GONE,
    ]  # fmt: skip


def moved(records: list[Record], old: int, new: int, count: int = 2) -> list[Record]:
    """Move `count` records from one place to another, counted in what is left."""
    taken, rest = records[old : old + count], records[:old] + records[old + count :]
    return [*rest[:new], *taken, *rest[new:]]


def trace(records: list[Record], end: End | None = None, outcome: Outcome | None = None, **facts: float) -> Trace:
    """Put a trace together; by default the job is DONE."""
    return Trace(JobFacts(**facts), tuple(records), end or End(JobState.DONE), outcome or Outcome())  # type: ignore[arg-type]


def failed(error: BaseException = ERROR, *more: BaseException, task: int | None = 1) -> End:
    """The end of a job that an error of a run interrupted."""
    phase = None if task is None else Phase.RUN
    cause = Failure(task, phase, error)
    return End(JobState.CANCELLED, CauseKind.ERROR, cause, 0, (cause, *(Failure(1, Phase.RUN, e) for e in more)))


def refused(bad: Trace, *words: str) -> None:
    """Check that a trace is refused, with a message in which all the words are."""
    with pytest.raises(BrokenGuaranteeError) as caught:
        check_trace(bad)
    message = str(caught.value).partition("in this run:")[0]
    assert all(word in message for word in words), message


def test_good_traces_pass() -> None:
    """What keeps to the contract is not complained of."""
    check_trace(trace(good()))
    check_trace(trace(failing(), failed(), Outcome(raised=ERROR)))
    check_trace(CANCELLED)


def test_names_guarantee_and_shows_the_run() -> None:
    """The message leads with the guarantee and ends with the trace."""
    records = good()
    bad = trace(moved(records, records.index(FINALIZING) + 1, records.index(FINALIZING) + 3))
    with pytest.raises(BrokenGuaranteeError, match=r"(?s)^G1 order: task 2 .*in this run:.*Entered"):
        check_trace(bad)


def test_order_of_inits() -> None:
    """G1: not by index."""
    bad = [*added(ONE, TWO), began(2), *call(2, Phase.INIT), began(1), *call(1, Phase.INIT)]
    refused(trace(bad), "G1", "not in the order of the indexes")


def test_inits_one_after_another() -> None:
    """G1: the second began before the first was over."""
    bad = [
        *added(ONE, TWO),
        began(1),
        began(2),
        Entered(0, 1, Phase.INIT),
        *call(2, Phase.INIT),
        Left(0, 1, Phase.INIT),
    ]
    refused(trace(bad), "G1", "before init of task 1")


def test_loops_after_inits() -> None:
    """G1: a loop began while an init was still to come."""
    bad = [*added(ONE, TWO), began(1), *call(1, Phase.INIT), *call(1, Phase.RUN), began(2), *call(2, Phase.INIT)]
    refused(trace(bad), "G1", "run of task 1", "init of task 2")


def test_loops_at_once() -> None:
    """G1: a loop began later than another."""
    bad = [*added(ONE, TWO), began(1), began(2), *call(1, Phase.RUN), *call(2, Phase.RUN, at=1)]
    refused(trace(bad), "G1", "different times")


def test_oneshot_first() -> None:
    """G1: a recurrent task was entered before the oneshot was done, and after one that failed."""
    bad = [*added(TaskFacts(0), ONE), began(0), began(1), *call(1, Phase.INIT), *call(0, Phase.INIT)]
    refused(trace(bad), "G1", "oneshot")
    refused(trace([*added(TaskFacts(0), ONE), *call(0, Phase.INIT, ERROR), *call(1, Phase.INIT)]), "G1", "oneshot")


def test_finalizers_one_after_another() -> None:
    """G1: a finalizer began before the one before it was over."""
    records = good()
    place = records.index(FINALIZING) + 1
    refused(trace(moved(records, place + 1, place + 2, 1)), "G1", "before the finalizer and exits of task 2")


def test_finalize_missing_or_repeated() -> None:
    """G2: once, not never and not twice; and not without an init."""
    records = good()
    place = records.index(FINALIZING) + 1
    refused(trace(records[: place + 2] + records[place + 4 :]), "G2", "finalize of task 1 was called 0 times")
    refused(trace(records[: place + 4] + records[place + 2 :]), "G2", "finalize of task 1 was called 2 times")
    bad = [*added(ONE, TWO), began(1), *call(1, Phase.INIT, ERROR), *call(2, Phase.FINALIZE), *call(1, Phase.FINALIZE)]
    refused(trace(bad), "G2", "finalize of task 2 was called 1 times, expected 0")


def test_finalize_of_what_was_passed() -> None:
    """G2: a task without an init is passed when a later one is entered, and not when an earlier one fails."""
    bare = replace(ONE, has_init=False)
    refused(trace([*added(bare, TWO), began(2), *call(2, Phase.INIT)]), "G2", "finalize of task 1 was called 0 times")
    late = replace(TWO, has_init=False)
    bad = [*added(ONE, late), *call(1, Phase.INIT, ERROR), *call(2, Phase.FINALIZE), *call(1, Phase.FINALIZE)]
    refused(trace(bad), "G2", "finalize of task 2 was called 1 times")


def test_init_repeated_or_after_a_failed_one() -> None:
    """G2: an init is called once, and none after one that failed."""
    refused(trace([*added(ONE), *call(1, Phase.INIT), *call(1, Phase.INIT)]), "G2", "init of task 1 was called 2 times")
    refused(trace([*added(ONE, TWO), *call(1, Phase.INIT, ERROR), *call(2, Phase.INIT)]), "G2", "had failed")


def test_exits() -> None:
    """G2: what was entered is left once, in reverse order, after the finalizer."""
    opened: list[Record] = [Opened(0, 1, 0), Opened(0, 1, 1)]
    refused(trace([*added(ONE), *opened, Closed(0, 1, 0), Closed(0, 1, 1)]), "G2", "entered the context managers")
    bad = [*added(ONE), *opened[:1], Closed(0, 1, 0), *call(1, Phase.FINALIZE)]
    refused(trace(bad), "G2", "was left before its finalizer")


def test_finalizers_after_loops() -> None:
    """G3: a loop was still running."""
    records = good()
    place = records.index(FINALIZING)
    refused(trace(moved(records, place - 3, place + 2, 1)), "G3", "run of task 2", "had not ended")


def test_finalizer_cancelled_too_early() -> None:
    """G3: cancelled before its time was up, or in silence."""
    bad = [*added(ONE), *call(1, Phase.FINALIZE, CUT)]
    refused(trace(bad), "G3", "before its time was up", "errors does not name it")
    named = Failure(1, Phase.FINALIZE, FinalizeTimeoutError("late"))
    end = End(JobState.CANCELLED, CauseKind.FINALIZE, named, 0, (named,))
    with pytest.raises(BrokenGuaranteeError) as caught:
        check_trace(trace(bad, end, finalize_timeout=0))
    assert "G3" not in str(caught.value)


def test_finalizer_cancelled_too_late() -> None:
    """G3: it had more than its time."""
    bad = [*added(ONE), Entered(0, 1, Phase.FINALIZE), Left(11, 1, Phase.FINALIZE)]
    refused(trace(bad), "G3", "took 11 s")


def test_failed_finalizer_of_a_done_job() -> None:
    """G3: an error in a finalizer makes the job CANCELLED."""
    end = End(JobState.DONE, errors=(Failure(1, Phase.FINALIZE, ERROR),))
    refused(trace(good(), end), "G3", "DONE in spite of")


def test_one_home() -> None:
    """G4: the routines of a task in two trio tasks."""
    refused(trace([*added(ONE), *call(1, Phase.INIT), *call(1, Phase.RUN, home=7)]), "G4", "2 trio tasks")


def test_first_cause() -> None:
    """G5: the cause is not what came first, nothing at all, or nothing that happened."""
    later = [*call(1, Phase.RUN, LATER)]
    refused(trace(failing(ERROR, *later), failed(LATER, ERROR)), "G5", "but first came ValueError('the first')")
    refused(trace(failing(), End(JobState.DONE)), "G5", "the cause is None")
    invented = Failure(None, None, JobCancelledError("an outer cancel scope was cancelled"))
    refused(trace(good(), End(JobState.CANCELLED, CauseKind.CANCEL, invented)), "G5", "not seen to happen")
    refused(trace(good(), End(JobState.CANCELLED)), "G5", "interrupted by None")


def test_a_contained_error_is_no_cause() -> None:
    """G5: it is recorded, and the job goes on."""
    facts = replace(ONE, policy=StopPolicy.CONTAIN)
    records = [
        *added(facts), began(1), *call(1, Phase.INIT), *call(1, Phase.RUN, ERROR), ended(1, State.FAILED), FINALIZING,
        *call(1, Phase.FINALIZE), DONE,
    ]  # fmt: skip
    check_trace(trace(records, End(JobState.DONE, errors=(Failure(1, Phase.RUN, ERROR),))))


def test_a_limit_may_come_first() -> None:
    """G5: what the trace cannot see passes if it came before, and does not if it came later."""
    limit = JobTimeoutError("late")
    end = replace(failed(limit, ERROR, task=None), kind=CauseKind.TIMEOUT)
    check_trace(trace(failing(), end, Outcome(raised=limit)))
    refused(trace(failing(), replace(end, since=1.0)), "G5", "but first came")


def test_outer_cancellation() -> None:
    """G5: it is the cause where it came first, and comes out as Cancelled."""
    asked = [record for record in CANCELLED.records if not isinstance(record, Asked)]
    refused(replace(CANCELLED, records=tuple(asked)), "G5", "not seen to happen")
    refused(replace(CANCELLED, outcome=Outcome(raised=ERROR)), "G5", "expected Cancelled")
    refused(replace(CANCELLED, outcome=Outcome()), "G5", "it returned, expected Cancelled")
    check_trace(replace(CANCELLED, outcome=Outcome(Entry.BACKGROUND)))
    assert CANCELLED.end is not None
    refused(replace(CANCELLED, end=replace(CANCELLED.end, state=JobState.DONE, cause=None)), "G5", "outer scope")


def test_outer_cancellation_of_an_ended_job() -> None:
    """G5: it may come when nothing is left to be struck, and at the same moment as a `Job.cancel`."""
    records = good()
    records.insert(records.index(FINALIZING), Asked(0, Ask.OUTER))
    check_trace(trace(records))
    both = [*added(), Asked(0, Ask.OUTER), Asked(0, Ask.CANCEL, ERROR), *FAILED, GONE]
    check_trace(trace(both, failed(task=None), Outcome(raised=ERROR)))


def test_lost_errors() -> None:
    """G5: errors has all of them, in order."""
    refused(trace(failing(ERROR, *call(1, Phase.RUN, LATER)), failed()), "G5", "'a later one'", "is not in errors")
    swapped = replace(failed(), errors=(Failure(1, Phase.RUN, LATER), Failure(1, Phase.RUN, ERROR)))
    refused(trace(failing(ERROR, *call(1, Phase.RUN, LATER)), swapped), "G5", "in the order in which they happened")


def test_groups_and_mapped_errors_are_recognised() -> None:
    """G5: an error_wrapper's error stands for the first, a group is recorded without the cancellations in it."""
    mapped = KeyError("mapped")
    mapped.__cause__ = ERROR
    check_trace(trace(failing(), failed(mapped), Outcome(raised=mapped)))
    group = BaseExceptionGroup("both", [ERROR, CUT])
    check_trace(trace(failing(group), failed(), Outcome(raised=ERROR)))


def test_cancelled_before_the_cause_was_known() -> None:
    """G5: a routine was cancelled while the job said nothing of a stop."""
    unknown: list[Record] = [Entered(0, 1, Phase.RUN, 1), Left(0, 1, Phase.RUN, CUT, known=False)]
    refused(trace(failing(ERROR, *unknown), failed()), "G5", "before the cause was recorded")


def test_what_came_out() -> None:
    """G5: not the error that was recorded."""
    refused(trace(failing(), failed(), Outcome(raised=LATER)), "G5", "it raised ValueError('a later one')")
    refused(trace(failing(), failed(), Outcome(Entry.BACKGROUND, ERROR)), "G5", "expected None")
    fatal = KeyboardInterrupt()
    check_trace(trace(failing(fatal), failed(fatal), Outcome(Entry.BACKGROUND, fatal)))


def test_leftovers() -> None:
    """G6: a routine, the job or a trio task outlived the run."""
    refused(trace([*added(ONE), Entered(0, 1, Phase.RUN)]), "G6", "never ended")
    refused(Trace(JobFacts(), tuple(good()), None), "G6", "the job never ended")
    refused(trace(good(), outcome=Outcome(leaked=2)), "G6", "2 trio tasks")


def test_illegal_moves() -> None:
    """G8: out of a terminal state, past a state, or not to the state of the verdict."""
    refused(trace([*good(), JobMoved(0, JobState.DONE, JobState.STOPPING)]), "G8", "DONE -> STOPPING")
    refused(trace([*good(), TaskMoved(0, 1, State.FINISHED, State.FAILED)]), "G8", "task 1 went FINISHED -> FAILED")
    refused(trace([*added(ONE), FINALIZING]), "G8", "its last state was FINALIZING", "task 1 is PENDING")


def test_routines_in_the_wrong_state() -> None:
    """G8: a run of a task that does not run, a finalizer in a job that is not finalizing."""
    refused(trace([*added(ONE), *call(1, Phase.RUN)]), "G8", "entered while it was PENDING")
    bad = [*added(ONE), began(1), ended(1), *call(1, Phase.FINALIZE)]
    refused(trace(bad), "G8", "while the job was RECURRENT_RUNNING")
