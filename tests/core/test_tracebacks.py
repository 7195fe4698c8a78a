"""The traceback of user code begins with user code, and hides nothing of it."""

import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Job, MissingStepError, Phase, StopPolicy, Task, TaskFailed
from job.background import Manager
from job.futures import open_futures
from job.tasks import Retry, every, once, restart, retry
from job.testing import Recorder
from tests.journal import done


class FaultError(Exception):
    """The user's."""


async def fail(*_: object) -> None:
    """Fail two calls deep."""
    await deeper()


async def deeper() -> None:
    """Fail after a checkpoint."""
    await trio.lowlevel.checkpoint()
    raise FaultError


def frames(error: BaseException) -> list[str]:
    """Return the functions that a traceback names."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


async def failures_of(form: object, **options: Any) -> list[tuple[Phase | None, list[str]]]:
    """Run a task and give the phase and the frames of each of its errors."""
    heard = Recorder()
    j = Job(observers=[heard], quiet=[Exception])
    j.add_task(form, policy=StopPolicy.CONTAIN, **options)
    await j.run()
    return [(event.error.phase, frames(event.error.error)) for event in heard.of(TaskFailed)]


@pytest.mark.parametrize(
    "form",
    [
        fail,
        lambda j: (None, fail, None),
        once(fail),
        retry(fail, attempts=1),
        retry(fail, attempts=3),
        restart(fail, max_restarts=1),
        every(1, retry(fail, attempts=2)),
    ],
    ids=range(7),
)
async def test_run(form: object, autojump_clock: MockClock) -> None:
    """Whatever is wrapped around a run, and however often it fails."""
    found = await failures_of(form)
    assert found == [(Phase.RUN, ["fail", "deeper"])] * len(found)
    assert found


@pytest.mark.parametrize("phase", Phase)
async def test_phases(phase: Phase, autojump_clock: MockClock) -> None:
    """So it is in init and finalizer."""
    routines = {Phase.INIT: None, Phase.RUN: done, Phase.FINALIZE: None, phase: fail}
    assert await failures_of(lambda j: tuple(routines.values())) == [(phase, ["fail", "deeper"])]


async def test_what_comes_out_of_run(autojump_clock: MockClock) -> None:
    """Between the caller's frames and those of the routine there are two: of `run`, and of what raises."""
    j = Job()
    j.add_task(fail)
    with pytest.raises(FaultError) as raised:
        await j.run()
    assert frames(raised.value)[0] == "test_what_comes_out_of_run"
    assert frames(raised.value)[-2:] == ["fail", "deeper"]
    assert len(frames(raised.value)) <= 5


async def test_background_work(autojump_clock: MockClock) -> None:
    """The frames of a manager are the engine's, too."""
    heard = Recorder()
    async with Manager(observers=[heard], quiet=[Exception], retry=Retry(2)) as bg:
        bg.run(fail)
        bg.loop(fail, pause=10)
        await trio.sleep(15)
    found = [frames(event.error.error) for event in heard.of(TaskFailed)]
    assert found == [["fail", "deeper"]] * 6


async def test_future(autojump_clock: MockClock) -> None:
    """An awaited error shows who awaited it, and where it came from."""
    async with open_futures() as submit:
        future = submit(fail)
        with pytest.raises(FaultError) as raised:
            await future
    assert frames(raised.value)[-2:] == ["fail", "deeper"]


async def test_job_in_a_job(autojump_clock: MockClock) -> None:
    """Of an error that comes through a job inside, what lies behind the user's first frame stays."""

    async def outer(task: Task) -> None:
        inner = Job()
        inner.add_task(fail)
        await inner.run()

    ((_, found),) = await failures_of(outer)
    assert found[0] == "outer"
    assert found[-2:] == ["fail", "deeper"]


async def test_assertion(autojump_clock: MockClock) -> None:
    """It shows the line that asserts, and how that failed."""

    async def check(task: Task) -> None:
        task.assert_true(False, "no")

    assert await failures_of(check) == [(Phase.RUN, ["check", "assert_true", "_fail_with"])]


async def test_exit(autojump_clock: MockClock) -> None:
    """An exit that fails shows its own lines."""

    @asynccontextmanager
    async def resource() -> Any:
        yield
        await fail()

    async def init(task: Task) -> None:
        await task.enter(resource())

    ((phase, found),) = await failures_of(lambda j: (init, done, None))
    assert phase is Phase.FINALIZE
    assert found[-3:] == ["resource", "fail", "deeper"]


async def test_error_of_the_engine(autojump_clock: MockClock) -> None:
    """One that no line of the user's has raised is left as it is."""
    heard = Recorder()

    async def run(task: Task) -> None: ...

    j = Job(observers=[heard], quiet=[Exception])
    j.add_task(run, policy=StopPolicy.CONTAIN)
    await j.run()
    (event,) = heard.of(TaskFailed)
    assert isinstance(event.error.error, MissingStepError)
    assert frames(event.error.error)[-1] == "run_loop"


async def test_frozen_error(autojump_clock: MockClock) -> None:
    """One that cannot be written to has its traceback cut all the same."""

    @dataclass(frozen=True)
    class FrozenError(Exception):
        code: int

    async def run(task: Task) -> None:
        raise FrozenError(7)

    assert await failures_of(run) == [(Phase.RUN, ["run"])]


async def test_group(autojump_clock: MockClock) -> None:
    """A group begins at the user's nursery."""

    async def run(task: Task) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    ((_, found),) = await failures_of(run)
    assert found[0] == "run"
