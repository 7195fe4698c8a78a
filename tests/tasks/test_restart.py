"""`restart`: a failing task is finalised, initialised and run again."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import (
    FinalizeTimeoutError,
    Job,
    JobCancelledError,
    JobState,
    Phase,
    Routines,
    StopPolicy,
    Task,
    TaskFailed,
    TaskState,
)
from job.tasks import Backoff, restart
from job.tasks._restart import Budget
from job.testing import Recorder
from tests.journal import Journal, Routine, done, failing, forever, lasting, nothing


def in_turn(*routines: Routine) -> Routine:
    """Return a routine that is the first at the first call, the second at the second …, and then the last."""
    left = list(routines)

    async def routine(task: Task) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(task)

    return routine


def survived(recorder: Recorder) -> list[tuple[Phase | None, str]]:
    """Return the phases and errors that were survived."""
    return [(event.error.phase, str(event.error.error)) for event in recorder.of(TaskFailed) if event.survived]


async def test_a_new_life(autojump_clock: MockClock) -> None:
    """The task is finalised, initialised and run again; at its end it is finalised once more."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(restart(journal.task("work", run=in_turn(failing(OSError()), done)), wait=5))
    assert await j.run() is JobState.DONE
    life = ["work.init", "work.run", "work.finalize"]
    assert (journal, trio.current_time()) == (life * 2, 5)
    assert (task.name, task.state, task.error, j.errors) == ("work", TaskState.FINISHED, None, ())


async def test_survived_errors_are_told(autojump_clock: MockClock) -> None:
    """Observers hear of each, with its phase, and the log has a line for it."""
    lines: list[str] = []
    recorder = Recorder()
    journal = Journal()
    j = Job[Any](observers=[recorder])
    j.register_logger({0: lambda event, fields: lines.append(f"{event} {fields['phase']} {fields['error']}")}, level=0)
    init = in_turn(nothing, failing(OSError("init")), nothing)
    run = in_turn(failing(OSError("run")), done)
    j.add_task(restart(journal.task("work", init=init, run=run), wait=1))
    await j.run()
    assert survived(recorder) == [(Phase.RUN, "run"), (Phase.INIT, "init")]
    assert lines == ["task.failed run OSError('run')", "task.failed init OSError('init')"]


async def test_failing_first_init(autojump_clock: MockClock) -> None:
    """It counts as any other failure; the tasks behind it wait for it to pass."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(restart(journal.task("a", init=in_turn(failing(OSError()), nothing)), wait=3))
    j.add_task(journal.task("b"))
    await j.run()
    assert journal[:4] == ["a.init", "a.finalize", "a.init", "b.init"]


async def test_oneshot(autojump_clock: MockClock) -> None:
    """A connection that fails is made again, and then the others start."""
    journal = Journal()
    j = Job[Any]()
    j.add_oneshot_task(restart(journal.task("connect", run=in_turn(failing(OSError()), done)), wait=1))
    j.add_task(journal.task("read"))
    assert await j.run() is JobState.DONE
    assert journal == [
        *[*(["connect.init", "connect.run", "connect.finalize"] * 2)][:5],
        "read.init",
        "read.run",
        "read.finalize",
        "connect.finalize",
    ]


async def test_budget(autojump_clock: MockClock) -> None:
    """When the restarts are spent the error stands, and the finalizer runs at its turn."""
    journal = Journal()
    errors = [OSError(str(number)) for number in range(4)]
    recorder = Recorder()
    j = Job[Any](observers=[recorder])
    run = in_turn(*map(failing, errors))
    task = j.add_task(restart(journal.task("work", run=run), wait=1, max_restarts=2))
    with pytest.raises(OSError, match="2") as caught:
        await j.run()
    assert caught.value is errors[2]
    assert journal == ["work.init", "work.run", "work.finalize"] * 3
    assert (task.state, [failure.error for failure in j.errors]) == (TaskState.FAILED, [errors[2]])
    assert survived(recorder) == [(Phase.RUN, "0"), (Phase.RUN, "1")]


async def test_no_restarts(autojump_clock: MockClock) -> None:
    """A budget of nothing is as good as no wrapper."""
    j = Job[Any]()
    j.add_task(restart(failing(OSError()), wait=1, max_restarts=0))
    with pytest.raises(OSError):
        await j.run()
    assert trio.current_time() == 0


async def test_budget_within_a_period(autojump_clock: MockClock) -> None:
    """Only restarts of the last seconds count."""
    calls: list[float] = []

    async def run(task: Task) -> None:
        calls.append(trio.current_time())
        await trio.sleep(10 if len(calls) < 5 else 0)
        raise OSError

    j = Job[Any]()
    j.add_task(restart(run, wait=0, max_restarts=2, within=15))
    with pytest.raises(OSError):
        await j.run()
    assert calls == [0, 10, 20, 30, 40]


async def test_phase_of_the_error_that_stands(autojump_clock: MockClock) -> None:
    """An init that fails in a later life is told as an init that failed."""
    journal = Journal()
    j = Job[Any]()
    init = in_turn(nothing, failing(OSError("gone")))
    task = j.add_task(restart(journal.task("work", init=init, run=failing(ValueError())), wait=1, max_restarts=1))
    with pytest.raises(OSError, match="gone") as caught:
        await j.run()
    assert (j.errors[0].task, j.errors[0].phase) == (task, Phase.INIT)
    assert "init" in caught.value.__notes__[0]
    assert journal == ["work.init", "work.run", "work.finalize", "work.init", "work.finalize"]


async def test_backoff_grows(autojump_clock: MockClock) -> None:
    """Each failure in a row waits longer, up to the maximum."""
    calls: list[float] = []

    async def run(task: Task) -> None:
        calls.append(trio.current_time())
        if len(calls) == 6:
            return task.done()
        raise OSError

    j = Job[Any]()
    j.add_task(restart(run, wait=Backoff(1, 5)))
    await j.run()
    assert calls == [0, 1, 3, 7, 12, 17]


async def test_backoff_resets(autojump_clock: MockClock) -> None:
    """A life as long as the maximum was a good one."""
    calls: list[float] = []

    async def run(task: Task) -> None:
        calls.append(trio.current_time())
        if len(calls) == 5:
            return task.done()
        await trio.sleep({3: 100, 4: 7}.get(len(calls), 0))
        raise OSError

    j = Job[Any]()
    j.add_task(restart(run, wait=Backoff(1, 8)))
    await j.run()
    assert calls == [0, 1, 3, 104, 113]


async def test_default_wait(autojump_clock: MockClock) -> None:
    """Nothing is restarted in a hot loop."""
    j = Job[Any]()
    j.add_task(restart(in_turn(failing(OSError()), failing(OSError()), done)))
    await j.run()
    assert 2.7 <= trio.current_time() <= 3


@pytest.mark.parametrize("grace", [0, 100])
async def test_finish_ends_the_wait(grace: float, autojump_clock: MockClock) -> None:
    """At once, whatever the grace; the life has been finalised, and is not again."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(restart(journal.task("work", run=failing(OSError())), wait=60))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(5)
        j.finish(grace)
    assert (trio.current_time(), j.state, task.state, j.errors) == (5, JobState.DONE, TaskState.FINISHED, ())
    assert journal == ["work.init", "work.run", "work.finalize"]


@pytest.mark.parametrize("grace", [0, 100])
async def test_finish_ends_the_wait_of_an_init(grace: float, autojump_clock: MockClock) -> None:
    """Nothing is run that was not initialised."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(restart(journal.task("work", init=failing(OSError())), wait=60))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(5)
        j.finish(grace)
    assert (trio.current_time(), j.state, task.state) == (5, JobState.DONE, TaskState.FINISHED)
    assert journal == ["work.init", "work.finalize"]


@pytest.mark.parametrize("run", [done, None])
async def test_oneshot_whose_init_was_stopped(run: Routine | None, autojump_clock: MockClock) -> None:
    """It has not succeeded: nobody is initialised, though there is grace for it."""
    journal = Journal()
    j = Job[Any]()
    j.add_oneshot_task(restart(journal.task("connect", init=failing(OSError()), run=run), wait=60))
    j.add_task(journal.task("read"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(5)
        j.finish(100)
    assert (j.state, journal) == (JobState.DONE, ["connect.init", "connect.finalize"])


async def test_no_run(autojump_clock: MockClock) -> None:
    """A task that only sets up is set up again where that fails."""
    journal = Journal()
    j = Job[Any]()
    j.add_oneshot_task(restart(journal.task("set up", init=in_turn(failing(OSError()), nothing), run=None), wait=1))
    j.add_task(journal.task("read"))
    await j.run()
    assert journal[:4] == ["set up.init", "set up.finalize", "set up.init", "read.init"]


async def test_finish_during_a_life(autojump_clock: MockClock) -> None:
    """A task that has not failed stops at its step, and is finalised once."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(restart(journal.task("work", run=lasting(3, Task.tick)), wait=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(4)
        j.finish(100)
    assert (trio.current_time(), journal) == (6, ["work.init", "work.run", "work.run", "work.finalize"])


async def test_failure_while_stopping_is_survived(autojump_clock: MockClock) -> None:
    """The same as one that came just before the stop; there is no other life."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(restart(journal.task("work", run=failing(OSError(), after=3)), wait=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish(100)
    assert (j.state, trio.current_time(), journal) == (JobState.DONE, 3, ["work.init", "work.run", "work.finalize"])


async def test_cancelled_is_no_failure(autojump_clock: MockClock) -> None:
    """A cancellation from outside ends the task, and the finalizer waits for its turn."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(restart(journal.task("a", run=forever), wait=1))
    j.add_task(journal.task("b", run=forever))
    with trio.move_on_after(5):
        await j.run()
    assert journal[4:] == ["b.finalize", "a.finalize"]


async def test_fatal_error_stands(autojump_clock: MockClock) -> None:
    """A KeyboardInterrupt is not to be survived."""
    j = Job[Any]()
    j.add_task(restart(failing(KeyboardInterrupt()), wait=1))
    with pytest.raises(KeyboardInterrupt):
        await j.run()


# -- cleaning up between two lives


def context(journal: list[str], name: str, fault: Exception | None = None) -> Any:
    """Return a context manager that notes its ends, with a scope of its own."""

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        journal.append(f"open {name}")
        try:
            async with trio.open_nursery() as nursery:
                yield
                nursery.cancel_scope.cancel()
        finally:
            journal.append(f"close {name}")
            if fault is not None:
                raise fault

    return manager()


async def test_exits_are_taken_after_each_life(autojump_clock: MockClock) -> None:
    """What init and run have entered is left right after the finalizer, in reverse order, before the next init."""
    journal: list[str] = []
    runs = in_turn(failing(OSError()), done)

    async def init(task: Task) -> None:
        await task.enter(context(journal, "init"))

    async def run(task: Task) -> None:
        await task.enter(context(journal, "run"))
        await runs(task)

    j = Job[Any]()
    j.add_task(restart(lambda j: (init, run, lambda task: journal.append("finalize")), wait=1))
    await j.run()
    assert journal == ["open init", "open run", "finalize", "close run", "close init"] * 2


async def test_nursery_from_init_to_finalizer(autojump_clock: MockClock) -> None:
    """The scopes of each life nest in the one trio task (G4)."""
    seen: list[trio.lowlevel.Task] = []

    def factory(j: Job[Any]) -> Routines:
        managers: list[Any] = []

        async def init(task: Task) -> None:
            seen.append(trio.lowlevel.current_task())
            managers.append(trio.open_nursery())
            nursery = await managers[-1].__aenter__()
            nursery.start_soon(trio.sleep, 1)

        async def finalize(task: Task) -> None:
            seen.append(trio.lowlevel.current_task())
            await managers[-1].__aexit__(None, None, None)

        return Routines(init, in_turn(failing(OSError()), done), finalize)

    j = Job[Any]()
    j.add_task(restart(factory, wait=1))
    assert await j.run() is JobState.DONE
    assert (len(seen), len(set(seen)), j.errors) == (4, 1, ())


async def test_dead_nursery(autojump_clock: MockClock) -> None:
    """A child that fails in a nursery of init ends the life, and what the finalizer makes of that is the error."""
    recorder = Recorder()
    lives = 0

    def factory(j: Job[Any]) -> Routines:
        managers: list[Any] = []

        async def child() -> None:
            await trio.sleep(2)
            raise OSError("child")

        async def init(task: Task) -> None:
            nonlocal lives
            lives += 1
            managers.append(trio.open_nursery())
            nursery = await managers[-1].__aenter__()
            if lives == 1:
                nursery.start_soon(child)

        async def finalize(task: Task) -> None:
            await managers[-1].__aexit__(None, None, None)

        return Routines(init, lasting(5), finalize)

    j = Job[Any](observers=[recorder])
    j.add_task(restart(factory, wait=1))
    assert await j.run() is JobState.DONE
    assert (lives, trio.current_time()) == (2, 8)
    (told,) = recorder.of(TaskFailed)
    assert (told.survived, told.error.phase) == (True, Phase.FINALIZE)
    assert pytest.RaisesGroup(OSError).matches(told.error.error)


async def test_dead_scope(autojump_clock: MockClock) -> None:
    """A scope of the task that was cancelled, and nothing that says why."""
    recorder = Recorder()

    async def init(task: Task) -> None:
        scope = await task.enter(trio.CancelScope())
        if not recorder.of(TaskFailed):
            scope.cancel()

    j = Job[Any](observers=[recorder])
    j.add_task(restart(lambda j: (init, lasting(1), None), wait=1))
    assert await j.run() is JobState.DONE
    assert survived(recorder) == [(Phase.RUN, "a scope of the task was cancelled")]


async def test_dead_scope_that_is_not_survived(autojump_clock: MockClock) -> None:
    """With the budget spent it is what it is without the wrapper."""

    async def init(task: Task) -> None:
        (await task.enter(trio.CancelScope())).cancel()

    j = Job[Any]()
    j.add_task(restart(lambda j: (init, lasting(1), None), wait=1, max_restarts=1))
    with pytest.raises(JobCancelledError, match="a scope of the task was cancelled"):
        await j.run()


async def test_failing_finalizer_is_survived(autojump_clock: MockClock) -> None:
    """Finalizer and exits of a life that has failed are told by name, and stop no new one."""
    journal = Journal()
    recorder = Recorder()
    runs = in_turn(failing(OSError("run")), done)

    async def run(task: Task) -> None:
        if not recorder.of(TaskFailed):
            await task.enter(context(journal, "it", OSError("exit")))
        await runs(task)

    finalize = in_turn(failing(OSError("finalize")), nothing)
    j = Job[Any](observers=[recorder])
    j.add_task(restart(lambda j: (None, run, finalize), wait=1))
    assert await j.run() is JobState.DONE
    assert survived(recorder) == [(Phase.RUN, "run"), (Phase.FINALIZE, "finalize"), (Phase.FINALIZE, "exit")]
    assert j.errors == ()


async def test_hanging_finalizer(autojump_clock: MockClock) -> None:
    """It is cut after the job's finalize_timeout, and told."""
    recorder = Recorder()
    j = Job[Any](observers=[recorder], finalize_timeout=3)
    finalize = in_turn(forever, nothing)
    j.add_task(restart(lambda j: (None, in_turn(failing(OSError()), done), finalize), wait=1))
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 4
    assert isinstance(recorder.of(TaskFailed)[1].error.error, FinalizeTimeoutError)


async def test_finalizer_of_a_life_is_shielded(autojump_clock: MockClock) -> None:
    """A cancellation that comes while it runs does not cut it; then there is no other life."""
    journal: list[str] = []

    async def finalize(task: Task) -> None:
        await trio.sleep(2)
        journal.append("finalized")

    j = Job[Any]()
    j.add_task(restart(lambda j: (lambda task: journal.append("init"), failing(OSError()), finalize), wait=0))
    with trio.move_on_after(1):
        await j.run()
    assert (trio.current_time(), journal) == (2, ["init", "finalized"])


async def test_fatal_error_of_a_finalizer(autojump_clock: MockClock) -> None:
    """It goes on unchanged, and nothing is finalised twice."""
    journal = Journal()
    j = Job[Any]()
    finalize = failing(KeyboardInterrupt())
    j.add_task(restart(journal.task("work", run=failing(OSError()), finalize=finalize), wait=1))
    with pytest.raises(KeyboardInterrupt):
        await j.run()
    assert journal == ["work.init", "work.run", "work.finalize"]
    assert j.errors[0].phase is Phase.FINALIZE


async def test_routines_are_open_to_interrupts(autojump_clock: MockClock) -> None:
    """Those of each life; what is between two lives is not (G2)."""
    seen: list[bool] = []

    async def look(task: Task) -> None:
        seen.append(trio.lowlevel.currently_ki_protected())

    async def run(task: Task) -> None:
        await look(task)
        if len(seen) > 3:
            signal.raise_signal(signal.SIGINT)
        raise OSError

    j = Job[Any]()
    j.add_task(restart(lambda j: (look, run, look), wait=1))
    with pytest.raises(KeyboardInterrupt):
        await j.run()
    assert seen == [False] * 6


# -- policies


async def test_contained(autojump_clock: MockClock) -> None:
    """With CONTAIN the error that stands is contained, as ever."""
    j = Job[Any]()
    task = j.add_task(restart(failing(OSError()), wait=1, max_restarts=2), policy=StopPolicy.CONTAIN)
    assert await j.run() is JobState.DONE
    assert (task.state, len(j.errors), trio.current_time()) == (TaskState.FAILED, 1, 2)


async def test_idle_timeout_is_not_survived(autojump_clock: MockClock) -> None:
    """It is the job's judgement on the task: a contained one is cancelled, and that is that."""
    journal = Journal()
    j = Job[Any]()
    work = journal.task("work", run=forever)
    task = j.add_task(restart(work, wait=1), policy=StopPolicy.CONTAIN, idle_timeout=3)
    assert await j.run() is JobState.DONE
    assert (task.state, journal) == (TaskState.FAILED, ["work.init", "work.run", "work.finalize"])


async def test_transient(autojump_clock: MockClock) -> None:
    """A transient task is finalised, last life and all, as soon as its loop ends."""
    journal = Journal()
    j = Job[Any]()
    work = journal.task("work", run=in_turn(failing(OSError()), done))
    j.add_task(restart(work, wait=1), policy=StopPolicy.CONTAIN, transient=True)
    j.add_task(lasting(10))
    await j.run()
    assert (journal, len(j.tasks)) == (["work.init", "work.run", "work.finalize"] * 2, 1)


def test_budget_is_a_window() -> None:
    """What was spent `within` seconds counts, and nothing older."""
    budget = Budget(2, 10)
    assert [budget.spend(now) for now in (0, 1, 2, 9, 10, 10.5, 11)] == [True, True, False, False, True, False, True]
