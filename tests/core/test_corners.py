"""Meetings of two rare things: each has a defined outcome."""

import math
import signal
from collections.abc import Generator
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from job import (
    AssertFailedError,
    CauseKind,
    Job,
    JobState,
    Routines,
    StopTimeoutError,
    Task,
    TaskState,
    register_default_logger,
)
from job._core.border import drained
from job.background import Manager
from tests.journal import done, failing, forever, lasting, nothing


async def test_wrapper_that_returns_no_exception() -> None:
    """The original error stands, and what the wrapper gave is named in the errors."""
    error = ValueError("x")
    j = Job[None](error_wrapper=lambda _: 5)  # type: ignore[arg-type,return-value]
    j.add_task(failing(error))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert [type(failure.error) for failure in j.errors] == [ValueError, TypeError]
    assert "5" in str(j.errors[1].error)


async def test_scope_left_open() -> None:
    """A scope that init opened and nobody closed is an error of the finalizer, by name."""
    scope = trio.CancelScope()

    def factory(_: Job[Any]) -> Routines:
        return Routines(lambda task: scope.__enter__() and None, done, None)

    j = Job[None]()
    task = j.add_task(factory)
    with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
        await j.run()
    assert j.verdict is not None
    assert (j.verdict.cause.kind, j.verdict.cause.task) == (CauseKind.FINALIZE, task)


@pytest.mark.parametrize("add", ["add_task", "add_oneshot_task"])
async def test_scope_left_open_by_a_run(add: str, autojump_clock: MockClock) -> None:
    """A scope that a task without init and finalizer leaves open reaches no other task, nor the caller."""
    deadlines = []

    async def leave_open(task: Task) -> None:
        trio.move_on_after(1).__enter__()
        task.done()

    async def look(task: Task) -> None:
        await trio.sleep(2)
        deadlines.append(trio.current_effective_deadline())
        task.done()

    j = Job[None]()
    getattr(j, add)(leave_open)
    j.add_task(look)
    assert await j.run() is JobState.DONE
    assert [*deadlines, trio.current_effective_deadline()] == [math.inf] * 2


def test_factory_that_returns_an_awaitable() -> None:
    """It is told that a factory is a plain function, like one that returns a coroutine."""

    class Later:
        def __await__(self) -> Generator[Any, Any, None]:
            yield

    with pytest.raises(TypeError, match="plain function"):
        Job[None]().add_task(lambda _: Later())


async def test_run_that_returns_something() -> None:
    """What a run returns is of no consequence, as long as it is no routines."""

    async def run(task: Task) -> int:
        task.done()
        return 5

    j = Job[None]()
    task = j.add_task(run)
    await j.run()
    assert task.result is None


async def test_stop_scope_of_an_unrun_job() -> None:
    """Where no job runs there is nothing to wait for: the block is cancelled at once."""
    task = Job[None]().add_task(done)
    with task.cancel_on_stop() as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_factory_that_cancels_its_job() -> None:
    """A task whose own factory cancels the running job is never started, and the job ends."""

    def factory(j: Job[Any]) -> Routines:
        j.cancel(ValueError("no"))
        return Routines(None, forever, None)

    async def adding(task: Task) -> None:
        task.result = task.job.add_task(factory)
        task.done()

    j = Job[None]()
    adder = j.add_task(adding)
    with pytest.raises(ValueError, match="no"):
        await j.run()
    assert adder.result.state is TaskState.CANCELLED


async def test_child_that_starts_while_the_parent_waits_for_another(autojump_clock: MockClock) -> None:
    """At a parent's natural end it is finished like the one that is waited for."""
    parent = Job[None](grace=10)
    first, second = Job[None](parent=parent), Job[None](parent=parent)
    parent.add_task(lasting(1))
    first.add_task(lasting(5, Task.tick))
    second.add_task(forever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        nursery.start_soon(parent.run)
        await trio.sleep(2)
        assert await second.run() is JobState.DONE
    assert second.verdict is not None
    assert second.verdict.cause.kind is CauseKind.PARENT


async def test_shorter_grace_while_a_child_drains(autojump_clock: MockClock) -> None:
    """A second, shorter finish cuts child and parent at its own time."""
    parent = Job[None]()
    child = Job[None](parent=parent)
    parent.add_task(forever)
    child.add_task(forever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parent.run)
        nursery.start_soon(child.run)
        await trio.sleep(1)
        parent.finish(100)
        parent.finish(5)
    assert trio.current_time() == pytest.approx(6)
    assert parent.state is JobState.DONE


async def test_grandparent_whose_time_is_up(autojump_clock: MockClock) -> None:
    """The chain of causes leads from the innermost job to the timeout at the top."""
    inner: list[Job[None]] = []

    def nested(depth: int) -> Job[None]:
        j = Job[None](timeout=1 if depth == 0 else 100, name=f"depth {depth}")
        inner.append(j)

        async def run(task: Task) -> None:
            if depth < 2:
                await nested(depth + 1).run()
            await trio.sleep_forever()

        j.add_task(run)
        return j

    with pytest.raises(TimeoutError):
        await nested(0).run()
    cause = inner[2].verdict and inner[2].verdict.cause
    kinds = []
    while cause is not None:
        kinds.append(cause.kind)
        cause = cause.parent
    assert kinds == [CauseKind.PARENT, CauseKind.PARENT, CauseKind.TIMEOUT]


async def test_stop_timeout_reaches_grandchildren(autojump_clock: MockClock) -> None:
    """When a job's stop budget is over, that of every job below it is over, too."""
    top = Job[None](stop_timeout=3, name="top")
    middle = Job[None](parent=top, name="middle")
    bottom = Job[None](parent=middle, name="bottom")

    async def hang(task: Task) -> None:
        await trio.sleep_forever()

    top.add_task(forever)
    middle.add_task(forever)
    bottom.add_task(lambda _: Routines(nothing, forever, hang))
    async with trio.open_nursery() as nursery:
        for j in (top, middle, bottom):
            await j.run_in_background(nursery)
        top.cancel()
    assert trio.current_time() == pytest.approx(3)
    assert any(isinstance(failure.error, StopTimeoutError) for failure in top.errors)


def test_assertion_says_what_failed() -> None:
    """The text of a failed assertion is its value."""
    assert str(AssertFailedError({"a": 1})) == "assertion failed: {'a': 1}"


def test_ctrl_c_while_the_block_waits_for_finalizers() -> None:
    """It comes out when they have run, bare."""
    journal = []

    async def interrupt() -> None:
        await trio.sleep(1)
        signal.raise_signal(signal.SIGINT)

    async def finalize(task: Task) -> None:
        await trio.sleep(2)
        journal.append("finalized")

    async def main() -> None:
        async with Job[None]() as j:
            j.add_task(lambda _: Routines(nothing, forever, finalize))
            trio.lowlevel.spawn_system_task(interrupt)
            await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert journal == ["finalized"]


async def test_block_that_fails_after_a_finalizer(autojump_clock: MockClock) -> None:
    """The finalizer's error came first and comes out; the block's is added."""
    first, second = ValueError("finalizer"), ValueError("block")
    j = Job[None]()
    j.add_task(lambda _: Routines(nothing, done, failing(first)))
    with pytest.raises(ValueError, match="finalizer"):
        async with j:
            j.finish()
            try:
                await trio.sleep_forever()
            finally:
                raise second
    assert [failure.error for failure in j.errors] == [first, second]


def test_repr() -> None:
    """It says who the job is and where it stands."""
    j = Job[None](name="reader")
    assert repr(j) == f"<Job {j.id} 'reader' new, 0 tasks>"


async def test_drain_of_an_ended_job() -> None:
    """There is nothing to wait for."""
    j = Job[None]()
    j.finish()
    await drained(j)
    assert j.state is JobState.DONE


async def test_stall_that_nobody_observes(autojump_clock: MockClock) -> None:
    """It is logged all the same."""
    heard: list[str] = []
    register_default_logger({0: lambda event, fields: heard.append(event)})
    async with Manager[None](stalled_after=10) as bg:
        bg.run(trio.sleep, 15)
    assert heard == ["task.stalled"]


async def test_await_that_trio_does_not_know() -> None:
    """An awaitable that yields what is no business of trio's ends its task with a TypeError, thrown in where it waits."""
    heard = []

    class Foreign:
        def __await__(self) -> Generator[str, None, None]:
            yield "what is this?"

    async def run(task: Task) -> None:
        try:
            await Foreign()
        except TypeError as error:
            heard.append(error)
            raise

    j = Job[None]()
    j.add_task(run)
    with pytest.raises(TypeError, match="unrecognized yield message") as raised:
        await j.run()
    assert heard == [raised.value]
