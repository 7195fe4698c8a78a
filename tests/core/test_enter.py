"""Task.enter: context managers that are left right after the task's finalizer."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

import pytest
import trio
from trio.testing import MockClock

from job import (
    CauseKind,
    FinalizeTimeoutError,
    IdleTimeoutError,
    Job,
    JobCancelledError,
    JobState,
    JobStateError,
    Phase,
    StopPolicy,
    Task,
    TaskState,
)


@contextlib.asynccontextmanager
async def noted(seen: list[object], name: object) -> AsyncIterator[object]:
    """Note the enter, and the exit with the error that it hears of."""
    seen.append(f"enter {name}")
    try:
        yield name
    except BaseException as error:
        seen.append(type(error))
        raise
    finally:
        seen.append(f"exit {name}")


@contextlib.contextmanager
def noted_sync(seen: list[object], name: str) -> Iterator[str]:
    """Note enter and exit."""
    seen.append(f"enter {name}")
    yield name
    seen.append(f"exit {name}")


async def test_value() -> None:
    """enter gives what entering gave."""

    async def run(task: Task) -> None:
        task.done(await task.enter(noted([], "it")))

    j = Job[None]()
    task = j.add_task(run)
    await j.run()
    assert task.result == "it"


async def test_order() -> None:
    """What was entered is left in reverse order, right after the task's finalizer and before the next one's."""
    seen: list[object] = []

    async def init(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        await task.enter(noted_sync(seen, "b"))

    async def run(task: Task) -> None:
        await task.enter(noted(seen, "c"))
        task.done()

    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: task.done(), lambda task: seen.append("earlier finalizer")))
    j.add_task(lambda job: (init, run, lambda task: seen.append("finalizer")))
    await j.run()
    assert seen[3:] == ["finalizer", "exit c", "exit b", "exit a", "earlier finalizer"]


async def test_left_after_all_loops(autojump_clock: MockClock) -> None:
    """What was entered stays until every run loop has exited."""
    seen: list[object] = []

    async def short(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        task.done()

    async def long(task: Task) -> None:
        await trio.sleep(5)
        seen.append("long is over")
        task.done()

    j = Job[None]()
    j.add_task(short)
    j.add_task(long)
    await j.run()
    assert seen == ["enter a", "long is over", "exit a"]


async def test_oneshot_resources_live_as_long_as_the_job() -> None:
    """What a oneshot enters in its run is there for the others, and left last."""
    seen: list[object] = []

    async def connect(task: Task) -> None:
        await task.enter(noted(seen, "connection"))
        task.done()

    async def use(task: Task) -> None:
        await task.enter(noted(seen, "use"))
        task.done()

    j = Job[None]()
    j.add_oneshot_task(connect)
    j.add_task(use)
    await j.run()
    assert seen == ["enter connection", "enter use", "exit use", "exit connection"]


async def test_error_is_passed_to_the_context_manager() -> None:
    """The context manager hears of the error that ended its task; passing it on is no second error."""
    seen: list[object] = []

    async def run(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        raise ValueError("mine")

    j = Job[None]()
    j.add_task(run)
    with pytest.raises(ValueError, match="mine"):
        await j.run()
    assert seen == ["enter a", ValueError, "exit a"]
    assert len(j.errors) == 1


async def test_cancellation_is_passed_to_the_context_manager() -> None:
    """The context manager of a task that was cut hears of the cancellation."""
    seen: list[object] = []

    async def run(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        await trio.sleep_forever()

    async def fail(task: Task) -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise ValueError("theirs")

    j = Job[None]()
    j.add_task(run)
    j.add_task(fail)
    with pytest.raises(ValueError, match="theirs"):
        await j.run()
    assert seen == ["enter a", trio.Cancelled, "exit a"]


async def test_manager_that_swallows_the_error() -> None:
    """A context manager cannot undo the failure that it hears of: the job has failed already."""

    async def run(task: Task) -> None:
        await task.enter(contextlib.suppress(ValueError))
        raise ValueError("mine")

    j = Job[None]()
    j.add_task(run)
    with pytest.raises(ValueError, match="mine"):
        await j.run()


async def test_nothing_is_passed_after_done() -> None:
    """A context manager of a task that was done hears of no error, even if another task failed."""
    seen: list[object] = []

    async def run(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        task.done()

    async def fail(task: Task) -> None:
        await trio.testing.wait_all_tasks_blocked()
        raise ValueError("theirs")

    j = Job[None]()
    j.add_task(run)
    j.add_task(fail)
    with pytest.raises(ValueError, match="theirs"):
        await j.run()
    assert seen == ["enter a", "exit a"]


async def test_error_of_an_exit() -> None:
    """An error of an exit is the task's in FINALIZE; the other exits are called, too."""
    seen: list[object] = []

    @contextlib.contextmanager
    def faulty() -> Iterator[None]:
        yield
        raise OSError("close")

    async def run(task: Task) -> None:
        await task.enter(noted_sync([], "outer"))
        await task.enter(noted(seen, "middle"))
        await task.enter(faulty())
        task.done()

    j = Job[None]()
    task = j.add_task(run)
    with pytest.raises(OSError, match="close"):
        await j.run()
    assert "exit middle" in seen
    assert [(e.task, e.phase) for e in j.errors] == [(task, Phase.FINALIZE)]


async def test_error_while_entering() -> None:
    """An error of entering is raised by enter, and nothing is left."""
    seen: list[object] = []

    @contextlib.asynccontextmanager
    async def faulty() -> AsyncIterator[None]:
        raise OSError("open")
        yield

    async def run(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        with pytest.raises(OSError, match="open"):
            await task.enter(faulty())
        task.done()

    j = Job[None]()
    j.add_task(run)
    await j.run()
    assert seen == ["enter a", "exit a"]


async def test_exits_share_the_finalize_timeout(autojump_clock: MockClock) -> None:
    """Finalizer and exits of a task share one finalize_timeout; what comes after the overrun is called, but cancelled."""
    seen: list[object] = []

    @contextlib.asynccontextmanager
    async def slow(name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            seen.append(name)
            await trio.sleep(3)
            seen.append(f"{name} slept")

    async def init(task: Task) -> None:
        await task.enter(slow("second"))
        await task.enter(slow("first"))

    async def finalize(task: Task) -> None:
        await trio.sleep(3)

    j = Job[None](finalize_timeout=5)
    j.add_task(lambda job: (init, None, finalize), name="sluggish")
    with pytest.raises(FinalizeTimeoutError, match="sluggish"):
        await j.run()
    assert (seen, trio.current_time()) == (["first", "second"], 5)


async def test_from_another_trio_task() -> None:
    """enter from another trio task than the task's own is refused."""
    seen: list[object] = []

    async def child(task: Task) -> None:
        with pytest.raises(JobStateError):
            await task.enter(noted(seen, "a"))

    async def run(task: Task) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, task)
        task.done()

    j = Job[None]()
    j.add_task(run)
    await j.run()
    assert seen == []


async def test_outside_of_the_job() -> None:
    """enter before the job runs, or after it has ended, is refused."""
    j = Job[None]()
    task = j.add_task(lambda job: (None, lambda task: task.done(), None))
    with pytest.raises(JobStateError):
        await task.enter(noted([], "a"))
    await j.run()
    with pytest.raises(JobStateError):
        await task.enter(noted([], "a"))


async def test_no_context_manager() -> None:
    """What is no context manager is refused."""

    async def run(task: Task) -> None:
        await task.enter(5)  # type: ignore[call-overload]

    j = Job[None]()
    j.add_task(run)
    with pytest.raises(TypeError, match="context_manager must have __aenter__ or __enter__, and an exit, got 5"):
        await j.run()


async def test_nursery(autojump_clock: MockClock) -> None:
    """A nursery entered in init holds children for the life of the job; at a failure it is cancelled with the task."""

    async def init(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(trio.sleep_forever)

    async def run(task: Task) -> None:
        await trio.sleep(1)
        raise ValueError("mine")

    j = Job[None]()
    j.add_task(lambda job: (init, run, None))
    with pytest.raises(ValueError, match="mine"):
        await j.run()
    assert (len(j.errors), trio.current_time()) == (1, 1)


async def test_nursery_entered_in_run(autojump_clock: MockClock) -> None:
    """A nursery entered in a bare run ends with its children."""

    async def run(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(trio.sleep, 4)
        task.done()

    j = Job[None]()
    j.add_task(run)
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 4


async def test_nurseries_that_pass_on_an_error(autojump_clock: MockClock) -> None:
    """One in another makes a group of a group of the error that they were told of: that is no news."""

    async def run(task: Task) -> None:
        await task.enter(trio.open_nursery())
        await task.enter(trio.open_nursery())
        raise OSError

    j = Job[None]()
    j.add_task(run)
    with pytest.raises(OSError):
        await j.run()
    assert len(j.errors) == 1


async def test_dead_nursery(autojump_clock: MockClock) -> None:
    """A child's error that kills an entered nursery is the cause: kind ERROR, and the task is FAILED."""

    async def child() -> None:
        await trio.sleep(1)
        raise ValueError("child")

    async def init(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(child)

    async def run(task: Task) -> None:
        await trio.sleep_forever()

    j = Job[None]()
    task = j.add_task(lambda job: (init, run, None))
    with pytest.raises(ExceptionGroup) as info:
        await j.run()
    assert info.group_contains(ValueError, match="child")
    assert j.interrupted_by == (task, info.value)
    assert task.state is TaskState.FAILED
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.ERROR
    assert [e.error for e in j.errors] == [info.value]


async def test_dead_nursery_of_a_done_task(autojump_clock: MockClock) -> None:
    """A nursery that dies while its task waits for the others ends the job, too."""

    async def child() -> None:
        await trio.sleep(1)
        raise ValueError("child")

    async def run(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(child)
        task.done()

    async def other(task: Task) -> None:
        await trio.sleep_forever()

    j = Job[None]()
    task = j.add_task(run)
    j.add_task(other)
    with pytest.raises(ExceptionGroup) as info:
        await j.run()
    assert info.group_contains(ValueError, match="child")
    assert j.interrupted_by[0] is task


async def test_nursery_cancelled_by_a_done_task(autojump_clock: MockClock) -> None:
    """A run may cancel the helpers that it entered and be done: that nursery has not died."""

    async def run(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()
        task.done()

    async def other(task: Task) -> None:
        await trio.sleep(2)
        task.done()

    j = Job[None]()
    j.add_task(run)
    j.add_task(other)
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 2


async def test_dead_scope() -> None:
    """A cancel scope of init that was cancelled, and raises nothing, is named as such."""

    async def init(task: Task) -> None:
        scope = await task.enter(trio.CancelScope())
        scope.cancel()

    async def run(task: Task) -> None:
        await trio.sleep_forever()

    j = Job[None]()
    task = j.add_task(lambda job: (init, run, None))
    with pytest.raises(JobCancelledError, match="a scope of the task was cancelled"):
        await j.run()
    assert task.state is TaskState.FAILED


async def test_dead_nursery_told_to_on_shutdown(autojump_clock: MockClock) -> None:
    """on_shutdown comes before the finalizers and hears of the dead scope only."""
    told: list[BaseException] = []

    async def child() -> None:
        raise ValueError("child")

    async def init(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(child)

    async def run(task: Task) -> None:
        await trio.sleep_forever()

    j = Job[None](on_shutdown=told.append)
    j.add_task(lambda job: (init, run, None))
    with pytest.raises(ExceptionGroup):
        await j.run()
    assert [type(error) for error in told] == [JobCancelledError]


async def test_context_variable_of_a_manager() -> None:
    """A context variable set by an entered manager is seen in run and finalize, and by nobody else."""
    variable: ContextVar[str] = ContextVar("variable", default="outside")
    seen = []

    @contextlib.contextmanager
    def bound() -> Iterator[None]:
        token = variable.set("inside")
        yield
        variable.reset(token)

    async def run(task: Task) -> None:
        await task.enter(bound())
        task.done()

    j = Job[None]()
    j.add_task(run)
    j.add_task(lambda job: (None, lambda task: task.done(), lambda task: seen.append(variable.get())))
    await j.run()
    assert [*seen, variable.get()] == ["outside", "outside"]


@pytest.mark.parametrize("transient", [False, True])
async def test_contained_task_with_idle_timeout(transient: bool, autojump_clock: MockClock) -> None:
    """What a contained task entered in its run is left in order, also when its idle clock ran out."""
    seen: list[object] = []

    async def run(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        await task.enter(trio.open_nursery())
        await trio.sleep_forever()

    j = Job[None]()
    task = j.add_task(run, idle_timeout=2, policy=StopPolicy.CONTAIN, transient=transient)
    assert await j.run() is JobState.DONE
    assert seen == ["enter a", trio.Cancelled, "exit a"]
    assert task.error is not None
    assert isinstance(task.error.error, IdleTimeoutError)
    assert len(j.errors) == (0 if transient else 1)


async def test_contained_task_with_idle_timeout_that_is_done(autojump_clock: MockClock) -> None:
    """A nursery entered in the run of a contained task with an idle timeout lives until the end of the job."""

    async def run(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        nursery.start_soon(trio.sleep, 5)
        task.done()

    j = Job[None]()
    j.add_task(run, idle_timeout=2, policy=StopPolicy.CONTAIN)
    assert await j.run() is JobState.DONE
    assert (j.errors, trio.current_time()) == ((), 5)


async def test_transient_exits_at_once(autojump_clock: MockClock) -> None:
    """A transient task leaves what it entered as soon as its loop ends."""
    seen: list[object] = []

    async def brief(task: Task) -> None:
        await task.enter(noted(seen, "a"))
        task.done()

    async def other(task: Task) -> None:
        await trio.sleep(5)
        seen.append("other is over")
        task.done()

    j = Job[None]()
    j.add_task(brief, policy=StopPolicy.CONTAIN, transient=True)
    j.add_task(other)
    await j.run()
    assert seen == ["enter a", "exit a", "other is over"]


async def test_outer_cancellation_does_not_strike_the_exits(autojump_clock: MockClock) -> None:
    """Exits are shielded from the outer cancellation that ended the job."""
    seen: list[object] = []

    @contextlib.asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await trio.sleep(1)
            seen.append("closed well")

    async def run(task: Task) -> None:
        await task.enter(slow())
        await trio.sleep_forever()

    j = Job[None]()
    j.add_task(run)
    with trio.move_on_after(2) as scope:
        await j.run()
    assert (scope.cancelled_caught, seen, trio.current_time()) == (True, ["closed well"], 3)
