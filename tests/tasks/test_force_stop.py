"""`force_stop`: how long a run may take to leave."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import (
    Job,
    JobCancelledError,
    JobState,
    JobTimeoutError,
    Phase,
    StopPolicy,
    StopTimeoutError,
    Task,
    TaskState,
)
from job.tasks import every, force_stop
from tests.journal import Journal, failing, forever, lasting, nothing


async def leaving(task: Task) -> None:
    """Leave two seconds after the stop."""
    await task.job.wait_stopping()
    await trio.sleep(2)
    task.done("left")


async def stopped(j: Job[Any], how: Any, after: float = 1) -> float:
    """Run a job, stop it after some seconds, and return how long that took."""
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery) if j.get_task(0) is None else nursery.start_soon(j.run)
        await trio.sleep(after)
        how()
    return trio.current_time() - after


def overruns(j: Job[Any]) -> list[str]:
    """Return the messages of the recorded overruns."""
    return [str(failure.error) for failure in j.errors if isinstance(failure.error, StopTimeoutError)]


async def test_finish_with_a_long_grace(autojump_clock: MockClock) -> None:
    """The run is cancelled before the grace is over; that is recorded, and the job is done all the same."""
    j = Job[Any](grace=100)
    task = j.add_task(force_stop(forever, 5))
    assert await stopped(j, j.finish) == 5
    assert (j.state, task.state, task.name) == (JobState.DONE, TaskState.CANCELLED, "forever")
    assert [(failure.task, failure.phase) for failure in j.errors] == [(task, Phase.RUN)]
    assert overruns(j) == ["task 'forever' did not leave within 5 s of the stop"]
    assert j.verdict is not None
    assert (j.verdict.cut, j.verdict.code) == ((task,), "finished-cut@forever:run")


@pytest.mark.parametrize("after", [5, 0])
async def test_finish_without_a_grace(after: float, autojump_clock: MockClock) -> None:
    """The run has its time in any case."""
    j = Job[Any]()
    task = j.add_task(force_stop(forever, after))
    assert await stopped(j, j.finish) == after
    assert (j.state, task.state, len(overruns(j))) == (JobState.DONE, TaskState.CANCELLED, 1)


async def test_run_that_leaves(autojump_clock: MockClock) -> None:
    """A run that hears of the stop and leaves in time is no overrun."""
    j = Job[Any]()
    task = j.add_task(force_stop(leaving, 5))
    assert await stopped(j, j.finish) == 2
    assert (j.state, task.state, task.result, j.errors) == (JobState.DONE, TaskState.FINISHED, "left", ())


async def test_cancel(autojump_clock: MockClock) -> None:
    """Under a cancel it may leave too."""
    j = Job[Any]()
    task = j.add_task(force_stop(leaving, 5))
    assert await stopped(j, j.cancel) == 2
    assert (j.state, task.state, overruns(j)) == (JobState.CANCELLED, TaskState.FINISHED, [])


@pytest.mark.parametrize("inner", [lambda t: every(60, t), lambda t: t], ids=["every", "bare"])
async def test_cancel_between_steps(inner: Any, autojump_clock: MockClock) -> None:
    """A run that leaves a wait at once, and takes no step, is CANCELLED by a cancel, behind the shield as in front of it."""

    async def run(task: Task) -> None:
        task.tick()
        with task.cancel_on_stop():
            await trio.sleep_forever()

    j = Job[Any]()
    task = j.add_task(force_stop(inner(run), 5))
    assert await stopped(j, j.cancel) == 0
    assert (task.state, overruns(j)) == (TaskState.CANCELLED, [])


async def test_cancel_and_overrun(autojump_clock: MockClock) -> None:
    """The overrun is recorded behind the cause."""
    j = Job[Any]()
    task = j.add_task(force_stop(forever, 5))
    assert await stopped(j, j.cancel) == 5
    assert (task.state, len(overruns(j)), len(j.errors)) == (TaskState.CANCELLED, 1, 2)
    assert isinstance(j.interrupted_by[1], JobCancelledError)


async def test_another_task_fails(autojump_clock: MockClock) -> None:
    """The job raises that error, when the run has had its time."""
    j = Job[Any]()
    j.add_task(force_stop(forever, 5))
    j.add_task(failing(OSError(), after=1))
    with pytest.raises(OSError):
        await j.run()
    assert trio.current_time() == 6


async def test_job_timeout(autojump_clock: MockClock) -> None:
    """That is a stop like any other, also where no other task could notice."""
    j = Job[Any](timeout=1)
    j.add_task(force_stop(leaving, 5))
    with pytest.raises(JobTimeoutError):
        await j.run()
    assert trio.current_time() == 3


@pytest.mark.parametrize("oneshot", [False, True])
async def test_outer_cancellation(oneshot: bool, autojump_clock: MockClock) -> None:
    """The run is told of it, behind its shield, and the Cancelled goes on when it has left."""
    j = Job[Any]()
    add = j.add_oneshot_task if oneshot else j.add_task
    task = add(force_stop(leaving, 5))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert (scope.cancelled_caught, trio.current_time()) == (True, 3)
    assert (j.state, task.state, overruns(j)) == (JobState.CANCELLED, TaskState.FINISHED, [])


@pytest.mark.parametrize("oneshot", [False, True])
async def test_outer_cancellation_and_overrun(oneshot: bool, autojump_clock: MockClock) -> None:
    """One that does not leave is cancelled."""
    j = Job[Any]()
    add = j.add_oneshot_task if oneshot else j.add_task
    task = add(force_stop(forever, 5))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert (scope.cancelled_caught, trio.current_time(), len(overruns(j))) == (True, 6, 1)
    assert task.state is TaskState.CANCELLED


async def test_finalizer_after_an_overrun(autojump_clock: MockClock) -> None:
    """It is not cancelled with the run: it may do I/O, as may the exits."""
    journal: list[str] = []

    class Exit:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *exc: object) -> None:
            await trio.sleep(1)
            journal.append("exit")

    async def run(task: Task) -> None:
        await task.enter(Exit())
        await trio.sleep_forever()

    async def finalize(task: Task) -> None:
        await trio.sleep(1)
        journal.append("finalize")

    j = Job[Any]()
    j.add_task(force_stop(lambda j: (None, run, finalize), 5))
    assert await stopped(j, j.finish) == 7
    assert (journal, len(j.errors)) == (["finalize", "exit"], 1)


async def test_hanging_finalizer_is_bounded(autojump_clock: MockClock) -> None:
    """By the job's finalize_timeout, as without the wrapper, and it is told once."""
    j = Job[Any](finalize_timeout=3)
    j.add_task(force_stop(lambda j: (None, forever, forever), 5))
    assert await stopped(j, j.finish) == 8
    assert [type(failure.error).__name__ for failure in j.errors] == ["StopTimeoutError", "FinalizeTimeoutError"]


async def test_to_wait_for_its_turn_is_no_overrun(autojump_clock: MockClock) -> None:
    """A run that has left is not held to account for the others."""
    journal = Journal()
    j = Job[Any](grace=50)
    task = j.add_task(force_stop(journal.task("quick", run=leaving), 5))
    j.add_task(lasting(30))
    assert await stopped(j, j.finish) == 29
    assert (j.state, task.state, j.errors) == (JobState.DONE, TaskState.FINISHED, ())


async def test_blocked_run_is_found_out(autojump_clock: MockClock) -> None:
    """A run that cannot be cancelled, as it never awaits, is recorded by the time that it took."""

    async def block(task: Task) -> None:
        await task.job.wait_stopping()
        autojump_clock.jump(10)
        task.done()

    j = Job[Any](grace=50)
    task = j.add_task(force_stop(block, 5))
    await stopped(j, j.finish)
    assert (task.state, len(overruns(j))) == (TaskState.FINISHED, 1)


async def test_blocked_run_that_ticks(autojump_clock: MockClock) -> None:
    """Nothing of the scope that has run out strikes the loop after it."""

    async def block(task: Task) -> None:
        await task.job.wait_stopping()
        autojump_clock.jump(10)
        task.tick()

    j = Job[Any](grace=50)
    task = j.add_task(force_stop(block, 5))
    await stopped(j, j.finish)
    assert (j.state, task.state, len(j.errors)) == (JobState.DONE, TaskState.FINISHED, 1)


async def test_ticking_oneshot_under_a_grace(autojump_clock: MockClock) -> None:
    """It goes on until its time is over, counted from the stop."""
    j = Job[Any](grace=50)
    task = j.add_oneshot_task(force_stop(lasting(2, Task.tick), 5))
    assert await stopped(j, j.finish) == 5
    assert (task.state, len(overruns(j))) == (TaskState.CANCELLED, 1)


async def test_error_of_the_run(autojump_clock: MockClock) -> None:
    """It is an error like any other; so is one while it leaves."""

    async def fail(task: Task) -> None:
        await task.job.wait_stopping()
        raise OSError

    j = Job[Any]()
    task = j.add_task(force_stop(fail, 5))
    assert await stopped(j, j.finish) == 0
    assert (j.state, task.state, len(j.errors)) == (JobState.CANCELLED, TaskState.FAILED, 1)


async def test_contained_idle_timeout(autojump_clock: MockClock) -> None:
    """What cancels this task alone is no stop of the job: nothing is waited for."""
    j = Job[Any]()
    task = j.add_task(force_stop(forever, 5), policy=StopPolicy.CONTAIN, idle_timeout=3)
    assert await j.run() is JobState.DONE
    assert (trio.current_time(), task.state, overruns(j)) == (3, TaskState.FAILED, [])


async def test_contained_overrun(autojump_clock: MockClock) -> None:
    """It is recorded for a contained task, too."""
    j = Job[Any](grace=50)
    j.add_task(force_stop(forever, 5), policy=StopPolicy.CONTAIN)
    assert await stopped(j, j.finish) == 5
    assert (j.state, len(overruns(j))) == (JobState.DONE, 1)


async def test_init_has_no_such_time(autojump_clock: MockClock) -> None:
    """It is run, not init, that gets time to leave."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(force_stop(journal.task("slow", init=forever), 5))
    with trio.move_on_after(1):
        await j.run()
    assert (trio.current_time(), journal) == (1, ["slow.init", "slow.finalize"])


async def test_natural_end(autojump_clock: MockClock) -> None:
    """Nothing is heard of the wrapper where nobody stops the job, not even long afterwards."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(force_stop(journal.task("work", run=lasting(1)), 0))
    j.add_task(lasting(10))
    assert await j.run() is JobState.DONE
    assert (journal, j.errors) == (["work.init", "work.run", "work.finalize"], ())


async def test_no_run(autojump_clock: MockClock) -> None:
    """What has no run is left as it is."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(force_stop(journal.task("set up", init=nothing, run=None), 1))
    await j.run()
    assert journal == ["set up.init", "set up.finalize"]


async def test_real_time() -> None:
    """The same on the real clock."""
    j = Job[Any](grace=5)
    j.add_task(force_stop(forever, 0.05))
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish()
    assert 0.05 <= time.monotonic() - began < 2
