"""A fault of the engine itself ends the job with that fault as the cause, and leaves nothing waiting.

None is known, so each is planted: the net under the guards is held by breaking what hangs above it.
"""

import threading

import pytest
import trio
from trio.testing import MockClock

from job import CauseKind, Job, JobState, Observer, StopPolicy, Task, TaskState, TaskStateChanged
from job._core import observers
from job._core.block import Block
from job._core.border import start_helper
from job._core.run import lifecycle, task_run
from job._core.run.failures import Failures
from job._core.run.teardown import Shutdown
from job._core.words.blocks import asynccontextmanager, contextmanager
from job._core.words.user_code import STACK_RESERVE, reserve_stack
from job.background import Manager
from tests.journal import Journal, done, failing, forever
from tests.sabotage import OrderingError, OrderingNoteError


class PlantedError(Exception):
    """The fault."""


def planted(*args: object) -> None:
    """Fail, in the place of a part of the engine."""
    raise PlantedError


async def planted_async(*args: object, **kwargs: object) -> None:
    """Fail, in the place of an async part of the engine."""
    raise PlantedError


async def test_where_failures_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks are finalized all the same, and the job ends with the fault."""
    monkeypatch.setattr(Failures, "ended_by", planted)
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", run=failing(ValueError("a"))))
    j.add_task(journal.task("b", run=failing(ValueError("b"))))
    with pytest.raises(PlantedError):
        await j.run()
    assert j.state is JobState.CANCELLED
    assert [entry for entry in journal if "finalize" in entry] == ["b.finalize", "a.finalize"]


async def test_where_a_task_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn passes over a task that is gone."""
    monkeypatch.setattr(task_run, "clean_up", planted_async)
    j = Job[None]()
    j.add_task(lambda job: (done, done, done))
    j.add_task(lambda job: (done, done, done))
    with pytest.raises(PlantedError):
        await j.run()
    assert j.state is JobState.CANCELLED


async def test_where_tasks_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that was never started is not waited for."""
    monkeypatch.setattr(lifecycle, "run_task", planted)
    j = Job[None]()
    task = j.add_task(lambda job: (done, done, done))
    with pytest.raises(PlantedError):
        await j.run()
    assert task.state is TaskState.CANCELLED


async def test_where_a_task_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears of it, and the job ends."""
    j = Job[None](keep_open=True)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        monkeypatch.setattr(lifecycle, "run_task", planted)
        with pytest.raises(PlantedError):
            j.add_task(lambda job: (done, done, done))
        await j.wait()
    assert j.verdict is not None
    assert isinstance(j.verdict.cause.error, PlantedError)


async def test_between_loops_and_finalizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The finalizers run all the same."""
    monkeypatch.setattr(Shutdown, "_end_children", planted_async)
    journal = Journal()
    j = Job[None](on_shutdown=lambda error: None)
    j.add_task(journal.task("a"))
    with pytest.raises(PlantedError):
        await j.run()
    assert journal[-1] == "a.finalize"


async def test_in_a_helper() -> None:
    """What runs beside the tasks ends the job where it fails."""
    j = Job[None]()
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        start_helper(j, planted_async)
        await j.wait()
    assert j.verdict is not None
    assert isinstance(j.verdict.cause.error, PlantedError)


async def test_where_a_block_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes out of the `async with`, and its nursery is closed."""
    monkeypatch.setattr(Block, "_run", planted_async)
    with pytest.raises(PlantedError):
        async with Job[None]():
            pytest.fail("it was entered")


async def test_a_note_that_is_an_order() -> None:
    """An order out of an error's own `add_note` comes out of run in its place."""
    j = Job[None]()
    j.add_task(failing(OrderingNoteError()))
    with pytest.raises(SystemExit):
        await j.run()


async def test_a_repr_that_is_an_order() -> None:
    """The record is written, and the order comes out of run."""
    records: list[str] = []
    j = Job[None]()
    j.register_logger({0: lambda event, fields: records.append(event)}, level=1)
    j.add_task(failing(OrderingError()), policy=StopPolicy.CONTAIN)
    with pytest.raises(SystemExit):
        await j.run()
    assert records == ["task.failed", "job.ended"]


async def test_an_order_is_more_than_an_error_of_the_block() -> None:
    """A SystemExit of a log handler comes out of the block, though that has raised before."""

    def handler(event: str, fields: object) -> None:
        raise SystemExit(3)

    j = Job[None]()
    j.register_logger({0: handler}, level=1)
    j.add_task(forever)
    with pytest.raises(SystemExit):
        async with j:
            raise ValueError("the block")


async def test_a_cancel_within_a_finish() -> None:
    """An observer may cancel a job while one that never ran is finished."""

    class Cancelling(Observer):
        def on_event(self, event: object) -> None:
            if isinstance(event, TaskStateChanged):
                event.task.job.cancel()

    j = Job[None](observers=[Cancelling()])
    tasks = [j.add_task(done), j.add_task(done)]
    j.finish()
    assert j.state is JobState.CANCELLED
    assert [task.state for task in tasks] == [TaskState.CANCELLED] * 2


async def test_a_stall_that_none_observes(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """It is a line in the log."""
    monkeypatch.setattr(observers, "_global_entries", {})  # those of a test before this one, say
    records: list[str] = []
    j = Job[None]()
    j.register_logger({0: lambda event, fields: records.append(event)})

    async def run(task: Task) -> None:
        async with Manager(stalled_after=1) as bg:
            bg.run(trio.sleep, 2)
        task.done()

    j.add_task(run)
    await j.run()
    assert records == ["task.stalled"]


async def test_a_deadline_of_the_oneshot_ends_with_it(autojump_clock: MockClock) -> None:
    """A deadline that the oneshot has entered strikes neither the tasks after it nor the job."""

    async def connect(task: Task) -> None:
        await task.enter(trio.move_on_after(1))
        task.done()

    async def work(task: Task) -> None:
        await trio.sleep(5)
        task.done()

    j = Job[None]()
    j.add_oneshot_task(connect)
    j.add_task(work)
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 5


async def test_a_wait_for_a_peer_that_begins_after_the_cancel() -> None:
    """It is cut at once."""
    cut: list[bool] = []

    async def finalize(task: Task) -> None:
        with trio.CancelScope() as scope:
            run = task.job._run
            assert run is not None
            with run.stop.hurrying(scope):
                await trio.sleep_forever()
        cut.append(scope.cancelled_caught)

    async def cancelling(task: Task) -> None:
        task.job.cancel()

    j = Job[None]()
    j.add_task(lambda job: (None, cancelling, finalize))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert cut == [True]


def test_a_parent_that_runs_elsewhere() -> None:
    """A job is a child within its own trio run only, also where its parent had not run when it was made."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    child.add_task(done)
    running = threading.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def tell(task: Task) -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        running.set()
        task.done()

    parent.add_task(tell)
    thread = threading.Thread(target=trio.run, args=(parent.run,))
    thread.start()
    running.wait(10)
    assert trio.run(child.run) is JobState.DONE
    assert child.parent is None
    tokens[0].run_sync_soon(parent.finish)
    thread.join(10)
    assert parent.verdict is not None
    assert parent.verdict.cause.kind is CauseKind.FINISHED


def descend(frames: int) -> None:
    """Ask for room on the stack from so many frames further down."""
    if frames:
        descend(frames - 1)
    else:
        reserve_stack()


def test_room_on_the_stack(recursion_limit: int) -> None:
    """There is enough of it in the middle of the stack, and too little near its end."""
    descend(recursion_limit * 6 // 10)
    with pytest.raises(RecursionError):
        descend(recursion_limit - STACK_RESERVE // 2)


@pytest.fixture
def recursion_limit() -> int:
    """Return how many frames are left from here."""

    def deep(count: int) -> int:
        try:
            return deep(count + 1)
        except RecursionError:
            return count

    return deep(0)


def test_a_block_has_one_yield() -> None:
    """A generator that goes on after the block is refused."""

    @contextmanager
    def twice():  # type: ignore[no-untyped-def]
        yield
        yield

    with pytest.raises(RuntimeError, match="more than one yield"), twice():
        pass


async def test_an_async_block_has_one_yield() -> None:
    """So is an async one."""

    @asynccontextmanager
    async def twice():  # type: ignore[no-untyped-def]
        yield
        yield

    with pytest.raises(RuntimeError, match="more than one yield"):
        async with twice():
            pass
