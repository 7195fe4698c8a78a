"""Groups of errors: what holds for an error holds for a group of nothing else, wherever a type decides."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Job, StopPolicy, Task
from job._core.words.groups import holds_for, leaves
from job.background import Manager
from job.tasks import Retry, retry

RESET = ConnectionResetError("reset")
OTHER = ValueError("other")


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    """Return a group of errors."""
    return BaseExceptionGroup("group", errors)


@pytest.mark.parametrize(
    ("error", "holds"),
    [
        (RESET, True),
        (OTHER, False),
        (group(RESET), True),
        (group(RESET, group(RESET, group(RESET))), True),
        (group(RESET, OTHER), False),
        (group(RESET, group(group(OTHER))), False),
        (group(RESET, KeyboardInterrupt()), False),
    ],
)
def test_holds_for(error: BaseException, holds: bool) -> None:
    """A group is of a type if all that is in it is."""
    assert holds_for(OSError, error) is holds
    assert holds_for((KeyError, OSError), error) is holds


def test_group_by_its_own_type() -> None:
    """Who names the type of the group means all of them."""
    assert holds_for(ExceptionGroup, group(OTHER))


def test_group_that_is_deeper_than_the_stack() -> None:
    """No depth is too deep."""
    error: BaseException = RESET
    for _ in range(10_000):
        error = group(error)
    assert list(leaves(error)) == [RESET]


def test_group_that_holds_itself_many_times() -> None:
    """Sixty groups, each of which holds the one before it twice, are looked at sixty times and not 2**60 times."""
    error: BaseException = RESET
    for _ in range(60):
        error = group(error, error)
    assert holds_for(OSError, error)


async def fail(error: BaseException) -> None:
    """Fail in a nursery of its own, as code that does two things at once does."""
    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        inner.start_soon(reject, error)
        outer.start_soon(trio.sleep_forever)


async def reject(error: BaseException) -> None:
    """Raise it."""
    raise error


async def calls_of(start: Callable[[Callable[..., Any]], Any], error: BaseException) -> int:
    """Count how often a function that fails in a group is called."""
    calls = 0

    async def work(*_: object) -> None:
        nonlocal calls
        calls += 1
        await fail(error)

    await start(work)
    return calls


async def by_retry(work: Callable[..., Any]) -> None:
    """Run it as a task."""
    j = Job()
    j.add_task(retry(work, attempts=3, on=OSError), policy=StopPolicy.CONTAIN)
    await j.run()


async def by_manager(work: Callable[..., Any]) -> None:
    """Run it in the background."""
    async with Manager(retry=Retry(3, on=(OSError,))) as bg:
        bg.run(work)


@pytest.mark.parametrize("start", [by_retry, by_manager])
@pytest.mark.parametrize(("error", "calls"), [(RESET, 3), (OTHER, 1)])
async def test_retry(
    start: Callable[[Callable[..., Any]], Any],
    error: BaseException,
    calls: int,
    autojump_clock: MockClock,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A call is made again for a group of what it is to be made again for."""
    assert await calls_of(start, error) == calls
    capfd.readouterr()


@pytest.mark.parametrize(("error", "levels"), [(RESET, [1, 1]), (OTHER, [0, 0])])
async def test_quiet(error: BaseException, levels: list[int], autojump_clock: MockClock) -> None:
    """A group of what is no news is no news, where the failure is survived and at the end."""
    heard: list[int] = []
    j = Job(quiet=(OSError,))
    handlers = {level: lambda event, fields, level=level: heard.append(level) for level in (0, 1)}
    j.register_logger(handlers, level=1)

    async def run(task: Task) -> None:
        await fail(error)

    j.add_task(run, policy=StopPolicy.CONTAIN)
    await j.run()
    assert heard == levels
