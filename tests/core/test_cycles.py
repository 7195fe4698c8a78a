"""A job that has ended dies by reference count: it leaves nothing to the garbage collector, however it ended."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import job
from job import Job, Task
from job.background import Manager
from job.futures import open_futures
from tests.journal import done, forever


def of(*forms: object, idle_timeout: float | None = None, **options: Any) -> Job[None]:
    """Return a job of these tasks, which nothing but its run is going to hold."""
    j = Job[None](**options)
    j.register_logger({0: lambda event, fields: None}, level=2)
    for form in forms:
        j.add_task(form, idle_timeout=idle_timeout)
    return j


async def no_step(task: Task) -> None:
    """Return without a step."""


async def cancelling(task: Task) -> None:
    """Cancel the job."""
    task.job.cancel()
    await trio.sleep(1)


async def good_end() -> None:
    """End by itself."""
    await of(done, lambda j: (done, done, done), done).run()


async def finish() -> None:
    """End with the block."""
    async with of(forever, lambda j: (done, forever, done)):
        pass


async def cancel() -> None:
    """End by a cancel from inside."""
    with suppress(job.JobCancelledError):
        await of(cancelling).run()


async def timeout() -> None:
    """End by the job's timeout."""
    with suppress(job.JobTimeoutError):
        await of(forever, timeout=1).run()


async def idle() -> None:
    """End by an idle timeout."""
    with suppress(job.IdleTimeoutError):
        await of(forever, idle_timeout=1).run()


async def missing_step() -> None:
    """End by a run that takes no step."""
    with suppress(job.MissingStepError):
        await of(no_step).run()


async def finalizer_overruns() -> None:
    """End by a finalizer that takes too long."""
    with suppress(job.FinalizeTimeoutError):
        await of(lambda j: (None, done, forever), finalize_timeout=1).run()


async def outer_scope() -> None:
    """End by a scope around it."""
    with trio.move_on_after(1):
        await of(forever).run()


async def contained() -> None:
    """Fail where nothing is raised."""
    async with trio.open_nursery() as nursery:
        await of(forever, timeout=1).run_in_background(nursery)


async def block_fails() -> None:
    """End by an error of its block."""
    with suppress(KeyError):
        async with of(forever):
            raise KeyError


async def manager() -> None:
    """End as a manager does."""
    async with Manager() as bg:
        bg.run(trio.sleep, 1)


async def futures() -> None:
    """End as a block of futures does."""
    async with open_futures() as submit:
        await submit(trio.sleep, 1)


async def nested() -> None:
    """End with a child inside."""

    async def run(task: Task) -> None:
        await of(done).run()
        task.done()

    await of(run).run()


WAYS = [
    good_end,
    finish,
    cancel,
    timeout,
    idle,
    missing_step,
    finalizer_overruns,
    outer_scope,
    contained,
    block_fails,
    manager,
    futures,
    nested,
]


@pytest.fixture
def collector() -> Iterator[None]:
    """Let the garbage collector alone for the length of a test."""
    gc.collect()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left(way: Callable[[], Awaitable[None]], autojump_clock: MockClock) -> None:
    """The end of a job leaves no cycle, its failures included that are the framework's own making."""
    await way()
    gc.collect()
    await way()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = Counter(type(left).__name__ for left in gc.garbage)
    assert found == Counter()


async def test_a_task_holds_its_ended_job_weakly() -> None:
    """A task may outlive its job, and says so when it is asked for it."""
    j = of(done)
    task = j.tasks[0]
    await j.run()
    assert task.job is j
    del j
    with pytest.raises(job.JobStateError, match="nothing holds it any more"):
        assert task.job


async def test_a_transient_task_holds_its_job_weakly(autojump_clock: MockClock) -> None:
    """So does one that its job has forgotten."""
    j = of(keep_open=True)
    async with j:
        task = j.add_task(done, policy=job.StopPolicy.CONTAIN, transient=True)
        await trio.sleep(1)
        assert task.job is j
    del j
    with pytest.raises(job.JobStateError):
        assert task.job
