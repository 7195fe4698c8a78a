"""One rich job, struck at each of its steps in turn: the guarantees hold wherever it is hit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import job
from job import StopPolicy
from job.testing import Ask, Entry, cancel_at_each_checkpoint, check_trace


@asynccontextmanager
async def resource() -> AsyncIterator[None]:
    """Something that takes a checkpoint to set up and one to tear down."""
    await trio.lowlevel.checkpoint()
    try:
        yield
    finally:
        await trio.lowlevel.checkpoint()


def connect(j: job.Job[Any]) -> job.Routines:
    """Put something in the value."""

    async def init(task: job.Task) -> None:
        await task.enter(resource())

    async def run(task: job.Task) -> None:
        await trio.sleep(0.1)
        j.value = "connected"
        task.done()

    async def finalize(task: job.Task) -> None:
        await trio.lowlevel.checkpoint()

    return job.Routines(init, run, finalize)


def work(j: job.Job[Any]) -> job.Routines:
    """Tick, idle, and be done, with a nursery from init to finalize."""
    nursery_manager = trio.open_nursery()

    async def init(task: job.Task) -> None:
        nursery = await nursery_manager.__aenter__()
        nursery.start_soon(trio.sleep, 0.3)

    async def run(task: job.Task) -> None:
        await trio.sleep(0.1)
        if task.steps == 3:
            return task.done()
        return task.idle() if task.steps % 2 else task.tick()

    async def finalize(task: job.Task) -> None:
        await nursery_manager.__aexit__(None, None, None)
        await trio.sleep(0.1)

    return job.Routines(init, run, finalize)


async def chat(task: job.Task) -> None:
    """Run a job inside of the job."""
    child = job.Job[Any](name="child")
    child.add_oneshot_task(connect)
    child.add_task(passing)
    await child.run()
    task.done()


async def passing(task: job.Task) -> None:
    """Tick once or twice."""
    if task.steps == 2:
        task.done()
    else:
        await trio.lowlevel.checkpoint()
        task.tick()


def build() -> job.Job[Any]:
    """A job with one of everything."""
    j = job.Job[Any](name="rich", grace=0.15, timeout=60)
    j.add_oneshot_task(connect)
    j.add_task(work)
    j.add_task(chat)
    j.add_task(passing, policy=StopPolicy.CONTAIN, transient=True)
    j.add_task(passing, name="watched", idle_timeout=5)
    return j


@pytest.mark.parametrize("entry", Entry)
@pytest.mark.parametrize("by", Ask)
def test_struck_at_each_step(by: Ask, entry: Entry) -> None:
    """Cancelled, finished or struck from outside at any step, in any way of running: the guarantees hold."""
    steps = 0
    for struck in cancel_at_each_checkpoint(build, by=by, entry=entry, block=0.5):
        steps = struck.step
        for trace in struck.traces:
            check_trace(trace)
    assert steps > 20


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by", [Ask.OUTER, Ask.CANCEL])
def test_in_other_orders(by: Ask, seed: int) -> None:
    """The same with trio's tasks taking their turns in other orders."""
    for struck in cancel_at_each_checkpoint(build, by=by, seed=seed + 1):
        for trace in struck.traces:
            check_trace(trace)


def test_empty_job() -> None:
    """A job without tasks has few moments to be struck, but it has some."""
    for struck in cancel_at_each_checkpoint(job.Job[Any]):
        check_trace(struck.traces[0])
