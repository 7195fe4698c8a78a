"""Plans are played as they are written, on virtual time, and a run that never ends is brought down."""

from __future__ import annotations

import gc
import math
import re
import types
from dataclasses import replace
from typing import Any

import pytest
import trio

import job
from job.testing import (
    Ask,
    Asked,
    Call,
    Closed,
    Ends,
    Entered,
    Entry,
    JobPlan,
    Left,
    PlannedError,
    PlannedFatalError,
    Push,
    Scenario,
    StuckError,
    TaskPlan,
    Trace,
    cancel_at_each_checkpoint,
    check_trace,
    play,
)
from job.testing import _stage as stage
from job.testing._burial import bury
from job.testing._tracer import Tracer
from tests.journal import lasting

TICKER = TaskPlan("ticker", (Call(Ends.TICK, 1.0),), Call(), Call())


def played(scenario: Scenario) -> Trace:
    """Play a scenario of one job, and hold it against the guarantees."""
    (trace,) = play(scenario)
    check_trace(trace)
    return trace


@pytest.mark.parametrize("entry", Entry)
def test_entries(entry: Entry) -> None:
    """A job may be run in each of three ways."""
    trace = played(Scenario(JobPlan((TICKER,)), (Push(2.5, Ask.FINISH),), entry, block=5.0))
    assert trace.end is not None
    assert trace.end.state is job.JobState.DONE
    assert trace.outcome is not None
    assert trace.outcome.entry is entry


@pytest.mark.parametrize("ends", [Ends.RAISE, Ends.ASSERT, Ends.FATAL])
@pytest.mark.parametrize("plain", [True, False])
def test_faults(ends: Ends, plain: bool) -> None:
    """A planned fault is what comes out."""
    trace = played(Scenario(JobPlan((TaskPlan("bad", (Call(ends, plain=plain),)),))))
    assert trace.outcome is not None
    assert isinstance(trace.outcome.raised, PlannedError | PlannedFatalError | job.AssertFailedError)


def test_times_are_virtual() -> None:
    """A sleep takes exactly as long as planned."""
    trace = played(Scenario(JobPlan((TaskPlan("slow", (Call(Ends.DONE, 100.0),)),)), horizon=1000.0))
    assert [left.at for left in trace.of(Left)] == [100.0]


def test_horizon() -> None:
    """A job that goes on for ever is cancelled."""
    trace = played(Scenario(JobPlan((TICKER,)), horizon=3.5))
    assert trace.end is not None
    assert trace.end.kind is job.CauseKind.CANCEL


def test_clings_and_abandons() -> None:
    """A routine may hold out when it is cancelled, or leave as soon as the job is asked to stop."""
    clinging = TaskPlan("clinging", (Call(Ends.TICK, 9.0, clings=0.5),))
    trace = played(Scenario(JobPlan((clinging,)), (Push(1.0, Ask.CANCEL),)))
    assert [left.at for left in trace.of(Left)] == [1.5]
    leaving = TaskPlan("leaving", (Call(Ends.RETURN, 9.0, abandons=True),))
    trace = played(Scenario(JobPlan((leaving,)), (Push(1.0, Ask.FINISH, 5.0),)))
    assert [left.at for left in trace.of(Left)] == [1.0]


def test_adding() -> None:
    """Tasks are added from inside and outside, until the job takes no more."""
    growing = TaskPlan("growing", (Call(Ends.TICK, adds=TaskPlan("inner"), plain=True), Call(Ends.DONE, 2.0)))
    pushes = (Push(1.0, None, task=TaskPlan("outer")), Push(5.0, None, task=TaskPlan("late")), Push(0.5, None))
    trace = played(Scenario(JobPlan((growing,)), pushes))
    assert [facts.name for facts in trace.tasks.values()] == ["growing", "inner", "outer"]


def test_children() -> None:
    """Each job has a trace of its own, the outer one first."""
    child = JobPlan((TICKER,), name="child", oneshot=TaskPlan("first"))
    traces = play(Scenario(JobPlan((TaskPlan("parent", (Call(child=child),)),)), (Push(1.5, Ask.OUTER),)))
    for trace in traces:
        check_trace(trace)
    assert [(trace.job.name, trace.job.nested) for trace in traces] == [("job", False), ("child", True)]


def test_contexts_hook_and_wrapper() -> None:
    """Entered context managers are closed, with a fault if planned; the hook and the wrapper are called."""
    task = TaskPlan("holder", (Call(Ends.FINISH_JOB),), Call(enters=2, faulty=True, takes=0))
    trace = played(Scenario(JobPlan((task,), maps_errors=True, hook=Call(Ends.RAISE, 1.0))))
    assert [closed.number for closed in trace.of(Closed)] == [1, 0]
    bad = TaskPlan("bad", (Call(Ends.RAISE),))
    trace = played(Scenario(JobPlan((bad,), maps_errors=True, hook=Call(Ends.RAISE, 1.0))))
    assert trace.end is not None
    assert [str(failure.error) for failure in trace.end.errors] == [
        "mapped from PlannedError('bad.run[0]')",
        "job.on_shutdown",
    ]


def test_same_seed_same_run() -> None:
    """The seed decides who of those that are ready goes first."""

    def order(seed: int) -> list[int]:
        tasks = tuple(TaskPlan(f"task {index}", (Call(Ends.TICK, 0), Call(Ends.DONE))) for index in range(5))
        return [entered.task for entered in played(Scenario(JobPlan(tasks), seed=seed)).of(Entered)]

    assert order(3) == order(3)
    assert len({tuple(order(seed)) for seed in range(8)}) > 1


def test_a_job_that_never_ran_has_a_trace() -> None:
    """Cancelled before its run it tells its observers nothing."""

    def build(tracer: Tracer) -> job.Job[Any]:
        j = job.Job[Any]()
        j.cancel()
        return j

    (trace,) = stage.perform(build)
    assert trace.end is not None
    assert trace.end.state is job.JobState.CANCELLED


def test_asked_too_late() -> None:
    """What is asked of a job that has ended is no part of its trace; what was asked before is."""
    asked: list[job.JobState] = []

    def build(tracer: Tracer) -> job.Job[Any]:
        return job.Job[Any](name="short", keep_open=True)

    async def drive(performance: stage.Performance) -> None:
        for what in (Ask.FINISH, Ask.CANCEL):
            asked.append(performance.job.state)
            performance.ask(what)
            with trio.CancelScope(shield=True):
                await performance.job.wait()

    (trace,) = stage.perform(build, drive)
    check_trace(trace)
    assert asked[-1] is job.JobState.DONE
    assert [record.what for record in trace.of(Asked)] == [Ask.FINISH]


def test_outer_scope_strikes_the_block_of_a_job_that_has_ended() -> None:
    """A scope that is cancelled when the job has ended strikes its block, and that is as it should be."""
    scenario = Scenario(
        JobPlan(),
        pushes=(Push(0.0, Ask.FINISH), Push(0.0, Ask.FINISH), Push(0.0, Ask.OUTER)),
        entry=Entry.BLOCK,
        block=0.5,
    )
    for seed in range(20):  # in some of these orders the job has ended before the scope is cancelled
        trace = played(replace(scenario, seed=seed))
        assert trace.outcome is not None
        assert isinstance(trace.outcome.raised, trio.Cancelled)


async def stand_still() -> None:
    """Sleep in a way that nothing ends."""
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


def test_stuck() -> None:
    """A run in which nothing happens any more is reported with its trio tasks."""

    async def run(task: job.Task) -> None:
        await stand_still()

    def build(tracer: Tracer) -> job.Job[Any]:
        j = job.Job[Any](name="stuck")
        j.add_task(run)
        return j

    with pytest.raises(StuckError, match=r"(?s)nothing runs any more.*perform"):
        stage.perform(build)


def test_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose clock stands still over very many steps is reported, too."""
    monkeypatch.setattr(stage, "_MOST_STEPS", 1000)
    with pytest.raises(StuckError, match="after 1000 steps"):
        play(Scenario(JobPlan((TaskPlan("spinner", (Call(Ends.TICK),)),))))


@pytest.mark.parametrize("ask", Ask)
def test_stuck_sweep(ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    """The error names the step and the strike, and what hangs; what was left hanging makes no noise of its own."""

    async def cling(task: job.Task) -> None:
        try:
            await trio.sleep(1)
            task.done()
        finally:
            if task.job.stopping:
                with trio.CancelScope(shield=True):
                    await trio.sleep_forever()

    def build() -> job.Job[Any]:
        j = job.Job[Any](name="stuck", grace=5)
        j.add_task(lambda j: (None, lasting(3), cling), name="cleans up")
        j.add_task(cling)
        return j

    with pytest.raises(StuckError) as raised:
        list(cancel_at_each_checkpoint(build, by=ask))
    gc.collect()
    lines = str(raised.value).splitlines()
    assert re.match(rf"struck before step \d+ by {ask}, entered by Entry.RUN: nothing runs any more:", lines[0])
    assert any("cling" in line and "sleep_forever" in line for line in lines)
    assert len(lines) < 20
    assert raised.value.__suppress_context__
    assert capfd.readouterr() == ("", "")


def test_coroutine_that_will_not_close() -> None:
    """It is let be, after many attempts."""
    closes = 0

    @types.coroutine
    def refuse() -> Any:
        nonlocal closes
        while True:
            try:
                yield
            except GeneratorExit:
                closes += 1
                if closes > 1000:  # when it is dropped at last
                    return

    stubborn = refuse()
    stubborn.send(None)
    bury([stubborn], ValueError())
    assert closes == 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"build": job.Job()}, "build must be callable, got <Job"),
        ({"by": "outer"}, "by must be a member of Ask, got 'outer'"),
        ({"entry": None}, "entry must be a member of Entry, got None"),
        ({"block": -1}, "block must be 0 or more seconds, got -1"),
    ],
    ids=range(4),
)
def test_wrong_options_of_a_sweep(options: dict[str, Any], message: str) -> None:
    """They are refused at the call, and not at the first step."""
    with pytest.raises((TypeError, ValueError), match=message):
        cancel_at_each_checkpoint(**{"build": job.Job, **options})


def test_stuck_before_the_strike() -> None:
    """A job that hangs by itself was not struck."""
    with pytest.raises(StuckError, match=r"^not struck yet at step \d+, entered by Entry.BLOCK: nothing runs any more"):
        list(cancel_at_each_checkpoint(job.Job[Any], entry=Entry.BLOCK, block=math.inf))


def test_other_crashes_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """When trio itself breaks down, that is what is reported."""

    async def crash(guard: object) -> None:
        raise ValueError("a system task must not")

    monkeypatch.setattr(stage._Guard, "watch", crash)
    with pytest.raises(trio.TrioInternalError):
        play(Scenario(JobPlan((TICKER,))))


def test_reprs_are_code() -> None:
    """A plan prints as the shortest code that makes it again."""
    plan = JobPlan((TaskPlan("a", (Call(Ends.DONE, 1.0),)), TaskPlan("b", None, policy=job.StopPolicy.CONTAIN)))
    names = {"StopPolicy": job.StopPolicy, **{kind.__name__: kind for kind in (Call, Ends, JobPlan, TaskPlan)}}
    assert eval(repr(plan), names) == plan
    assert repr(Push(1.0)) == "Push(at=1.0)"
