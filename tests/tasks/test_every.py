"""`every`: a task at the points of a fixed grid."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from job import IdleTimeoutError, Job, JobState, MissingStepError, Task, TaskState
from job._core.words.grid import Grid
from job.tasks import every
from tests.journal import Journal, Routine, done, forever


class Ticks(list[float]):
    """When the run was called; each call takes the next of the given seconds, or none."""

    def run(self, *seconds: float, then: Callable[[Task], None] = Task.tick) -> Routine:
        """Return a run that ticks."""
        left = iter(seconds)

        async def poll(task: Task) -> None:
            self.append(trio.current_time())
            await trio.sleep(next(left, 0))
            then(task)

        return poll


async def run_for(seconds: float, task: object, **options: Any) -> Job[Any]:
    """Run a job of one task for some seconds, and finish it."""
    j = Job[Any]()
    j.add_task(task, **options)
    async with j:
        await trio.sleep(seconds)
    return j


async def test_first_run_is_now(autojump_clock: MockClock) -> None:
    """The grid begins when the run loop does."""
    ticks = Ticks()
    await run_for(3.5, every(1, ticks.run()))
    assert ticks == [0, 1, 2, 3]


async def test_not_immediate(autojump_clock: MockClock) -> None:
    """The first run is an interval from now."""
    ticks = Ticks()
    await run_for(3.5, every(1, ticks.run(), immediate=False))
    assert ticks == [1, 2, 3]


async def test_fixed_grid(autojump_clock: MockClock) -> None:
    """The time that a run takes does not move the points."""
    ticks = Ticks()
    await run_for(3.5, every(1, ticks.run(0.5, 0.25, 0.75)))
    assert ticks == [0, 1, 2, 3]


async def test_overrun_skips_points(autojump_clock: MockClock) -> None:
    """Points that a run has missed are not made up for."""
    ticks = Ticks()
    await run_for(6.5, every(1, ticks.run(0, 2.5)))
    assert ticks == [0, 1, 4, 5, 6]


async def test_run_that_takes_the_whole_interval_misses_nothing(autojump_clock: MockClock) -> None:
    """The point that it reaches just now is the next one."""
    ticks = Ticks()
    await run_for(3.5, every(1, ticks.run(1, 1)))
    assert ticks == [0, 1, 2, 3]


async def test_idle_polls(autojump_clock: MockClock) -> None:
    """Only a tick waits for the next point."""
    calls: list[float] = []

    async def poll(task: Task) -> None:
        calls.append(trio.current_time())
        task.idle() if len(calls) < 3 else task.tick()

    await run_for(10.5, every(10, poll))
    assert calls[2] < 0.01
    assert calls[3:] == [10]


async def test_done_ends(autojump_clock: MockClock) -> None:
    """The task ends by itself, as without the wrapper."""
    j = Job[Any]()
    task = j.add_task(every(1, done))
    assert await j.run() is JobState.DONE
    assert (task.state, trio.current_time()) == (TaskState.FINISHED, 0)


async def test_missing_step_is_an_error(autojump_clock: MockClock) -> None:
    """The wrapper makes up no steps."""

    async def poll(task: Task) -> None: ...

    j = Job[Any]()
    j.add_task(every(1, poll))
    with pytest.raises(MissingStepError):
        await j.run()


async def test_steps_are_counted_at_the_tick(autojump_clock: MockClock) -> None:
    """While it waits for the next point the last step has been taken."""
    j = Job[Any]()
    task = j.add_task(every(10, Ticks().run()))
    async with j:
        await trio.sleep(5)
        assert task.steps == 1


@pytest.mark.parametrize("grace", [0, 100])
async def test_finish_ends_the_wait(grace: float, autojump_clock: MockClock) -> None:
    """At once, whatever the grace; the task was stopped at a step."""
    j = Job[Any]()
    task = j.add_task(every(60, Ticks().run()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(5)
        j.finish(grace)
    assert (trio.current_time(), j.state, task.state) == (5, JobState.DONE, TaskState.FINISHED)
    assert j.verdict is not None
    assert j.verdict.cut == ()


async def test_oneshot_in_its_wait_stops_too(autojump_clock: MockClock) -> None:
    """It has not succeeded: nobody is initialised."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_oneshot_task(every(60, Ticks().run()))
    j.add_task(journal.task("read"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(5)
        j.finish(100)
    assert (trio.current_time(), task.state, journal) == (5, TaskState.FINISHED, [])


async def test_run_under_way_gets_the_grace(autojump_clock: MockClock) -> None:
    """The wait is what a stop ends, not the run."""
    j = Job[Any]()
    task = j.add_task(every(60, Ticks().run(3)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish(10)
    assert (trio.current_time(), task.state) == (3, TaskState.FINISHED)


async def test_cancelled_wait(autojump_clock: MockClock) -> None:
    """A cancel finds it between two steps, and is a cancel."""
    j = Job[Any]()
    task = j.add_task(every(60, Ticks().run()))
    with trio.move_on_after(5):
        await j.run()
    assert (trio.current_time(), j.state, task.state) == (5, JobState.CANCELLED, TaskState.CANCELLED)


async def test_idle_clock_goes_on(autojump_clock: MockClock) -> None:
    """To wait is not to tick."""
    j = Job[Any]()
    j.add_task(every(60, Ticks().run()), idle_timeout=10)
    with pytest.raises(IdleTimeoutError):
        await j.run()
    assert trio.current_time() == 10


async def test_hanging_run_is_idle(autojump_clock: MockClock) -> None:
    """A run that hangs is found out, counted from the last tick."""
    j = Job[Any]()
    j.add_task(every(1, Ticks().run(0, 0, 1000)), idle_timeout=5)
    with pytest.raises(IdleTimeoutError):
        await j.run()
    assert trio.current_time() == 6


async def test_a_wrapper_may_be_used_again(autojump_clock: MockClock) -> None:
    """Two tasks of one wrapper have a grid each."""
    ticks = Ticks()
    poll = every(2, ticks.run())
    await run_for(2.5, poll)
    await run_for(2.5, poll)
    assert ticks == [0, 2, 2.5, 4.5]


async def test_other_routines_are_kept(autojump_clock: MockClock) -> None:
    """Name, init and finalizer are those of the task inside."""
    journal = Journal()
    j = await run_for(1.5, every(1, journal.task("poll", run=forever)))
    assert (j.tasks[0].name, journal) == ("poll", ["poll.init", "poll.run", "poll.finalize"])


@given(st.floats(0.001, 1000), st.floats(0, 1e6), st.integers(0, 10_000))
def test_grid(interval: float, origin: float, seed: int) -> None:
    """Points are on the grid, each behind the one before it; none lies before now, and none that does not is skipped."""
    hair = interval * 1e-6
    chance = random.Random(seed)
    grid = Grid(origin, interval)
    points = [grid.point]
    for _ in range(20):
        now = grid.point + interval * chance.choice((0, 0.5, 1, 1.5, 3))
        grid.move_on(now)
        points.append(grid.point)
        assert grid.point >= now - hair
        assert grid.point - interval < max(now, points[-2]) + hair
    assert all(later - earlier > interval / 2 for earlier, later in itertools.pairwise(points))


def test_grid_does_not_mind_floats() -> None:
    """Three tenths are a little more than three times a tenth, and no point is missed by that."""
    grid = Grid(0.0, 0.1)
    grid.move_on(0.1 + 0.2)
    assert grid.point == 0.1 * 3
