"""`job.background`: tasks that never touch each other, under one manager."""

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import (
    Event,
    Job,
    JobCancelledError,
    JobState,
    JobStateError,
    Phase,
    StopTimeoutError,
    Task,
    TaskAdded,
    TaskFailed,
    TaskStalled,
    TaskState,
    TaskStateChanged,
    current_task,
    register_default_logger,
)
from job.background import Manager
from job.tasks import Backoff, Retry
from job.testing import Ask, Recorder, cancel_at_each_checkpoint, check_trace


class Flaky:
    """Work that fails some times before it succeeds, and notes when it was called."""

    def __init__(self, failures: float, seconds: float = 0) -> None:
        self.failures = failures
        self.seconds = seconds
        self.calls: list[float] = []

    async def __call__(self) -> int:
        """Fail, or return how many calls it took."""
        self.calls.append(trio.current_time())
        await trio.sleep(self.seconds)
        if len(self.calls) <= self.failures:
            raise ConnectionError(f"call {len(self.calls)}")
        return len(self.calls)


class Warnings(list[tuple[str, str]]):
    """A log that keeps what it hears at level 0: the event and its error."""

    def __init__(self) -> None:
        super().__init__()
        register_default_logger({0: lambda event, fields: self.append((event, fields.get("error", "")))})


async def after(seconds: float, value: object = None) -> object:
    """Return a value after some seconds."""
    await trio.sleep(seconds)
    return value


async def uncalled() -> None:
    """Stand where nothing may be called."""
    raise AssertionError("called after all")


def failures(recorder: Recorder) -> list[tuple[Task, BaseException]]:
    """Name the tasks that failed, and their errors."""
    return [(event.task, event.error.error) for event in recorder.of(TaskFailed)]


# -- runs


async def test_run(autojump_clock: MockClock) -> None:
    """The task's result is what the function returned; the block's end waits for it."""
    async with Manager() as bg:
        task = bg.run(after, 3, "fetched")
    assert trio.current_time() == 3
    assert (task.state, task.result) == (TaskState.FINISHED, "fetched")


async def test_run_goes_on_beside_the_block(autojump_clock: MockClock) -> None:
    """The block can wait for a single task."""
    async with Manager() as bg:
        slow = bg.run(after, 9)
        assert await bg.run(after, 2, "quick").wait() == "quick"
        assert trio.current_time() == 2
        assert slow.state is TaskState.RUNNING


async def test_run_of_a_plain_function(autojump_clock: MockClock) -> None:
    """A function that is not async is called as well; what it returns is awaited where that is possible."""
    async with Manager() as bg:
        tasks = [bg.run(max, 1, 2), bg.run(lambda: after(1, "awaited"))]
    assert [task.result for task in tasks] == [2, "awaited"]


async def test_task_is_named_after_its_function() -> None:
    """Names are made as those of a job's tasks are."""
    async with Manager() as bg:
        assert bg.run(after, 0).name == "after"
        assert bg.loop(trio.sleep, 1).name == "sleep"


async def test_function_called_too_early() -> None:
    """A coroutine in the place of a function is refused, and closed; so is what cannot be called."""
    async with Manager() as bg:
        with pytest.raises(TypeError, match="not called yet"):
            bg.run(after(1))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="fn must be callable, got 'fetch'"):
            bg.loop("fetch")  # type: ignore[arg-type]


async def test_failure_touches_nobody(autojump_clock: MockClock) -> None:
    """A task that fails is FAILED; the others, the block and its end are not affected."""
    Warnings()
    async with Manager() as bg:
        bad = bg.run(Flaky(1, 1))
        good = bg.run(after, 2)
    assert (bad.state, good.state) == (TaskState.FAILED, TaskState.FINISHED)
    with pytest.raises(ConnectionError, match="call 1"):
        await bad.wait()


async def test_failure_is_told(autojump_clock: MockClock) -> None:
    """Observers hear of it, survived, and the log gets one warning."""
    heard, log = Recorder(), Warnings()
    async with Manager(observers=[heard]) as bg:
        task = bg.run(Flaky(1, 1))
    (event,) = heard.of(TaskFailed)
    assert (event.task, event.error, event.survived, event.at) == (task, task.error, True, 1)
    assert log == [("task.failed", "ConnectionError('call 1')")]


# -- records


class Records(list[tuple[int, str, dict[str, Any]]]):
    """What is written, with the level of its handler."""

    def __init__(self) -> None:
        super().__init__()
        handlers = {level: self._handler(level) for level in (0, 1)}
        register_default_logger(handlers, level=1)

    def _handler(self, level: int) -> Callable[[str, Mapping[str, Any]], None]:
        return lambda event, fields: self.append((level, event, dict(fields)))

    def failures(self) -> list[dict[str, Any]]:
        """Return the fields of each record of a failure."""
        return [fields for _, event, fields in self if event == "task.failed"]


def said(fields: Mapping[str, Any]) -> tuple[object, ...]:
    """Pick what tells whose the failed task was."""
    return fields["job"], fields.get("owner"), fields["task"], fields.get("meta")


async def test_record_says_whose_the_task_is(autojump_clock: MockClock) -> None:
    """It names the manager, the job around it, the task, and carries the metadata: one line for each failure."""
    records = Records()

    async def run(task: Task) -> None:
        async with Manager(name="mailer", fields={"site": "A"}) as bg:
            bg.run(Flaky(9), meta="order 17", retry=Retry(2))
            bg.run(Flaky(1))
        task.done()

    shop = Job(name="shop")
    shop.add_task(run)
    await shop.run()
    assert sorted(map(said, records.failures()), key=str) == [
        ("mailer", "shop", "Flaky", "order 17"),
        ("mailer", "shop", "Flaky", "order 17"),
        ("mailer", "shop", "Flaky", None),
    ]
    assert {fields["site"] for fields in records.failures()} == {"A"}


@pytest.mark.parametrize(
    ("options", "owner"), [({}, "shop"), ({"parent": None}, None), ({"fields": {"owner": "me"}}, "me")]
)
async def test_owner_of_a_manager_made_elsewhere(
    options: dict[str, Any], owner: str | None, autojump_clock: MockClock
) -> None:
    """It is the job whose routine enters it, unless it is detached, or its fields say otherwise."""
    records, bg = Records(), Manager(name="mailer", **options)
    bg.run(Flaky(1))  # and fails before the block is entered

    async def init(task: Task) -> None:
        async with bg:
            await trio.sleep(1)

    shop = Job(name="shop")
    shop.add_task(lambda j: (init, None, None))
    await shop.run()
    assert list(map(said, records.failures())) == [("mailer", owner, "Flaky", None)]


async def test_owner_is_the_parent(autojump_clock: MockClock) -> None:
    """Outside of any routine it is the parent that was given."""
    records, shop = Records(), Job(name="shop")
    async with Manager(parent=shop) as bg:
        bg.run(Flaky(1))
    assert list(map(said, records.failures())) == [("background", "shop", "Flaky", None)]


async def test_lines_of_the_task_carry_the_metadata(autojump_clock: MockClock) -> None:
    """So does what the function writes to its task's log."""
    records = Records()

    async def work() -> None:
        task = current_task()
        assert task is not None
        task.log(0, "working")

    async with Manager() as bg:
        bg.run(work, meta=7)
    assert [fields["meta"] for _, event, fields in records if event == "working"] == [7]


async def test_quiet_manager(autojump_clock: MockClock) -> None:
    """A failure that is no news, or a group of such, is a line at level 1."""
    records = Records()

    async def fail_in_a_group() -> None:
        raise ExceptionGroup("peers", [ConnectionError("gone")])

    async with Manager(quiet=[OSError]) as bg:
        bg.run(Flaky(1))
        bg.run(fail_in_a_group)
        bg.run(uncalled)
    assert sorted((level, fields["task"]) for level, event, fields in records if event == "task.failed") == [
        (0, "uncalled"),
        (1, "Flaky"),
        (1, "fail_in_a_group"),
    ]


async def test_empty_manager_is_true(autojump_clock: MockClock) -> None:
    """Who asks whether there is a manager does not ask whether it has work."""
    async with Manager() as bg:
        assert bg
        assert len(bg) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"quiet": ["OSError"]}, "quiet must hold exception types"),
        ({"fields": 5}, "fields must be a mapping"),
        ({"parent": 5}, "parent must be a Job or None"),
    ],
)
def test_wrong_options_of_its_job(options: dict[str, Any], message: str) -> None:
    """They are refused as a job's are."""
    with pytest.raises((TypeError, ValueError), match=message):
        Manager(**options)


# -- observers


async def test_observers_get_the_metadata(autojump_clock: MockClock) -> None:
    """Each event of a task comes with the metadata that the task was given."""
    heard = Recorder()
    async with Manager[str](observers=[heard]) as bg:
        bg.run(after, 1, meta="request 7")
    assert [event.task.meta for event in heard.of(TaskAdded)] == ["request 7"]
    assert [(event.task.meta, event.new) for event in heard.of(TaskStateChanged)] == [
        ("request 7", TaskState.RUNNING),
        ("request 7", TaskState.FINISHED),
    ]


async def test_slow_observer(autojump_clock: MockClock) -> None:
    """Everybody waits for a slow observer; nothing is lost, and the order stays."""

    class Slow:
        def on_event(self, event: Event, /) -> None:
            autojump_clock.jump(10)

    heard = Recorder()
    async with Manager(observers=[Slow(), heard]) as bg:
        tasks = [bg.run(after, 1, n) for n in range(3)]
    assert [event.new for event in heard.of(TaskStateChanged)] == [TaskState.RUNNING] * 3 + [TaskState.FINISHED] * 3
    assert [task.result for task in tasks] == [0, 1, 2]


async def test_failing_observer(autojump_clock: MockClock) -> None:
    """An observer that raises is logged once; the tasks and the other observers do not notice."""

    class Faulty:
        def on_event(self, event: Event, /) -> None:
            raise ZeroDivisionError

    heard, log = Recorder(), Warnings()
    async with Manager(observers=[Faulty(), heard]) as bg:
        task = bg.run(after, 1, "done")
    assert (task.result, len(heard.of(TaskStateChanged))) == ("done", 2)
    assert log == [("observer.failed", "ZeroDivisionError()")]


# -- loops


async def test_loop(autojump_clock: MockClock) -> None:
    """The function is called again after each pause, until the manager closes."""
    poll = Flaky(0, 1)
    async with Manager() as bg:
        task = bg.loop(poll, pause=2)
        await trio.sleep(8)
    assert poll.calls == [0, 3, 6]
    assert (task.state, task.steps) == (TaskState.FINISHED, 3)


async def test_loop_without_a_pause(autojump_clock: MockClock) -> None:
    """By default the next call follows at once; a function that never waits starves nobody."""
    calls: list[float] = []
    async with Manager() as bg:
        bg.loop(lambda: calls.append(trio.current_time()))
        for _ in range(10):
            await trio.lowlevel.checkpoint()
    assert len(calls) > 1


async def test_loop_goes_on_after_a_failure(autojump_clock: MockClock) -> None:
    """An iteration that fails is reported as survived, and after the usual pause comes the next."""
    poll, heard, log = Flaky(2), Recorder(), Warnings()
    async with Manager(observers=[heard]) as bg:
        task = bg.loop(poll, pause=1)
        await trio.sleep(3.5)
    assert poll.calls == [0, 1, 2, 3]
    assert task.state is TaskState.FINISHED
    assert [event.survived for event in heard.of(TaskFailed)] == [True, True]
    assert len(log) == 2


async def test_failing_loop_is_never_hot(autojump_clock: MockClock) -> None:
    """Without a pause it waits longer after each failure in a row, up to a second."""
    Warnings()
    poll = Flaky(8)
    async with Manager() as bg:
        bg.loop(poll)
        await trio.sleep(4.2)
        bg.cancel()
    assert poll.calls == pytest.approx([0, 0.05, 0.15, 0.35, 0.75, 1.55, 2.55, 3.55])


@pytest.mark.parametrize("pause", [1e-6, 0.049])
async def test_failing_loop_is_not_hot_by_its_pause(pause: float, autojump_clock: MockClock) -> None:
    """A pause that is too short to be one after a failure is as good as none there."""
    Warnings()
    poll = Flaky(4)
    async with Manager() as bg:
        bg.loop(poll, pause=pause)
        await trio.sleep(0.76)
    assert poll.calls[:5] == pytest.approx([0, 0.05, 0.15, 0.35, 0.75])


async def test_success_ends_the_row_of_failures(autojump_clock: MockClock) -> None:
    """After an iteration that went well the waits begin anew."""
    Warnings()
    calls: list[float] = []

    async def alternate() -> None:
        calls.append(trio.current_time())
        if len(calls) % 2:
            raise ConnectionError
        await trio.sleep(1)

    async with Manager() as bg:
        bg.loop(alternate)
        await trio.sleep(3)
    assert calls == pytest.approx([0, 0.05, 1.05, 1.1, 2.1, 2.15])


async def test_pause_is_checked() -> None:
    """A negative pause is refused at the call."""
    async with Manager() as bg:
        with pytest.raises(ValueError, match="pause must be 0 or more seconds"):
            bg.loop(after, 1, pause=-1)
    assert len(bg) == 0


# -- retry


async def test_retry(autojump_clock: MockClock) -> None:
    """A run is tried again until it succeeds, each failure reported as survived; closing waits for that."""
    fetch, heard, log = Flaky(2), Recorder(), Warnings()
    async with Manager(observers=[heard]) as bg:
        task = bg.run(fetch, retry=Retry(3, wait=5))
    assert fetch.calls == [0, 5, 10]
    assert (task.state, task.result, task.error) == (TaskState.FINISHED, 3, None)
    assert [event.survived for event in heard.of(TaskFailed)] == [True, True]
    assert len(log) == 2


async def test_retry_gives_up(autojump_clock: MockClock) -> None:
    """The error of the last attempt is the task's; it is reported once, as the others are."""
    heard, log = Recorder(), Warnings()
    async with Manager(observers=[heard]) as bg:
        task = bg.run(Flaky(9), retry=Retry(3, wait=Backoff(1, 60)))
    assert trio.current_time() == 3
    assert task.state is TaskState.FAILED
    assert [str(error) for _, error in failures(heard)] == ["call 1", "call 2", "call 3"]
    assert len(log) == 3


async def test_retry_of_the_manager(autojump_clock: MockClock) -> None:
    """The manager's retry is for the tasks that have none of their own."""
    Warnings()
    async with Manager(retry=Retry(2)) as bg:
        by_default = bg.run(Flaky(1))
        never = bg.run(Flaky(1), retry=Retry(1))
    assert (by_default.state, never.state) == (TaskState.FINISHED, TaskState.FAILED)


async def test_retry_of_a_loop(autojump_clock: MockClock) -> None:
    """The attempts of one iteration are made with the retry's wait, those of the next after the pause."""
    Warnings()
    poll = Flaky(3)
    async with Manager() as bg:
        task = bg.loop(poll, pause=10, retry=Retry(2, wait=1))
        await trio.sleep(12.5)
        assert poll.calls == [0, 1, 11, 12]
    assert task.steps == 2


async def test_close_ends_the_wait_for_another_attempt_of_a_loop(autojump_clock: MockClock) -> None:
    """A loop that is told to end does not sit out a backoff."""
    Warnings()
    poll = Flaky(9)
    async with Manager() as bg:
        task = bg.loop(poll, retry=Retry(2, wait=100))
        await trio.sleep(1)
    assert (trio.current_time(), poll.calls) == (1, [0])
    assert task.state is TaskState.FINISHED


@pytest.mark.parametrize("retry", [3, "twice"])
async def test_retry_is_checked(retry: Any) -> None:
    """What is no Retry is refused, by the manager and by each task."""
    with pytest.raises(TypeError, match="retry must be a Retry or None"):
        Manager(retry=retry)
    async with Manager() as bg:
        with pytest.raises(TypeError, match="retry must be a Retry or None"):
            bg.run(after, 1, retry=retry)


# -- counting


async def test_counts(autojump_clock: MockClock) -> None:
    """Living tasks are counted, all together or by kind."""
    async with Manager() as bg:
        bg.run(after, 1)
        bg.run(after, 3)
        bg.loop(after, 5)
        assert (len(bg), bg.count("run"), bg.count("loop")) == (3, 2, 1)
        await trio.sleep(2)
        assert (len(bg), bg.count("run"), bg.count("loop")) == (2, 1, 1)
    assert (len(bg), bg.count("run"), bg.count("loop")) == (0, 0, 0)


async def test_count_refuses_other_kinds() -> None:
    """A kind that does not exist is an error and not nought."""
    with pytest.raises(ValueError, match="kind must be 'run' or 'loop', got 'cron'"):
        Manager().count("cron")  # type: ignore[arg-type]


async def test_repr(autojump_clock: MockClock) -> None:
    """It shows the live counts."""
    async with Manager() as bg:
        bg.run(after, 1)
        assert repr(bg) == "<Manager 'background' recurrent running, 1 runs, 0 loops>"


async def test_only_the_living_are_held(autojump_clock: MockClock) -> None:
    """Of all the tasks that a manager has seen nothing is left but the living ones."""
    Warnings()
    async with Manager(stalled_after=60) as bg:
        living = bg.run(after, 10)
        gone = [weakref.ref(bg.run(fn)) for _ in range(500) for fn in (Flaky(0), Flaky(1))]
        await trio.sleep(1)
        gc.collect()
        assert [task for task in gone if task() is not None] == []
        assert (len(bg), living.state) == (1, TaskState.RUNNING)


# -- wait, cancel, close


async def test_wait_is_for_closed_and_empty(autojump_clock: MockClock) -> None:
    """An empty manager that is open can still get a task: wait goes on until it is closed as well."""
    waited: list[float] = []

    async def waiter(bg: Manager) -> None:
        await bg.wait()
        waited.append(trio.current_time())

    async with trio.open_nursery() as nursery, Manager() as bg:
        nursery.start_soon(waiter, bg)
        await bg.run(after, 1).wait()
        await trio.sleep(4)
        bg.run(after, 2)
    assert waited == [7]


async def test_cancel(autojump_clock: MockClock) -> None:
    """Cancel ends everything at once, loops in a pause too; the block goes on and ends well."""
    async with Manager() as bg:
        tasks = [bg.run(trio.sleep_forever), bg.loop(after, 0, pause=100)]
        await trio.sleep(1)
        bg.cancel()
        await bg.wait()
        assert trio.current_time() == 1
        await trio.sleep(1)
    assert [task.state for task in tasks] == [TaskState.CANCELLED, TaskState.CANCELLED]
    with pytest.raises(JobCancelledError):
        await tasks[0].wait()


async def test_cancel_is_no_failure(autojump_clock: MockClock) -> None:
    """What was cancelled on request is not reported."""
    heard, log = Recorder(), Warnings()
    async with Manager(observers=[heard]) as bg:
        bg.run(trio.sleep_forever)
        await trio.sleep(1)
        bg.cancel()
    assert (heard.of(TaskFailed), log) == ([], [])


async def test_task_added_after_a_cancel() -> None:
    """A manager that was cancelled takes no more tasks, and calls nothing."""
    async with Manager() as bg:
        bg.cancel()
        with pytest.raises(JobStateError, match="takes no more tasks"):
            bg.run(uncalled)


async def test_aclose_waits(autojump_clock: MockClock) -> None:
    """Runs are awaited, a loop ends after its iteration."""
    poll = Flaky(0, 2)
    async with Manager() as bg:
        run = bg.run(after, 7, "done")
        loop = bg.loop(poll, pause=2)
        await trio.sleep(5)
        await bg.aclose()
        assert trio.current_time() == 7
    assert (run.result, loop.state, poll.calls) == ("done", TaskState.FINISHED, [0, 4])


async def test_aclose_ends_a_pause_at_once(autojump_clock: MockClock) -> None:
    """A loop that pauses has no iteration to wait for."""
    async with Manager() as bg:
        bg.loop(after, 0, pause=1000)
        await trio.sleep(1)
    assert trio.current_time() == 1


async def test_aclose_names_what_did_not_end(autojump_clock: MockClock) -> None:
    """At the timeout each task that is left gets a StopTimeoutError of its own, a warning, and is cancelled."""
    heard, log = Recorder(), Warnings()
    async with Manager(observers=[heard]) as bg:
        good = bg.run(after, 3)
        left = [bg.run(trio.sleep_forever), bg.loop(after, 100)]
        await bg.aclose(timeout=5)
        assert trio.current_time() == 5
    assert [task.state for task in (good, *left)] == [TaskState.FINISHED, TaskState.CANCELLED, TaskState.CANCELLED]
    assert [(task, type(error)) for task, error in failures(heard)] == [(task, StopTimeoutError) for task in left]
    assert [event for event, _ in log] == ["task.failed", "task.failed"]
    assert "task 'sleep_forever' had not ended 5 s after" in log[0][1]


async def test_named_tasks_are_survived(autojump_clock: MockClock) -> None:
    """The record of what had to be cancelled says where it was, and that nobody else suffered."""
    Warnings()
    heard = Recorder()
    async with Manager(observers=[heard]) as bg:
        task = bg.run(trio.sleep_forever)
        await bg.aclose(1)
    (event,) = heard.of(TaskFailed)
    assert (event.error.task, event.error.phase, event.survived, event.at) == (task, Phase.RUN, True, 1)


async def test_aclose_at_once(autojump_clock: MockClock) -> None:
    """With a timeout of 0 nobody is waited for."""
    Warnings()
    heard = Recorder()
    async with Manager(observers=[heard]) as bg:
        task = bg.run(trio.sleep_forever)
        await trio.sleep(1)
        await bg.aclose(0)
    assert (trio.current_time(), task.state) == (1, TaskState.CANCELLED)
    assert [task for task, _ in failures(heard)] == [task]


async def test_aclose_of_an_empty_manager(autojump_clock: MockClock) -> None:
    """With nothing to wait for it returns at once, as often as it is called."""
    async with Manager() as bg:
        await bg.aclose()
        await bg.aclose(0)
    assert trio.current_time() == 0


async def test_aclose_refuses_a_negative_timeout() -> None:
    """A wrong timeout closes nothing."""
    async with Manager() as bg:
        with pytest.raises(ValueError, match="timeout must be 0 or more seconds"):
            await bg.aclose(-1)
        bg.run(after, 0)


async def test_second_aclose_may_be_shorter(autojump_clock: MockClock) -> None:
    """Of two closings the shorter timeout counts, and each task is named once."""
    Warnings()
    heard = Recorder()
    async with Manager(observers=[heard]) as bg:
        bg.run(trio.sleep_forever)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bg.aclose, 100)
            nursery.start_soon(bg.aclose, 2)
    assert trio.current_time() == 2
    assert len(heard.of(TaskFailed)) == 1


async def test_closes_name_each_task_once(autojump_clock: MockClock) -> None:
    """Of closings that run out one after another the first names what it had to cancel, however long that takes to leave."""
    Warnings()
    heard = Recorder()

    async def slow_to_leave() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with Manager(observers=[heard]) as bg, trio.open_nursery() as nursery:
        bg.run(slow_to_leave)
        for seconds in (1, 1, 3):
            nursery.start_soon(bg.aclose, seconds)
    assert len(heard.of(TaskFailed)) == 1


async def test_cancel_in_the_middle_of_a_close(autojump_clock: MockClock) -> None:
    """A cancel cuts the waiting short: the close returns, and names nobody."""
    heard = Recorder()
    async with Manager(observers=[heard]) as bg, trio.open_nursery() as nursery:
        task = bg.run(trio.sleep_forever)
        nursery.start_soon(bg.aclose, 100)
        await trio.sleep(3)
        bg.cancel()
    assert (trio.current_time(), task.state) == (3, TaskState.CANCELLED)
    assert heard.of(TaskFailed) == []


async def test_close_that_is_cancelled(autojump_clock: MockClock) -> None:
    """A wait that is given up leaves the manager closed and its tasks running."""
    async with Manager() as bg:
        task = bg.run(after, 5, "done")
        with trio.move_on_after(1):
            await bg.aclose()
        assert task.state is TaskState.RUNNING
        with pytest.raises(JobStateError):
            bg.run(uncalled)
    assert task.result == "done"


async def test_task_added_while_closing(autojump_clock: MockClock) -> None:
    """From the moment of closing nothing more is taken, nor called; also not from a task that is awaited."""
    Warnings()

    async def spawn(bg: Manager) -> None:
        await trio.sleep(1)
        bg.run(uncalled)

    async with Manager() as bg:
        task = bg.run(spawn, bg)
    with pytest.raises(JobStateError, match="takes no more tasks"):
        await task.wait()


async def test_task_added_before_the_block(autojump_clock: MockClock) -> None:
    """It is started with the block."""
    bg = Manager()
    task = bg.run(after, 2, "early")
    await trio.sleep(1)
    assert task.state is TaskState.PENDING
    async with bg:
        assert await task.wait() == "early"
    assert trio.current_time() == 3


async def test_manager_closed_before_its_block() -> None:
    """The block is entered, and nothing in it is taken; what was added before is never called."""
    bg = Manager(stalled_after=1)
    task = bg.run(uncalled)
    await bg.aclose()
    async with bg:
        with pytest.raises(JobStateError):
            bg.run(uncalled)
    assert task.state is TaskState.CANCELLED


async def test_manager_opens_once() -> None:
    """A second block of the same manager is refused, inside of the first and after it."""
    async with Manager() as bg:
        with pytest.raises(JobStateError):
            await bg.__aenter__()
    with pytest.raises(JobStateError):
        await bg.__aenter__()


async def test_close_waits_for_exits(autojump_clock: MockClock) -> None:
    """What a task has entered is left before the manager is empty; at the timeout it is no longer named."""
    heard, left = Recorder(), []

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        yield
        await trio.sleep(3)
        left.append(trio.current_time())

    async def work() -> None:
        task = current_task()
        assert task is not None
        await task.enter(resource())

    async with Manager(observers=[heard]) as bg:
        bg.run(work)
        await bg.aclose(1)
    assert (left, heard.of(TaskFailed)) == ([3], [])


# -- the block's end


async def test_block_that_raises(autojump_clock: MockClock) -> None:
    """Everything is cancelled, and the error comes out as it was raised."""
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with Manager() as bg:
            task = bg.run(trio.sleep_forever)
            await trio.sleep(1)
            raise error
    assert caught.value is error
    assert (trio.current_time(), task.state) == (1, TaskState.CANCELLED)


async def test_block_that_raises_after_its_close(autojump_clock: MockClock) -> None:
    """An error that comes when nothing is left goes on just as bare."""
    with pytest.raises(ValueError, match="late"):
        async with Manager() as bg:
            await bg.aclose()
            raise ValueError("late")


async def test_task_that_never_ends(autojump_clock: MockClock) -> None:
    """The block's end waits for it; a timeout around the block cancels it, and is no error."""
    with trio.move_on_after(5) as scope:
        async with Manager() as bg:
            task = bg.run(trio.sleep_forever)
    assert scope.cancelled_caught
    assert (trio.current_time(), task.state) == (5, TaskState.CANCELLED)


async def test_interrupt_out_of_a_task(autojump_clock: MockClock) -> None:
    """What nobody may contain ends the manager and its block, and comes out bare."""

    async def interrupted() -> None:
        await trio.sleep(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with Manager() as bg:
            other = bg.run(trio.sleep_forever)
            bg.run(interrupted)
            await trio.sleep_forever()
    assert (trio.current_time(), other.state) == (1, TaskState.CANCELLED)


async def test_parent_that_finishes(autojump_clock: MockClock) -> None:
    """A manager inside of a job closes with it: it takes no more, and its runs have the job's grace."""
    tasks: list[Task] = []

    async def serve(task: Task) -> None:
        async with Manager() as bg:
            tasks.append(bg.run(after, 3, "drained"))
            await task.job.wait_stopping()
            with pytest.raises(JobStateError):
                bg.run(uncalled)
        task.done()

    j = Job[None](grace=10)
    j.add_task(serve)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert (trio.current_time(), j.state) == (3, JobState.DONE)
    assert tasks[0].result == "drained"


# -- stalls


async def test_stalled_run(autojump_clock: MockClock) -> None:
    """A run that takes too long is reported once, with the time of its beginning; it goes on."""
    heard, log = Recorder(), Warnings()
    async with Manager[str](observers=[heard], stalled_after=10) as bg:
        await trio.sleep(1)
        task = bg.run(after, 50, "late", meta="job 1")
    assert heard.of(TaskStalled) == [TaskStalled(task, since=1, at=11)]
    assert task.result == "late"
    assert log == [("task.stalled", "")]


async def test_quick_runs_do_not_stall(autojump_clock: MockClock) -> None:
    """Nothing is said of what ends in time, however many there are and wherever the watch stands."""
    heard = Recorder()
    async with Manager(observers=[heard], stalled_after=10) as bg:
        for _ in range(30):
            bg.run(after, 9)
            await trio.sleep(4)
    assert heard.of(TaskStalled) == []


async def test_several_stalls(autojump_clock: MockClock) -> None:
    """Each is reported when its own time is up."""
    heard = Recorder()
    Warnings()
    async with Manager(observers=[heard], stalled_after=10) as bg:
        first = bg.run(after, 30)
        await trio.sleep(5)
        second = bg.run(after, 30)
    assert [(event.task, event.at) for event in heard.of(TaskStalled)] == [(first, 10), (second, 15)]


async def test_stalled_iteration(autojump_clock: MockClock) -> None:
    """Of a loop each iteration is measured by itself, without the pauses."""
    heard, seconds = Recorder(), [9, 15, 9, 15]
    Warnings()

    async def iteration() -> None:
        await trio.sleep(seconds.pop(0))

    async with Manager(observers=[heard], stalled_after=10) as bg:
        bg.loop(iteration, pause=100)
        await trio.sleep(350)
    assert [(event.since, event.at) for event in heard.of(TaskStalled)] == [(109, 119), (333, 343)]


async def test_attempts_of_a_run_stall_together(autojump_clock: MockClock) -> None:
    """A run with its retries is one piece of work."""
    heard = Recorder()
    Warnings()
    async with Manager(observers=[heard], stalled_after=10) as bg:
        bg.run(Flaky(3), retry=Retry(4, wait=5))
    assert [event.at for event in heard.of(TaskStalled)] == [10]


@pytest.mark.parametrize("seconds", [0, -1])
def test_stalled_after_is_checked(seconds: float) -> None:
    """No time at all would make everything a stall."""
    with pytest.raises(ValueError, match="stalled_after must be"):
        Manager(stalled_after=seconds)


# -- struck at any moment


@pytest.mark.parametrize("by", Ask)
def test_guarantees_wherever_it_is_struck(by: Ask) -> None:
    """A job with a manager inside keeps all guarantees, and so does the manager's own, at whichever step they are stopped."""
    Warnings()

    async def work(task: Task) -> None:
        async with Manager(stalled_after=0.2) as bg:
            bg.run(after, 1)
            bg.run(Flaky(2, 0.3), retry=Retry(3, wait=0.1))
            bg.loop(Flaky(1, 0.3), pause=0.5)
            await trio.sleep(1)
            await bg.aclose(0.1)
        task.done()

    def build() -> Job[None]:
        j = Job[None](grace=1)
        j.add_task(work)
        return j

    for struck in cancel_at_each_checkpoint(build, by=by):
        for trace in struck.traces:
            check_trace(trace)
