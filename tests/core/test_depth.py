"""Jobs nest 2,000 deep, each in a trio task of its own; a chain in one trio task ends where Python's stack does."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import CauseKind, Job, JobState, Task
from tests.journal import forever, lasting

DEPTH = 2000


async def nested(nursery: trio.Nursery, run: Callable[[Task], Awaitable[None]], **outermost: Any) -> list[Job]:
    """Start jobs, each of which is the parent of the next."""
    jobs: list[Job] = []
    for level in range(DEPTH):
        j = Job(parent=jobs[-1] if jobs else None, **({} if level else outermost))
        j.add_task(run)
        await j.run_in_background(nursery)
        jobs.append(j)
    return jobs


def states(jobs: list[Job]) -> set[JobState]:
    """Return the states that occur."""
    return {j.state for j in jobs}


async def test_cancelled(autojump_clock: MockClock) -> None:
    """A cancel of the outermost is one of all."""
    async with trio.open_nursery() as nursery:
        jobs = await nested(nursery, forever)
        jobs[0].cancel()
        await jobs[0].wait()
    assert states(jobs) == {JobState.CANCELLED}


async def test_finished(autojump_clock: MockClock) -> None:
    """A finish of the outermost is one of all, within its grace."""
    async with trio.open_nursery() as nursery:
        jobs = await nested(nursery, forever)
        jobs[0].finish(5)
        await jobs[0].wait()
    assert states(jobs) == {JobState.DONE}
    assert trio.current_time() == 5


async def test_timed_out(autojump_clock: MockClock) -> None:
    """The timeout of the outermost is the end of all."""
    async with trio.open_nursery() as nursery:
        jobs = await nested(nursery, forever, timeout=3)
        await jobs[0].wait()
    assert states(jobs) == {JobState.CANCELLED}
    assert (trio.current_time(), jobs[0].code) == (3, "timeout")


async def test_natural_end(autojump_clock: MockClock) -> None:
    """At the natural end of the outermost the others are finished."""
    async with trio.open_nursery() as nursery:
        jobs = await nested(nursery, lasting(1))
        await jobs[0].wait()
    assert states(jobs) == {JobState.DONE}


async def test_error_of_the_outermost(autojump_clock: MockClock) -> None:
    """The innermost can tell the whole chain of causes."""

    async def fail(task: Task) -> None:
        await trio.sleep(1)
        task.assert_true(task.job.parent is not None, "the outermost")
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        jobs = await nested(nursery, fail)
        await jobs[0].wait()
    assert states(jobs) == {JobState.CANCELLED}
    verdict = jobs[-1].verdict
    assert verdict is not None
    chain, cause = 0, verdict.cause
    while cause.parent is not None:
        chain, cause = chain + 1, cause.parent
    assert (chain, cause.kind) == (DEPTH - 1, CauseKind.ASSERT)


async def run_within(jobs: list[Job]) -> None:
    """Run a job whose task runs a job, and so on, all in one trio task."""

    async def run(task: Task) -> None:
        await run_within(jobs)

    j = Job()
    j.add_task(run)
    jobs.append(j)
    await j.run()


async def open_within(jobs: list[Job]) -> None:
    """Open the block of a job within that of another, and so on."""
    j = Job()
    j.add_task(forever)
    jobs.append(j)
    async with j:
        await open_within(jobs)


async def below(frames: int, begin: Callable[[], Awaitable[None]]) -> None:
    """Begin something below so many frames."""
    if frames:
        await below(frames - 1, begin)
    else:
        await begin()


async def all_end(jobs: list[Job]) -> None:
    """Hold jobs to be ended, or never to have begun."""
    for j in jobs:
        if j.state is JobState.NEW:
            j.cancel()
        await j.wait()


@pytest.mark.parametrize("chain", [run_within, open_within])
async def test_chain_in_one_trio_task(chain: Callable[[list[Job]], Awaitable[None]], autojump_clock: MockClock) -> None:
    """It raises RecursionError at whatever depth of the stack it begins, and nothing is left waiting."""
    before = trio.lowlevel.current_statistics().tasks_living
    for frames in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit()):
        jobs: list[Job] = []
        with pytest.raises(RecursionError):
            await below(frames, partial(chain, jobs))
        assert states(jobs) <= {JobState.NEW, JobState.CANCELLED}
        await all_end(jobs)
        assert trio.lowlevel.current_statistics().tasks_living == before
