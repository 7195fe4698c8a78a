"""What lies around a finalizer: it is shielded and bounded, and what the routines have opened lies inside of that."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from job import FinalizeTimeoutError, Job, Routines, StopPolicy, Task
from tests.journal import done, forever, nothing

ENDS: dict[str, Callable[[Job[None]], None]] = {
    "by itself": lambda j: None,
    "finish": lambda j: j.finish(),
    "cancel": lambda j: j.cancel(),
}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))


async def run_to(end: Callable[[Job[None]], None], j: Job[None]) -> None:
    """Run a job whose tasks go on until it is ended, and let it fail."""
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        end(j)


def holding(task: Task) -> trio.CancelScope:
    """Open a scope, as an `async with` in init and its end in the finalizer would."""
    task.meta = trio.CancelScope()
    task.meta.__enter__()
    return task.meta


@every_end
async def test_finalizer_cancels_what_is_around_the_job(
    end: Callable[[Job[None]], None], autojump_clock: MockClock
) -> None:
    """It goes on, at a wait that only looks whether it is cancelled, and at one that takes time."""
    went_on = []

    async def finalize(task: Task) -> None:
        outer.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        await trio.sleep(1)
        went_on.append(trio.current_time())

    j = Job[None]()
    j.add_task(lambda j: Routines(None, done if end is ENDS["by itself"] else forever, finalize))
    with trio.CancelScope() as outer:
        await run_to(end, j)
    assert went_on == [1 if end is ENDS["by itself"] else 2]


@every_end
@pytest.mark.parametrize(("own", "ends"), [(1, 1), (9, 3)])
async def test_first_wait_inside_of_a_scope_of_its_own(
    own: float, ends: float, end: Callable[[Job[None]], None], autojump_clock: MockClock
) -> None:
    """Its own limit holds where that is the shorter one, else the job's."""
    took = []

    async def finalize(task: Task) -> None:
        began = trio.current_time()
        try:
            with trio.move_on_after(own):
                await trio.sleep_forever()
        finally:
            took.append(trio.current_time() - began)

    j = Job[None](finalize_timeout=3)
    j.add_task(lambda j: Routines(None, done if end is ENDS["by itself"] else forever, finalize))
    await run_to(end, j)
    assert took == [ends]
    assert [type(each.error) for each in j.errors if each.phase] == ([FinalizeTimeoutError] if own > ends else [])


@every_end
async def test_scopes_left_open_for_the_finalizer(end: Callable[[Job[None]], None], autojump_clock: MockClock) -> None:
    """Those of init and run lie inside of what bounds it: they can be closed in order, after a wait."""

    async def init(task: Task) -> None:
        holding(task)

    async def finalize(task: Task) -> None:
        with trio.CancelScope():
            await trio.sleep(1)
        task.meta.__exit__(None, None, None)
        await trio.sleep(1)

    j = Job[None]()
    j.add_task(lambda j: Routines(init, done if end is ENDS["by itself"] else forever, finalize))
    j.add_task(lambda j: Routines(init, done, finalize), policy=StopPolicy.CONTAIN, idle_timeout=5)
    await run_to(end, j)
    assert [each.error for each in j.errors if each.phase] == []


@pytest.mark.parametrize("waits", [False, True])
async def test_scope_that_nobody_closes(*, waits: bool, autojump_clock: MockClock) -> None:
    """It is named as an error of the task, whether or not its finalizer waits."""

    async def init(task: Task) -> None:
        holding(task)

    async def finalize(task: Task) -> None:
        if waits:
            await trio.sleep(1)

    j = Job[None]()
    task = j.add_task(lambda j: Routines(init, done, finalize))
    with pytest.raises(RuntimeError, match="scope stack corrupted"):
        await j.run()
    assert j.interrupted_by[0] is task


async def test_overrun_leaves_what_others_have_opened(autojump_clock: MockClock) -> None:
    """Where one finalizer overruns, the nursery that another task's init has opened goes on until its own turn."""
    stopped_at = []

    async def write() -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopped_at.append(trio.current_time())

    @asynccontextmanager
    async def writing() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            yield
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    async def init(task: Task) -> None:
        await task.enter(writing())

    j = Job[None](finalize_timeout=2)
    j.add_task(lambda j: Routines(init, done, None))
    late = j.add_task(lambda j: Routines(nothing, done, forever))
    with pytest.raises(FinalizeTimeoutError):
        await j.run()
    assert (stopped_at, j.interrupted_by[0]) == ([3], late)
