"""`watch_loop`: a warning where a step holds up the loop, or a task spins."""

import time
from typing import Any

import pytest
import trio
import trio.lowlevel

from job import Job, Task
from job.instrumentation import watch_loop
from tests.journal import done, forever

Record = tuple[str, dict[str, Any]]


def watched(records: list[Record], **limits: float) -> Job[None]:
    """Return a job with a watch, which writes its warnings down."""
    j = Job[None](name="watched")
    j.register_logger({0: lambda event, fields: records.append((event, dict(fields)))}, level=0)
    j.add_task(watch_loop(**limits))
    return j


def run_watched(run: Any, **limits: float) -> list[Record]:
    """Run a job of this task beside a watch, and return its warnings."""
    records: list[Record] = []
    j = watched(records, **limits)
    j.add_task(run)
    trio.run(j.run)
    return records


def work(seconds: float) -> None:
    """Hold the loop."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def blocks(task: Task) -> None:
    """Hold the loop, twice."""
    work(0.4)
    if task.steps:
        task.done()
    else:
        task.tick()
        await trio.lowlevel.checkpoint()


def test_a_step_that_blocks() -> None:
    """It is one warning, while it blocks, with job, task and stack; and the next step is another."""
    (event, fields), (again, _) = run_watched(blocks, blocked_after=0.1)
    assert (event, again, fields["job"], fields["task"]) == ("loop.blocked", "loop.blocked", "watched", "blocks")
    assert 0.1 <= fields["seconds"] < 0.4
    assert any(line.startswith(f"blocks at {__file__}:") for line in fields["stack"])


def test_a_loop_that_is_not_blocked() -> None:
    """A loop that waits or works in short steps is nothing to warn of."""

    async def waits(task: Task) -> None:
        await trio.sleep(0.01)
        if task.steps > 20:
            task.done()
        else:
            task.tick()

    assert run_watched(waits, blocked_after=0.15, spinning_for=0.05) == []


def test_a_task_that_spins() -> None:
    """It is one warning, that names the task."""
    started_at = time.monotonic()

    async def spins(task: Task) -> None:
        if time.monotonic() - started_at > 0.5:
            task.done()
        else:
            task.tick()

    ((event, fields),) = run_watched(spins, blocked_after=5, spinning_for=0.1)
    assert (event, fields["task"]) == ("task.spinning", "spins")
    assert fields["seconds"] >= 0.1


def test_a_task_that_suspends_now_and_then() -> None:
    """A task that works a lot, and waits in between, does not spin."""
    started_at = time.monotonic()

    async def works(task: Task) -> None:
        work(0.003)
        if task.steps % 4 == 0:
            await trio.sleep(0.001)
        if time.monotonic() - started_at > 0.4:
            task.done()
        else:
            task.tick()

    assert run_watched(works, blocked_after=5, spinning_for=0.15) == []


async def test_it_holds_up_no_job() -> None:
    """A job with nothing else to do ends."""
    j = Job[None]()
    j.add_task(watch_loop())
    await j.run()


async def test_code_of_no_job() -> None:
    """A step of a trio task that is no job's is told by its own name."""
    records: list[Record] = []
    j = watched(records, blocked_after=0.05)
    j.add_task(forever)

    async def bare() -> None:
        work(0.2)

    async with trio.open_nursery() as nursery, j:
        nursery.start_soon(bare, name="bare")
        await trio.sleep(0.01)
    assert [(event, fields["trio_task"]) for event, fields in records] == [("loop.blocked", "bare")]


async def test_two_at_once() -> None:
    """Two watches, that end as they please, are no trouble to each other."""
    first, second = Job[None](keep_open=True), Job[None](keep_open=True)
    first.add_task(watch_loop())
    second.add_task(watch_loop())
    async with first, second:
        first.finish()
        await first.wait()


def test_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread to give, the program runs all the same."""

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", fail)
    assert run_watched(done) == []


@pytest.mark.parametrize("name", ["blocked_after", "spinning_for"])
def test_wrong_limits(name: str) -> None:
    """A limit must be a time."""
    with pytest.raises(ValueError, match=f"{name} must be more than 0 seconds, got 0"):
        watch_loop(**{name: 0})
