"""An ended job leaves nothing behind: no trio task, no timer, no scope, and nobody keeps it alive."""

import gc
import math
import weakref
from collections.abc import Callable
from contextvars import ContextVar

import pytest
import trio
from trio.testing import MockClock

from job import IdleClock, Job, JobState, StopPolicy, Task
from tests.journal import Journal, done, each_second, failing, forever, lasting


def natural(j: Job) -> None:
    """Let the job end by itself."""
    j.add_oneshot_task(Journal().task("one"))
    j.add_task(Journal().task("a"))
    j.add_task(done, idle_timeout=100)


def finished(j: Job) -> None:
    """Let the job be finished within its grace."""
    j.add_task(lasting(1, lambda task: task.finish_job(50)))
    j.add_task(each_second, idle_timeout=100)
    j.add_task(Journal().task("a", run=each_second))


def cut(j: Job) -> None:
    """Let the job be cut."""
    j.add_task(lasting(1, Task.finish_job))
    j.add_task(forever, idle_timeout=100)


def failed(j: Job) -> None:
    """Let the job fail."""
    j.add_task(failing(ValueError("x"), after=1))
    j.add_task(Journal().task("a", run=forever, finalize=failing(KeyError("y"))))
    j.add_task(forever, idle_timeout=100)


def contained(j: Job) -> None:
    """Let a part of the job fail."""
    j.add_task(failing(ValueError("x"), after=1), policy=StopPolicy.CONTAIN)
    j.add_task(failing(ValueError("x"), after=1), policy=StopPolicy.CONTAIN, transient=True)
    j.add_task(lasting(3))


def timed_out(j: Job) -> None:
    """Let the job run into its timeout."""
    j.add_task(forever)


every_end = pytest.mark.parametrize("build", [natural, finished, cut, failed, contained, timed_out])


@every_end
async def test_no_trio_task_and_no_timer(build: Callable[[Job], None], autojump_clock: MockClock) -> None:
    """When wait returns no trio task and no deadline of the job is left."""
    before = trio.lowlevel.current_statistics()
    j = Job[None](timeout=200)
    build(j)
    seen = []

    async def wait() -> None:
        await j.wait()
        seen.append(trio.lowlevel.current_statistics())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await j.run_in_background(nursery)
    assert seen[0].tasks_living == before.tasks_living + 1
    assert seen[0].seconds_to_next_deadline == math.inf


@every_end
async def test_no_trio_task_after_run(build: Callable[[Job], None], autojump_clock: MockClock) -> None:
    """The same when run returns or raises."""
    before = trio.lowlevel.current_statistics()
    j = Job[None](timeout=200)
    build(j)
    try:
        await j.run()
    except Exception:
        assert j.state is JobState.CANCELLED
    after = trio.lowlevel.current_statistics()
    assert after.tasks_living == before.tasks_living
    assert after.seconds_to_next_deadline == math.inf


@every_end
async def test_nothing_keeps_it_alive(build: Callable[[Job], None], autojump_clock: MockClock) -> None:
    """An ended job that nobody holds is gone; what its tasks had spawned may live on."""

    async def live() -> list[weakref.ref[object]]:
        j = Job[None](timeout=200)
        build(j)
        refs: list[weakref.ref[object]] = [weakref.ref(j), *(weakref.ref(task) for task in j.tasks)]
        async with trio.open_nursery() as nursery:
            await j.run_in_background(nursery)
        return refs

    refs = await live()
    gc.collect()
    assert [ref() for ref in refs] == [None] * len(refs)


async def test_context_of_a_survivor_does_not_keep_it(autojump_clock: MockClock) -> None:
    """A trio task that a routine has spawned elsewhere, and that outlives the job, does not keep it alive."""
    async with trio.open_nursery() as nursery:

        async def run(task: Task) -> None:
            nursery.start_soon(trio.sleep, 100)
            task.done()

        async def live() -> weakref.ref[Job[None]]:
            j = Job[None]()
            j.add_task(run)
            await j.run()
            return weakref.ref(j)

        ref = await live()
        gc.collect()
        assert ref() is None
        nursery.cancel_scope.cancel()


async def test_job_does_not_keep_the_context_of_a_task_that_is_over(autojump_clock: MockClock) -> None:
    """What a task has set in its context is gone with it, though the job runs on."""

    class Connection: ...

    variable: ContextVar[Connection] = ContextVar("variable")
    refs = []

    async def run(task: Task) -> None:
        variable.set(Connection())
        refs.append(weakref.ref(variable.get()))
        await trio.sleep(1)
        task.done()

    j = Job[None](keep_open=True)
    j.add_task(run)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(2)
        gc.collect()
        assert [ref() for ref in refs] == [None]
        j.finish()


async def test_shared_clock_does_not_keep_it(autojump_clock: MockClock) -> None:
    """Nor does an idle clock that outlives the job."""
    clock = IdleClock(10)

    async def live() -> weakref.ref[Job[None]]:
        j = Job[None]()
        j.add_task(lasting(1), idle_timeout=clock)
        await j.run()
        return weakref.ref(j)

    ref = await live()
    gc.collect()
    assert ref() is None


async def test_parent_does_not_keep_it(autojump_clock: MockClock) -> None:
    """Nor does a parent that goes on."""
    parent = Job[None](keep_open=True)

    async def live() -> weakref.ref[Job[None]]:
        child = Job[None](parent=parent)
        child.add_task(done)
        await child.run()
        return weakref.ref(child)

    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        ref = await live()
        gc.collect()
        assert ref() is None
        assert parent.statistics().children == 0
        parent.finish()


async def test_job_never_run_is_gone() -> None:
    """A job that was built and forgotten is gone as well."""
    j = Job[None]()
    j.add_task(done)
    ref = weakref.ref(j)
    del j
    gc.collect()
    assert ref() is None


async def test_no_leftovers_of_a_block(autojump_clock: MockClock) -> None:
    """When an `async with` is left nothing of the job is left."""
    before = trio.lowlevel.current_statistics()
    async with Job[None](timeout=200) as j:
        j.add_task(forever, idle_timeout=100)
        await trio.sleep(1)
    after = trio.lowlevel.current_statistics()
    assert after.tasks_living == before.tasks_living
    assert after.seconds_to_next_deadline == math.inf


async def test_ended_jobs_scope_is_closed(autojump_clock: MockClock) -> None:
    """A stop that comes after the end cancels nothing around the caller."""
    j = Job[None]()
    j.add_task(done)
    await j.run()
    j.cancel()
    j.finish()
    await trio.sleep(1)
    assert trio.current_effective_deadline() == math.inf
