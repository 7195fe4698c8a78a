"""Wrappers in wrappers: in any sensible order, with what the job promises of any task."""

from __future__ import annotations

import gc
import itertools
import signal
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from job import Job, JobState, Routines, StopPolicy, Task, TaskFailed, TaskState
from job.tasks import Backoff, cron, every, force_stop, once, recurrent, reload_on_signal, restart, retry
from job.testing import Ask, Entry, Recorder, Scenario, cancel_at_each_checkpoint, check_trace
from job.testing._actors import Director
from job.testing.strategies import scenarios
from tests.core.test_random_jobs import check
from tests.journal import Journal, done, failing, forever

Wrap = Callable[[Any], Any]


def now() -> datetime:
    """Return a wall time that goes with trio's."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=trio.current_time())


WRAPPERS: dict[str, Wrap] = {
    "every": lambda t: every(1, t),
    "cron": lambda t: cron("* * * * * *", t, now=now),
    "retry": lambda t: retry(t, attempts=2, wait=0.5),
    "restart": lambda t: restart(t, wait=0.5, max_restarts=2),
    "force_stop": lambda t: force_stop(t, 1.5),
    "reload": lambda t: reload_on_signal(t, signal.SIGHUP),
}
PAIRS = [(outer, inner) for outer, inner in itertools.product(WRAPPERS, repeat=2)]

every_pair = pytest.mark.parametrize(("outer", "inner"), PAIRS, ids=["-".join(pair) for pair in PAIRS])


def wrapped(outer: str, inner: str, t: Any) -> Any:
    """Put a task into two wrappers."""
    return WRAPPERS[outer](WRAPPERS[inner](t))


@every_pair
async def test_routines_and_name(outer: str, inner: str, autojump_clock: MockClock) -> None:
    """Two wrappers keep name, init and finalizer."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(wrapped(outer, inner, journal.task("work")))
    assert await j.run() is JobState.DONE
    assert (task.name, task.state, journal) == ("work", TaskState.FINISHED, ["work.init", "work.run", "work.finalize"])


@every_pair
async def test_result_and_oneshot(outer: str, inner: str, autojump_clock: MockClock) -> None:
    """A oneshot in two wrappers is one."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_oneshot_task(wrapped(outer, inner, once(lambda task: "value")))
    j.add_task(journal.task("read"))
    assert await j.run() is JobState.DONE
    assert (task.result, len(journal)) == ("value", 3)


@every_pair
@pytest.mark.parametrize("grace", [0, 20])
async def test_finish(outer: str, inner: str, grace: float, autojump_clock: MockClock) -> None:
    """A task between two of its steps stops at once."""
    journal = Journal()

    async def tick(task: Task) -> None:
        task.tick() if "every" in (outer, inner) or "cron" in (outer, inner) else task.idle()

    j = Job[Any]()
    task = j.add_task(wrapped(outer, inner, journal.task("work", run=tick)))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(3.25)
        j.finish(grace)
    assert (trio.current_time(), j.state, task.state, j.errors) == (3.25, JobState.DONE, TaskState.FINISHED, ())
    assert (journal[0], journal[-1], journal.count("work.finalize")) == ("work.init", "work.finalize", 1)


@every_pair
@pytest.mark.parametrize("oneshot", [True, False])
async def test_outer_cancellation(outer: str, inner: str, oneshot: bool, autojump_clock: MockClock) -> None:
    """A run that hangs is cancelled and finalised once, and the Cancelled goes on."""
    journal = Journal()
    j = Job[Any]()
    add = j.add_oneshot_task if oneshot else j.add_task
    task = add(wrapped(outer, inner, journal.task("work", run=forever)))
    with trio.move_on_after(3.25) as scope:
        await j.run()
    assert (scope.cancelled_caught, j.state, task.state) == (True, JobState.CANCELLED, TaskState.CANCELLED)
    assert (journal[0], journal[-1], journal.count("work.finalize")) == ("work.init", "work.finalize", 1)


@every_pair
async def test_enter(outer: str, inner: str, autojump_clock: MockClock) -> None:
    """A run may enter what has a scope of its own, whatever is around it."""

    async def run(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(trio.sleep, 1)
        task.done() if task.steps == 1 else task.tick()

    j = Job[Any]()
    j.add_task(wrapped(outer, inner, run))
    assert await j.run() is JobState.DONE
    assert j.errors == ()


@every_pair
async def test_error(outer: str, inner: str, autojump_clock: MockClock) -> None:
    """An error that no wrapper survives is the job's, bare; each life is finalised."""
    journal = Journal()
    error = OSError()
    j = Job[Any]()
    j.add_task(wrapped(outer, inner, journal.task("work", run=failing(error))))
    with pytest.raises(OSError) as caught:
        await j.run()
    assert caught.value is error
    assert [failure.error for failure in j.errors] == [error]
    assert journal.count("work.init") == journal.count("work.finalize")


async def test_the_usual(autojump_clock: MockClock) -> None:
    """`every(60, retry(fetch, attempts=3, wait=1))`, under a restart that knows when to give up."""
    calls: list[float] = []

    async def fetch(task: Task) -> None:
        calls.append(trio.current_time())
        if 2 <= len(calls) <= 5:
            raise OSError
        task.tick()

    recorder = Recorder()
    j = Job[Any](observers=[recorder])
    j.add_task(restart(every(60, retry(fetch, attempts=3, wait=1)), wait=Backoff(10, 100)))
    async with j:
        await trio.sleep(200)
    # The third attempt at 62 fails: a new life begins at 72, its second attempt succeeds, and the grid stays.
    assert calls == [0, 60, 61, 62, 72, 73, 120, 180]
    assert [event.survived for event in recorder.of(TaskFailed)] == [True] * 4
    assert j.errors == ()


async def test_lives_within_lives(autojump_clock: MockClock) -> None:
    """Each restart of the outer one gives the inner one a fresh budget."""
    journal = Journal()
    j = Job[Any]()
    work = journal.task("work", run=failing(OSError()))
    j.add_task(restart(restart(work, wait=1, max_restarts=1), wait=10, max_restarts=1))
    with pytest.raises(OSError):
        await j.run()
    assert journal == ["work.init", "work.run", "work.finalize"] * 4
    assert trio.current_time() == 12


async def test_init_fails_in_lives_within_lives(autojump_clock: MockClock) -> None:
    """The same where it is init that fails."""
    journal = Journal()
    j = Job[Any]()
    work = journal.task("work", init=failing(OSError()))
    j.add_task(restart(restart(work, wait=1, max_restarts=1), wait=10, max_restarts=1))
    with pytest.raises(OSError):
        await j.run()
    assert journal == ["work.init", "work.finalize"] * 4


async def test_force_stop_around_restart(autojump_clock: MockClock) -> None:
    """Behind the shield lives come and go; the wait between them ends with the stop."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(force_stop(restart(journal.task("work", run=failing(OSError(), 1)), wait=1), 5))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(3.5)
        j.cancel()
    assert (trio.current_time(), task.state, len(j.errors)) == (3.5, TaskState.CANCELLED, 1)
    assert journal == ["work.init", "work.run", "work.finalize"] * 2


async def test_finalizer_between_lives_has_its_own_time(autojump_clock: MockClock) -> None:
    """A life that ends before the task does is bounded as the task's end is, under whatever wrapper."""
    journal = Journal()
    j = Job[Any](finalize_timeout=2)
    work = journal.task("work", run=failing(OSError()), finalize=forever)
    j.add_task(restart(force_stop(work, 5), wait=1, max_restarts=1))
    with pytest.raises(OSError):
        await j.run()
    assert trio.current_time() == 5
    assert journal == ["work.init", "work.run", "work.finalize"] * 2


async def test_a_user_s_own_wrapper(autojump_clock: MockClock) -> None:
    """A factory around a factory of this module is a factory like any other."""
    journal: list[str] = []

    def noisy(j: Job[Any]) -> Routines:
        init, run, finalize = restart(once(lambda task: "done"), wait=1)(j)

        async def noisy_init(task: Task) -> None:
            await task.enter(trio.open_nursery())
            journal.append("init")
            assert init is not None
            await init(task)  # type: ignore[misc]

        return Routines(noisy_init, run, finalize)

    j = Job[Any]()
    task = j.add_task(noisy)
    assert await j.run() is JobState.DONE
    assert (task.result, journal) == ("done", ["init"])


async def test_nothing_is_left(autojump_clock: MockClock) -> None:
    """An ended job is not kept alive by what was wrapped around its tasks (G6)."""
    j = Job[Any]()
    for wrap in WRAPPERS.values():
        j.add_task(wrap(done))
    await j.run()
    reference = weakref.ref(j)
    del j
    gc.collect()
    assert reference() is None


# -- the guarantees, wherever it is struck and whatever it does


async def a_while(task: Task) -> None:
    """Take three steps."""
    await trio.sleep(0.2)
    if task.steps == 2:
        task.done()


def build() -> Job[Any]:
    """A job with one of everything."""
    attempts = itertools.count()

    async def init(task: Task) -> None:
        await task.enter(trio.open_nursery())
        await trio.lowlevel.checkpoint()

    async def run(task: Task) -> None:
        await trio.sleep(0.1)
        if next(attempts) % 2:
            raise OSError
        task.done() if task.steps == 2 else task.tick()

    async def finalize(task: Task) -> None:
        await trio.sleep(0.1)

    j = Job[Any](grace=0.25)
    j.register_logger({9: lambda event, fields: None}, level=0)
    j.add_oneshot_task(retry(once(lambda task: None), attempts=2))
    j.add_task(restart(lambda j: (init, run, finalize), wait=0.2, max_restarts=3))
    j.add_task(every(0.3, retry(lambda j: (None, run, finalize), attempts=3, wait=0.1)))
    j.add_task(force_stop(lambda j: (init, run, finalize), 0.15), policy=StopPolicy.CONTAIN)
    j.add_task(recurrent(a_while), idle_timeout=5)
    j.add_task(cron("* * * * * *", done, now=now))
    return j


@pytest.mark.parametrize("by", Ask)
@pytest.mark.parametrize("entry", [Entry.RUN, Entry.BLOCK])
def test_sweep(by: Ask, entry: Entry) -> None:
    """One rich job, struck at each of its steps in turn."""
    for struck in cancel_at_each_checkpoint(build, by=by, entry=entry, block=1.0):
        for trace in struck.traces:
            check_trace(trace)


# These leave the life of a task as it is, so that what is promised of any task can be held against it.
PLAIN: list[Wrap] = [
    lambda t: t,
    lambda t: retry(t, attempts=1),
    lambda t: restart(t, max_restarts=0),
    lambda t: reload_on_signal(t, signal.SIGHUP),
    lambda t: restart(reload_on_signal(retry(t, attempts=1), signal.SIGHUP), max_restarts=0),
]


@pytest.mark.usefixtures("uncovered")
@settings(max_examples=200, suppress_health_check=[*HealthCheck])
@given(scenarios(depth=0), st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4))
def test_random_jobs(scenario: Scenario, wraps: list[Wrap]) -> None:
    """Whatever happens to it, a wrapped task holds what the job promises of any."""
    chosen = itertools.cycle(wraps)
    make = Director._factory
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Director, "_factory", lambda self, plan: next(chosen)(make(self, plan)))
        check(scenario)
