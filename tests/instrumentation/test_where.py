"""`where`: the line of the user's code in which a task waits, in each place where it may."""

import inspect
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from job import Job, Routines, Task
from job.background import Manager
from job.instrumentation import Where, snapshot
from job.net import relay_task
from job.tasks import every, restart
from tests.journal import done, forever

pytestmark = pytest.mark.usefixtures("autojump_clock")


async def receive_some() -> None:
    """Wait, as a user's own stream would."""
    await trio.sleep_forever()


async def where_of(j: Job[Any], name: str) -> Where | None:
    """Run a job until all of it is parked, and return where the task of that name waits."""
    found: list[Where | None] = []

    async def look() -> None:
        await trio.testing.wait_all_tasks_blocked(0.001)
        tasks = [task for job in walk(snapshot(j)) for task in job.tasks if task.name == name]
        found.extend(task.where for task in tasks)
        j.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        with pytest.raises(Exception, match="the job was cancelled"):
            await j.run()
    assert len(found) == 1
    return found[0]


def walk(shot: Any) -> Any:
    """Give a snapshot and all below it."""
    yield shot
    for child in shot.children:
        yield from walk(child)


def is_line_of(found: Where | None, function: Any, text: str) -> bool:
    """Whether that is the line of the function that holds this text."""
    lines, first = inspect.getsourcelines(function)
    at = [first + number for number, line in enumerate(lines) if text in line]
    return found == Where(__file__, at[0], function.__name__)


async def reads(task: Task) -> None:
    """Wait in a function of the user's that is called by a routine."""
    await receive_some()


async def test_a_function_of_the_users() -> None:
    """The innermost frame counts, not the routine, and not what of trio it calls."""
    j = Job[None]()
    j.add_task(reads)
    assert is_line_of(await where_of(j, "reads"), receive_some, "sleep_forever")


async def test_two_loops_in_one_trio_task() -> None:
    """The one of a shared trio task that has begun to wait is told, and the one that has ended is nowhere."""
    j = Job[None]()
    j.add_oneshot_task(done, name="connect")
    j.add_task(reads)
    assert is_line_of(await where_of(j, "reads"), receive_some, "sleep_forever")


async def test_ended() -> None:
    """A task that has ended waits nowhere."""
    j = Job[None]()
    j.add_oneshot_task(done, name="connect")
    j.add_task(reads)
    assert await where_of(j, "connect") is None


async def test_a_nested_function() -> None:
    """A function within a function is as good."""

    async def outer(task: Task) -> None:
        async def inner() -> None:
            await trio.sleep_forever()

        await inner()

    j = Job[None]()
    j.add_task(outer)
    found = await where_of(j, "outer")
    assert found is not None
    assert found.function == "inner"


async def test_a_nursery_of_its_own() -> None:
    """A task that waits for its own nursery waits where it opened it."""

    async def opens(task: Task) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_some)

    j = Job[None]()
    j.add_task(opens)
    assert is_line_of(await where_of(j, "opens"), opens, "open_nursery")


@pytest.mark.parametrize("part", ["init", "finalize"])
async def test_init_and_finalizer(part: str) -> None:
    """A task is found in its init and in its finalizer, with and without a run of its own."""

    async def run(task: Task) -> None:
        task.job.finish()
        task.done()

    async def waits(task: Task) -> None:
        await trio.sleep(1)

    found: list[Where | None] = []
    j = Job[None]()
    j.add_task(lambda _: Routines(waits, run, None) if part == "init" else Routines(None, run, waits), name="task")

    async def look() -> None:
        await trio.sleep(0.5)
        found.append(snapshot(j).tasks[0].where)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await j.run()
    assert is_line_of(found[0], waits, "sleep")


async def test_an_exit() -> None:
    """A task is found in what it has entered, when that is left."""

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        yield
        await trio.sleep(1)

    async def run(task: Task) -> None:
        await task.enter(resource())
        task.finish_job()

    found: list[Where | None] = []
    j = Job[None]()
    j.add_task(run)

    async def look() -> None:
        await trio.sleep(0.5)
        found.append(snapshot(j).tasks[0].where)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await j.run()
    assert is_line_of(found[0], resource.__wrapped__, "sleep")  # type: ignore[attr-defined]


async def test_a_job_that_it_runs_itself() -> None:
    """It waits where it awaits the job, whose own task waits in its own line, in the same trio task."""

    async def runs(task: Task) -> None:
        child = Job[None](name="child")
        child.add_task(reads)
        await child.run()

    j = Job[None]()
    j.add_task(runs)
    assert is_line_of(await where_of(j, "runs"), runs, "child.run")
    j = Job[None]()
    j.add_task(runs)
    assert is_line_of(await where_of(j, "reads"), receive_some, "sleep_forever")


async def test_an_async_generator() -> None:
    """A generator of the user's is looked into."""

    async def numbers() -> AsyncIterator[int]:
        await trio.sleep_forever()
        yield 1

    async def counts(task: Task) -> None:
        async for _ in numbers():
            task.tick()

    j = Job[None]()
    j.add_task(counts)
    assert is_line_of(await where_of(j, "counts"), numbers, "sleep_forever")


async def test_an_awaitable_of_the_users() -> None:
    """So is a plain generator that an `__await__` has given."""

    class Promise:
        def __await__(self) -> Generator[Any, Any, None]:
            yield from receive_some().__await__()
            return

    async def awaits(task: Task) -> None:
        await Promise()

    j = Job[None]()
    j.add_task(awaits)
    assert is_line_of(await where_of(j, "awaits"), receive_some, "sleep_forever")


async def test_idle_pause() -> None:
    """A task in an idle pause waits in no code of the user's: the caller's of the job does not count."""

    async def idles(task: Task) -> None:
        task.idle()

    j = Job[None]()
    j.add_task(idles)
    found: list[Where | None] = []

    async def look() -> None:
        await trio.sleep(1.01)
        found.append(snapshot(j).tasks[0].where)
        j.finish()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await j.run()
    assert found == [None]


async def test_a_relay() -> None:
    """Nor does a relay."""
    (client, near), (upstream, far) = trio.testing.memory_stream_pair(), trio.testing.memory_stream_pair()
    j = Job[None]()
    j.add_task(relay_task(client, upstream))
    assert await where_of(j, "relay") is None
    assert near
    assert far


async def test_waiting_for_its_turn() -> None:
    """A task that waits for its point in time, or for the others, is in none either."""
    j = Job[None]()
    j.add_task(every(60, reads, immediate=False))
    assert await where_of(j, "reads") is None


async def test_wrapped() -> None:
    """Wrappers of the toolkit are looked through."""
    j = Job[None]()
    j.add_task(restart(reads))
    assert is_line_of(await where_of(j, "reads"), receive_some, "sleep_forever")


async def test_in_the_background() -> None:
    """What a manager runs is found below it."""

    async def runs(task: Task) -> None:
        async with Manager() as background:
            background.run(receive_some)
            await trio.sleep_forever()

    j = Job[None]()
    j.add_task(runs)
    assert is_line_of(await where_of(j, "receive_some"), receive_some, "sleep_forever")


async def test_runs_just_now() -> None:
    """A task that looks at itself waits nowhere."""
    found: list[Where | None] = []

    async def looks(task: Task) -> None:
        found.append(snapshot(task.job).tasks[0].where)
        task.done()

    j = Job[None]()
    j.add_task(looks)
    await j.run()
    assert found == [None]


async def test_not_asked_for() -> None:
    """Without `where` nothing is looked up."""
    j = Job[None]()
    j.add_task(forever)
    async with j:
        await trio.testing.wait_all_tasks_blocked()
        assert snapshot(j, where=False).tasks[0].where is None
        assert snapshot(j).tasks[0].where is not None
