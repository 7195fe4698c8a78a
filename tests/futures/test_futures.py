"""`job.futures`: functions that run beside the code that submits them, and what becomes of their results."""

import gc
import traceback
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Job, JobCancelledError, JobState, JobStateError, Task, current_task, register_default_logger
from job.futures import Future, FutureStatus, Submit, open_futures
from job.testing import Ask, cancel_at_each_checkpoint, check_trace

PENDING, FINISHED, FAILED, CANCELLED = FutureStatus


async def after(seconds: float, value: Any = None) -> Any:
    """Return a value after some seconds."""
    await trio.sleep(seconds)
    return value


async def fail(error: BaseException, seconds: float = 1) -> None:
    """Raise an error after some seconds."""
    await trio.sleep(seconds)
    raise error


async def uncalled() -> None:
    """Stand where nothing may be called."""
    raise AssertionError("called after all")


class Warnings(list[str]):
    """A log that keeps the events that it hears at level 0."""

    def __init__(self) -> None:
        super().__init__()
        register_default_logger({0: lambda event, _: self.append(event)})


# -- results


async def test_value(autojump_clock: MockClock) -> None:
    """Awaiting a future gives what its function returned."""
    async with open_futures() as submit:
        assert await submit(after, 2, "value") == "value"
    assert trio.current_time() == 2


async def test_futures_run_at_the_same_time(autojump_clock: MockClock) -> None:
    """All run beside the block from the moment that they are submitted."""
    async with open_futures() as submit:
        futures = [submit(after, seconds, seconds) for seconds in (3, 1, 2)]
        assert [await future for future in futures] == [3, 1, 2]
    assert trio.current_time() == 3


async def test_awaited_any_number_of_times(autojump_clock: MockClock) -> None:
    """A value is given as often as it is asked for."""
    async with open_futures() as submit:
        future = submit(after, 1, "value")
        assert [await future, await future] == ["value", "value"]


async def test_awaited_by_several_tasks(autojump_clock: MockClock) -> None:
    """All who wait get the same value at the same time."""
    got: list[tuple[object, float]] = []

    async def wait(future: Future[object]) -> None:
        got.append((await future, trio.current_time()))

    async with open_futures() as submit, trio.open_nursery() as nursery:
        future = submit(after, 2, "value")
        nursery.start_soon(wait, future)
        nursery.start_soon(wait, future)
    assert got == [("value", 2), ("value", 2)]


async def test_awaited_by_another_future(autojump_clock: MockClock) -> None:
    """A future may wait for another one."""

    async def twice(future: Future[int]) -> int:
        return 2 * await future

    async with open_futures() as submit:
        assert await submit(twice, submit(after, 1, 21)) == 42


async def test_plain_function() -> None:
    """A function that is not async is called as well."""
    async with open_futures() as submit:
        assert await submit(max, 1, 2) == 2  # type: ignore[arg-type]


async def test_called_too_early() -> None:
    """A coroutine in the place of a function is refused, and closed."""
    async with open_futures() as submit:
        with pytest.raises(TypeError, match="not called yet"):
            submit(after(1))  # type: ignore[arg-type]


async def test_waiter_that_gives_up(autojump_clock: MockClock) -> None:
    """A waiter that is cancelled leaves the future alone."""
    async with open_futures() as submit:
        future = submit(after, 5, "value")
        with trio.move_on_after(1):
            await future
        assert future.status is PENDING
        assert await future == "value"


async def test_repr(autojump_clock: MockClock) -> None:
    """It shows the function and the status."""
    async with open_futures() as submit:
        future = submit(after, 1)
        assert repr(future) == "<Future 'after' pending>"


# -- status


async def test_status_of_success(autojump_clock: MockClock) -> None:
    """A future is pending until its function has returned, then finished."""
    async with open_futures() as submit:
        future = submit(after, 1)
        assert future.status is PENDING
        await trio.sleep(0.5)
        assert future.status is PENDING
    assert future.status is FINISHED


async def test_status_of_failure(autojump_clock: MockClock) -> None:
    """A future whose function raised has failed."""
    async with open_futures() as submit:
        future = submit(fail, ValueError())
        with pytest.raises(ValueError):  # noqa: PT011
            await future
        assert future.status is FAILED


# -- cancelling


async def test_cancel(autojump_clock: MockClock) -> None:
    """A cancelled future ends at once; awaiting it raises JobCancelledError, the others go on."""
    async with open_futures() as submit:
        future, other = submit(trio.sleep_forever), submit(after, 3, "other")
        await trio.sleep(1)
        future.cancel()
        with pytest.raises(JobCancelledError, match="sleep_forever"):
            await future
        assert (trio.current_time(), future.status) == (1, CANCELLED)
        assert await other == "other"


async def test_cancelled_future_is_no_error(autojump_clock: MockClock) -> None:
    """One that was cancelled and never awaited is not missed at the end, nor in the log."""
    log = Warnings()
    async with open_futures() as submit:
        submit(trio.sleep_forever).cancel()
    assert (trio.current_time(), log) == (0, [])


async def test_cancel_before_it_began() -> None:
    """A future that is cancelled before its turn has come is never called."""
    async with open_futures() as submit:
        future = submit(uncalled)
        future.cancel()
    assert future.status is CANCELLED


async def test_cancel_after_the_end(autojump_clock: MockClock) -> None:
    """An ended future stays what it is."""
    async with open_futures() as submit:
        future = submit(after, 1, "value")
        await future
        future.cancel()
        assert (future.status, await future) == (FINISHED, "value")


async def test_cancelled_while_awaited(autojump_clock: MockClock) -> None:
    """Who waits already gets the JobCancelledError as well."""
    async with open_futures() as submit, trio.open_nursery() as nursery:
        future = submit(trio.sleep_forever)

        async def wait() -> None:
            with pytest.raises(JobCancelledError):
                await future

        nursery.start_soon(wait)
        await trio.sleep(1)
        future.cancel()
    assert trio.current_time() == 1


async def test_cancel_that_is_survived(autojump_clock: MockClock) -> None:
    """A function that ends its own way in spite of the cancel has the last word."""

    async def stubborn() -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return "value"

    async with open_futures() as submit:
        future = submit(stubborn)
        await trio.sleep(1)
        future.cancel()
        assert (await future, future.status) == ("value", FINISHED)


async def test_error_in_answer_to_a_cancel(autojump_clock: MockClock) -> None:
    """A cleanup that fails makes the future a failed one, and its error is not lost."""

    async def clumsy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("clumsy")

    with pytest.raises(ValueError, match="clumsy"):
        async with open_futures() as submit:
            future = submit(clumsy)
            await trio.sleep(1)
            future.cancel()
    assert future.status is FAILED


# -- errors


async def test_error_is_raised_where_it_is_awaited(autojump_clock: MockClock) -> None:
    """Each await raises the same error; the block's end has nothing more to say, nor has the log."""
    error, log = ValueError(), Warnings()
    async with open_futures() as submit:
        future = submit(fail, error)
        for _ in range(2):
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                await future
            assert caught.value is error
    assert log == []


async def test_error_that_is_awaited_often(autojump_clock: MockClock) -> None:
    """Its traceback does not grow by each wait."""
    error = ValueError("x")

    async def lines() -> int:
        with pytest.raises(ValueError, match="x"):
            await future
        return sum(1 for _ in traceback.walk_tb(error.__traceback__))

    async with open_futures() as submit:
        future = submit(fail, error)
        first = await lines()
        assert [await lines() for _ in range(3)] == [first] * 3


async def test_error_of_the_awaited(autojump_clock: MockClock) -> None:
    """An awaited error that the block lets pass comes out of it bare."""
    error = ValueError()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        async with open_futures() as submit:
            other = submit(trio.sleep_forever)
            await submit(fail, error)
    assert caught.value is error
    assert other.status is CANCELLED


async def test_error_touches_no_other(autojump_clock: MockClock) -> None:
    """The block and the other futures go on when one fails."""
    with pytest.raises(ValueError, match="unseen"):
        async with open_futures() as submit:
            submit(fail, ValueError("unseen"))
            other = submit(after, 5, "other")
            await trio.sleep(3)
    assert (trio.current_time(), other.status) == (5, FINISHED)


async def test_error_that_nobody_awaited(autojump_clock: MockClock) -> None:
    """It is raised when the block ends: the same object, bare."""
    error, log = ValueError(), Warnings()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        async with open_futures() as submit:
            submit(fail, error)
    assert caught.value is error
    assert (error.__context__, log) == (None, [])


async def test_several_errors_that_nobody_awaited(autojump_clock: MockClock) -> None:
    """Several come in a group, in the order in which they happened."""
    late, early = ValueError("late"), OSError("early")
    with pytest.raises(ExceptionGroup, match="2 futures failed and were not awaited") as caught:
        async with open_futures() as submit:
            submit(fail, late, 2)
            submit(fail, early, 1)
    assert caught.value.exceptions == (early, late)


async def test_only_the_unawaited_are_raised(autojump_clock: MockClock) -> None:
    """Of two errors the one that was awaited does not come again."""
    with pytest.raises(ValueError, match="unseen"):
        async with open_futures() as submit:
            submit(fail, ValueError("unseen"))
            with pytest.raises(OSError, match="seen"):
                await submit(fail, OSError("seen"))


async def test_error_that_somebody_is_waiting_for(autojump_clock: MockClock) -> None:
    """A waiter outside of the block counts, also where the error comes as the last thing before the end."""
    caught: list[BaseException] = []

    async def wait(future: Future[None]) -> None:
        try:
            await future
        except ValueError as error:
            caught.append(error)

    error = ValueError()
    async with trio.open_nursery() as nursery, open_futures() as submit:
        nursery.start_soon(wait, submit(fail, error))
    assert caught == [error]


async def test_wait_that_was_given_up_is_none(autojump_clock: MockClock) -> None:
    """An error that came after its only waiter had gone has not been awaited."""
    with pytest.raises(ValueError, match="unseen"):
        async with open_futures() as submit:
            future = submit(fail, ValueError("unseen"), 5)
            with trio.move_on_after(1):
                await future


async def test_one_error_of_two_futures(autojump_clock: MockClock) -> None:
    """The same object raised twice is one error: bare."""
    error = ValueError("shared")
    with pytest.raises(ValueError, match="shared"):
        async with open_futures() as submit:
            submit(fail, error, 1)
            submit(fail, error, 2)


async def test_dead_scope(autojump_clock: MockClock) -> None:
    """A function that ends by a Cancelled that nobody sent has failed, and says so."""

    async def struck() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                kept = cancelled
        raise kept

    with pytest.raises(JobCancelledError, match="a scope of the task was cancelled"):
        async with open_futures() as submit:
            future = submit(struck)
    assert future.status is FAILED


async def test_entered_by_a_cancelled_future(autojump_clock: MockClock) -> None:
    """What the function entered is left when it has ended, and a cancel does not strike there."""
    left: list[float] = []

    @asynccontextmanager
    async def slow_to_leave() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await trio.sleep(1)
            left.append(trio.current_time())

    async def enters() -> None:
        task = current_task()
        assert task is not None
        await task.enter(slow_to_leave())
        await trio.sleep_forever()

    async with open_futures() as submit:
        future = submit(enters)
        await trio.sleep(2)
        future.cancel()
    assert (future.status, left) == (CANCELLED, [3])


async def test_scope_left_open(autojump_clock: MockClock) -> None:
    """A function that leaves a scope open has failed by that; the future it would have cancelled is unharmed."""

    async def careless() -> None:
        trio.CancelScope().__enter__()

    with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
        async with open_futures() as submit:
            submit(careless)
            other = submit(after, 1, "well")
    assert await other == "well"


async def test_interrupt_out_of_a_future(autojump_clock: MockClock) -> None:
    """What nobody may contain cancels everything, and comes out bare; an error that nobody saw goes to the log."""
    log = Warnings()
    with pytest.raises(KeyboardInterrupt):
        async with open_futures() as submit:
            submit(fail, ValueError(), 1)
            submit(fail, KeyboardInterrupt(), 2)
            other = submit(trio.sleep_forever)
            await trio.sleep_forever()
    assert (trio.current_time(), other.status, log) == (2, CANCELLED, ["future.unclaimed"])


# -- the block's end


async def test_block_waits_for_its_futures(autojump_clock: MockClock) -> None:
    """The block ends when the last future has."""
    async with open_futures() as submit:
        future = submit(after, 4, "value")
    assert (trio.current_time(), future.status) == (4, FINISHED)


async def test_submit_from_a_future(autojump_clock: MockClock) -> None:
    """While the block waits, the futures it waits for may submit more: it waits for those, too."""
    visited: list[int] = []

    async def crawl(submit: Submit, depth: int) -> None:
        await trio.sleep(1)
        visited.append(depth)
        if depth < 3:
            submit(crawl, submit, depth + 1)

    async with open_futures() as submit:
        submit(crawl, submit, 1)
    assert (visited, trio.current_time()) == ([1, 2, 3], 3)


async def test_submit_after_the_end(autojump_clock: MockClock) -> None:
    """A block that has ended takes nothing more, and calls nothing."""
    async with open_futures() as submit:
        pass
    with pytest.raises(JobStateError, match="takes no more tasks"):
        submit(uncalled)


async def test_awaited_after_the_end(autojump_clock: MockClock) -> None:
    """Values, errors and cancellations outlive the block."""
    error = ValueError()
    with pytest.raises(ValueError):  # noqa: PT011
        async with open_futures() as submit:
            good, bad, gone = submit(after, 1, "value"), submit(fail, error), submit(trio.sleep_forever)
            gone.cancel()
    assert await good == "value"
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        await bad
    assert caught.value is error
    with pytest.raises(JobCancelledError):
        await gone


async def test_block_that_raises(autojump_clock: MockClock) -> None:
    """All futures are cancelled, and the block's error comes out as it was raised."""
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_futures() as submit:
            future = submit(trio.sleep_forever)
            await trio.sleep(1)
            raise error
    assert caught.value is error
    assert (trio.current_time(), future.status) == (1, CANCELLED)


async def test_unseen_error_of_a_block_that_raises(autojump_clock: MockClock) -> None:
    """The block's error goes before; that of a future is not lost, but logged."""
    log = Warnings()
    with pytest.raises(ValueError, match="mine"):
        async with open_futures() as submit:
            submit(fail, OSError("unseen"))
            await trio.sleep(2)
            raise ValueError("mine")
    assert log == ["future.unclaimed"]


async def test_block_that_is_cancelled(autojump_clock: MockClock) -> None:
    """A scope around the block cancels its futures, also while it waits for them."""
    with trio.move_on_after(3) as scope:
        async with open_futures() as submit:
            future = submit(trio.sleep_forever)
    assert scope.cancelled_caught
    with pytest.raises(JobCancelledError):
        await future


async def test_parent_that_finishes(autojump_clock: MockClock) -> None:
    """Futures inside of a job have the grace of its finish; what is cut then is cancelled, and no error."""
    futures: list[Future[str]] = []

    async def work(task: Task) -> None:
        async with open_futures() as submit:
            futures.extend([submit(after, 3, "drained"), submit(after, 100, "cut")])
        task.done()

    j = Job[None](grace=10)
    j.add_task(work)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert (trio.current_time(), j.state) == (11, JobState.DONE)
    assert [future.status for future in futures] == [FINISHED, CANCELLED]


async def test_ended_futures_are_not_held(autojump_clock: MockClock) -> None:
    """Only the living ones are kept, and the errors that nobody has seen yet."""
    async with open_futures() as submit:
        futures = [weakref.ref(submit(after, 0)) for _ in range(100)]
        await trio.sleep(1)
        gc.collect()
        assert [future for future in futures if future() is not None] == []


@pytest.mark.parametrize("by", Ask)
def test_guarantees_wherever_they_are_struck(by: Ask) -> None:
    """A job with futures inside keeps all guarantees, and so does their own, at whichever step they are stopped."""
    Warnings()

    async def work(task: Task) -> None:
        async with open_futures() as submit:
            future, gone = submit(after, 1), submit(trio.sleep_forever)
            with pytest.raises(ValueError, match="seen"):
                await submit(fail, ValueError("seen"), 0.5)
            gone.cancel()
            await future
        task.done()

    def build() -> Job[None]:
        j = Job[None](grace=1)
        j.add_task(work)
        return j

    for struck in cancel_at_each_checkpoint(build, by=by):
        for trace in struck.traces:
            check_trace(trace)
