"""Random jobs, run on virtual time: whatever happens to them, the guarantees hold."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from job import JobState
from job.testing import (
    Ask,
    Asked,
    Call,
    Ends,
    JobMoved,
    JobPlan,
    Push,
    Record,
    Scenario,
    TaskPlan,
    Trace,
    check_trace,
    play,
)
from job.testing.strategies import scenarios

LARGE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@settings(max_examples=500, suppress_health_check=LARGE)
@given(scenarios(depth=0))
def test_flat_jobs(scenario: Scenario) -> None:
    """Jobs of tasks alone."""
    check(scenario)


@settings(max_examples=250, suppress_health_check=LARGE)
@given(scenarios(depth=1))
def test_nested_jobs(scenario: Scenario) -> None:
    """Jobs whose tasks run jobs and add tasks."""
    check(scenario)


def check(scenario: Scenario) -> None:
    """Play a scenario, and hold every job in it against the guarantees."""
    for trace in play(scenario):
        if not struck_after_finish(trace):
            check_trace(trace)


def struck_after_finish(trace: Trace) -> bool:
    """Whether the outer scope was cancelled when the job was asked to finish, too: see the test below."""
    asked = {record.what for record in trace.of(Asked)}
    first = next((record for record in trace.records if stops(record)), None)
    return Ask.OUTER in asked and (Ask.FINISH in asked or isinstance(first, JobMoved))


def stops(record: Record) -> bool:
    """Whether the job begins to stop with this record, as far as the trace can see."""
    outer = isinstance(record, Asked) and record.what is Ask.OUTER
    return outer or (isinstance(record, JobMoved) and record.new is JobState.STOPPING)


def test_outer_cancellation_after_a_finish() -> None:
    """Before the finalizers an outer cancellation takes finish's place."""
    clinging = TaskPlan("clinging", (Call(Ends.TICK, 5.0, clings=1.0),))
    check_trace(play(Scenario(JobPlan((clinging,)), (Push(1.0, Ask.FINISH), Push(1.5, Ask.OUTER))))[0])


def test_timeout_comes_before_what_follows_it() -> None:
    """A timeout is the first cause also where no task could hear of it: they were shielded."""
    clinging = TaskPlan("clinging", (Call(Ends.TICK, 5.0, clings=2.0),))
    for push in (Push(1.5, Ask.CANCEL), Push(1.5, Ask.FINISH)):
        (trace,) = play(Scenario(JobPlan((clinging,), timeout=1.0), (push,)))
        check_trace(trace)
        assert trace.end is not None
        assert (trace.end.kind.value, trace.end.since) == ("timeout", 1.0)


def test_keep_open_is_released_once() -> None:
    """A finish and then an error both end the hold of `keep_open`; the other task is still waited for."""
    bad = TaskPlan("bad", (Call(Ends.RAISE, 2.0),))
    clinging = TaskPlan("clinging", (Call(Ends.TICK, 5.0, clings=1.0),), finalize=Call())
    check_trace(play(Scenario(JobPlan((bad, clinging), keep_open=True), (Push(1.5, Ask.FINISH, 5.0),)))[0])
