"""Errors that cannot be written to, that take no note, or that Python rewrites in generators come out as themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Job, StopPolicy
from job.futures import open_futures
from job.tasks import force_stop, restart, retry
from tests.journal import failing, forever, lasting


@dataclass(frozen=True)
class FrozenError(Exception):
    """An error that cannot be written to."""

    code: int = 1


class BareError(Exception):
    """An error that takes no note."""

    add_note = None  # type: ignore[assignment]


every_odd_error = pytest.mark.parametrize("kind", [FrozenError, BareError, StopAsyncIteration])

WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "run": lambda run: run,
    "retry": lambda run: retry(run, attempts=2),
    "restart": lambda run: restart(run, wait=0, max_restarts=1),
    "force_stop": lambda run: force_stop(run, after=1),
}


@every_odd_error
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
async def test_out_of_a_run(wrap: Callable[[Any], Any], kind: type[Exception], autojump_clock: MockClock) -> None:
    """A job raises it, the same object, whatever lies around the run."""
    error = kind()

    j = Job()
    j.add_task(wrap(failing(error, after=1)), policy=StopPolicy.STOP_GROUP)
    with pytest.raises(kind) as caught:
        await j.run()
    assert caught.value is error


@every_odd_error
async def test_out_of_a_block(kind: type[Exception], autojump_clock: MockClock) -> None:
    """What the block of a job raises comes out, the same object."""
    error = kind()
    with pytest.raises(kind) as caught:
        async with Job():
            raise error
    assert caught.value is error


async def test_out_of_a_job_into_its_block(autojump_clock: MockClock) -> None:
    """A task's StopAsyncIteration comes out of `async with` as it does from run."""
    j, error = Job(), StopAsyncIteration()
    j.add_task(failing(error, after=1))
    with pytest.raises(StopAsyncIteration) as caught:
        async with j:
            await trio.sleep_forever()
    assert caught.value is error


@every_odd_error
async def test_given_by_the_error_wrapper(kind: type[Exception], autojump_clock: MockClock) -> None:
    """So does what an error was mapped to, from a run and from a block."""
    mapped = kind()

    def build() -> Job:
        j = Job(error_wrapper=lambda error: mapped)
        j.add_task(failing(ValueError("x"), after=1))
        return j

    with pytest.raises(kind) as caught:
        await build().run()
    assert caught.value is mapped
    with pytest.raises(kind):
        async with build():
            await trio.sleep_forever()


@every_odd_error
async def test_awaited(kind: type[Exception], autojump_clock: MockClock) -> None:
    """A future raises it to whom awaits it."""
    error = kind()

    async def bad() -> None:
        raise error

    async with open_futures() as submit:
        future = submit(bad)
        with pytest.raises(kind) as caught:
            await future
    assert caught.value is error


async def test_out_of_a_block_of_a_task(autojump_clock: MockClock) -> None:
    """What is raised in a block of the framework's within a routine comes out of it, and through it."""
    error = StopAsyncIteration()

    async def run(task: Any) -> None:
        with task.busy(), task.cancel_on_stop():
            raise error

    j = Job()
    j.add_task(run)
    with pytest.raises(StopAsyncIteration) as caught:
        await j.run()
    assert caught.value is error


async def test_note_stands_once(autojump_clock: MockClock) -> None:
    """One error that many jobs raise, as that of a pool which is down, does not grow by a note each time."""
    down = ConnectionError("the pool is down")
    for _ in range(50):
        j = Job(name="conn")
        j.add_task(failing(down))
        with pytest.raises(ConnectionError):
            await j.run()
    assert len(down.__notes__) == 1


async def test_note_names_job_and_task(autojump_clock: MockClock) -> None:
    """An ordinary error says by a note which job and task raised it."""
    j = Job(name="client")
    j.add_task(failing(ValueError("x")), name="read")
    j.add_task(forever)
    j.add_task(lasting(9))
    with pytest.raises(ValueError, match="x") as caught:
        await j.run()
    assert "client" in caught.value.__notes__[0]
    assert "read" in caught.value.__notes__[0]
