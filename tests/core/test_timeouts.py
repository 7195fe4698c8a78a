"""The times a job keeps: its timeout, and those of finalizers, of the shutdown hook and of the whole stop."""

import math

import pytest
import trio
from trio.testing import MockClock

from job import (
    CauseKind,
    FinalizeTimeoutError,
    Job,
    JobCancelledError,
    JobState,
    JobTimeoutError,
    StopTimeoutError,
    Task,
    TaskState,
)
from tests.journal import Journal, Routine, done, each_second, failing, forever, lasting, nothing

SLOW = lasting(50, lambda _: None)


# -- timeout


async def test_timeout(autojump_clock: MockClock) -> None:
    """A job that is still running at its timeout is cancelled with JobTimeoutError."""
    j = Job[None](name="slow", timeout=3)
    task = j.add_task(forever)
    with pytest.raises(JobTimeoutError, match="slow"):
        await j.run()
    assert trio.current_time() == 3
    assert j.interrupted_by[0] is None
    assert [(e.task, e.phase) for e in j.errors] == [(None, None)]
    assert task.state is TaskState.CANCELLED
    assert j.verdict is not None
    assert (j.verdict.code, j.verdict.cause.at) == ("timeout", 3)


async def test_timeout_is_a_timeout_error(autojump_clock: MockClock) -> None:
    """The builtin TimeoutError catches it."""
    j = Job[None](timeout=1)
    j.add_task(forever)
    with pytest.raises(TimeoutError):
        await j.run()


@pytest.mark.parametrize("run", [each_second, Task.tick, Task.idle])
async def test_timeout_of_any_loop(run: object, autojump_clock: MockClock) -> None:
    """Whatever the loop does: wait, spin or idle."""
    if run is Task.tick:
        autojump_clock.rate = 1000
    j = Job[None](timeout=2.5)
    j.add_task(lambda _: (None, run, None))
    with pytest.raises(JobTimeoutError):
        await j.run()


async def test_timeout_of_the_oneshot(autojump_clock: MockClock) -> None:
    """The timeout counts from the start, oneshot included."""
    journal = Journal()
    j = Job[None](timeout=2)
    j.add_oneshot_task(journal.task("one", run=forever))
    j.add_task(journal.task("a"))
    with pytest.raises(JobTimeoutError):
        await j.run()
    assert journal == ["one.init", "one.run", "one.finalize"]


async def test_timeout_of_an_init(autojump_clock: MockClock) -> None:
    """And inits."""
    journal = Journal()
    j = Job[None](timeout=2)
    j.add_task(journal.task("a", init=forever))
    j.add_task(journal.task("b"))
    with pytest.raises(JobTimeoutError):
        await j.run()
    assert journal == ["a.init", "a.finalize"]


async def test_timeout_of_a_job_with_nothing_to_do(autojump_clock: MockClock) -> None:
    """A job that is only kept open has a timeout, too."""
    with pytest.raises(JobTimeoutError):
        await Job[None](timeout=2, keep_open=True).run()
    assert trio.current_time() == 2


async def test_no_timeout_for_finalizers(autojump_clock: MockClock) -> None:
    """The timeout covers everything up to the finalizers."""
    j = Job[None](timeout=3)
    j.add_task(Journal().task("a", run=lasting(2), finalize=lasting(5, lambda _: None)))
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 7


async def test_timeout_that_is_not_needed(autojump_clock: MockClock) -> None:
    """A job that ends in time leaves no timer behind."""
    j = Job[None](timeout=100)
    j.add_task(done)
    await j.run()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf


async def test_timeout_after_a_cause(autojump_clock: MockClock) -> None:
    """Once there is a cause the timeout adds nothing."""
    journal = Journal()

    async def run(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    j = Job[None](timeout=3)
    j.add_task(journal.task("a", run=run))
    j.add_task(failing(ValueError("x"), after=1))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert len(j.errors) == 1


@pytest.mark.parametrize("finalize", [None, nothing])
async def test_timeout_while_the_last_loop_is_shielded(finalize: Routine | None, autojump_clock: MockClock) -> None:
    """The time was up before the finalizers, whether or not anybody heard of it."""

    async def run(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        task.done()

    j = Job[None](timeout=2)
    task = j.add_task(lambda _: (None, run, finalize))
    with pytest.raises(JobTimeoutError):
        await j.run()
    assert task.state is TaskState.FINISHED


@pytest.mark.parametrize("option", ["timeout", "grace", "finalize_timeout", "stop_timeout"])
@pytest.mark.parametrize("value", [-1, math.nan, "3", None])
def test_times_are_checked(option: str, value: object) -> None:
    """A wrong time is refused at the call, by name and value."""
    with pytest.raises((TypeError, ValueError), match=option) as caught:
        Job[None](**{option: value})
    assert repr(value) in str(caught.value)


# -- finalize_timeout


async def test_slow_finalizer(autojump_clock: MockClock) -> None:
    """A finalizer that overruns is cut, and recorded by name."""
    j = Job[None](finalize_timeout=2)
    task = j.add_task(Journal().task("slow", finalize=SLOW))
    with pytest.raises(FinalizeTimeoutError, match="slow"):
        await j.run()
    assert trio.current_time() == 2
    assert j.interrupted_by[0] is task
    assert j.verdict is not None
    assert j.verdict.code == "finalize@slow:finalize"


async def test_default_finalize_timeout(autojump_clock: MockClock) -> None:
    """It has ten seconds by default."""
    j = Job[None]()
    j.add_task(Journal().task("slow", finalize=SLOW))
    with pytest.raises(FinalizeTimeoutError):
        await j.run()
    assert trio.current_time() == 10


async def test_slow_finalizer_stops_no_other(autojump_clock: MockClock) -> None:
    """Each has its own time."""
    journal = Journal()
    j = Job[None](finalize_timeout=2)
    for name in "abc":
        j.add_task(journal.task(name, finalize=SLOW))
    with pytest.raises(FinalizeTimeoutError, match="c"):
        await j.run()
    assert journal[-3:] == ["c.finalize", "b.finalize", "a.finalize"]
    assert trio.current_time() == 6
    assert len(j.errors) == 3


async def test_finalizer_and_exits_share_their_time(autojump_clock: MockClock) -> None:
    """What a task has entered is left within the same time, but left it is."""
    journal = Journal()

    class Resource:
        async def __aenter__(self) -> None: ...
        async def __aexit__(self, *_: object) -> None:
            journal.append("exit")
            await trio.sleep(1)
            journal.append("never")

    async def init(task: Task) -> None:
        await task.enter(Resource())

    j = Job[None](finalize_timeout=2)
    j.add_task(lambda _: (init, done, SLOW))
    with pytest.raises(FinalizeTimeoutError):
        await j.run()
    assert journal == ["exit"]
    assert trio.current_time() == 2
    assert len(j.errors) == 1


async def test_finalizer_that_hides_its_overrun(autojump_clock: MockClock) -> None:
    """An overrun is reported though the finalizer swallows the cancellation or raises something else."""

    async def finalize(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    j = Job[None](finalize_timeout=2)
    j.add_task(Journal().task("deaf", finalize=finalize))
    with pytest.raises(FinalizeTimeoutError, match="deaf"):
        await j.run()
    assert trio.current_time() == 5


async def test_slow_finalizer_after_an_error(autojump_clock: MockClock) -> None:
    """It never replaces the user's error."""
    j = Job[None](finalize_timeout=2)
    j.add_task(Journal().task("slow", run=failing(ValueError("x")), finalize=SLOW))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert [type(e.error) for e in j.errors] == [ValueError, FinalizeTimeoutError]


async def test_forceful_close(autojump_clock: MockClock) -> None:
    """What comes after an overrun of the whole stop is still called, but cancelled: trio's forceful close."""
    closed = []

    async def finalize(task: Task) -> None:
        try:
            await trio.sleep(1)
        finally:
            closed.append(task.name)

    j = Job[None](stop_timeout=3)
    j.add_task(Journal().task("a", finalize=finalize))
    j.add_task(Journal().task("b", finalize=SLOW))
    with pytest.raises(StopTimeoutError, match="b"):
        await j.run()
    assert closed == ["a"]
    assert trio.current_time() == 3


async def test_forceful_close_from_the_first_check(autojump_clock: MockClock) -> None:
    """Also what looks for a cancellation without waiting finds it."""
    sent = []

    async def finalize(task: Task) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        sent.append("goodbye")

    j = Job[None](stop_timeout=3)
    j.add_task(Journal().task("a", finalize=finalize))
    j.add_task(Journal().task("b", finalize=SLOW))
    with pytest.raises(StopTimeoutError, match="b"):
        await j.run()
    assert sent == []


# -- stop_timeout


async def test_stop_timeout_is_one_budget(autojump_clock: MockClock) -> None:
    """on_shutdown and all finalizers share it, from when the run loops have exited."""

    async def hook(error: BaseException) -> None:
        await trio.sleep(2)

    j = Job[None](stop_timeout=5, on_shutdown=hook)
    j.add_task(Journal().task("a", run=lasting(10, lambda task: task.job.cancel()), finalize=SLOW))
    j.add_task(Journal().task("b", finalize=lasting(2, lambda _: None)))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert trio.current_time() == 15
    assert [type(e.error) for e in j.errors] == [JobCancelledError, StopTimeoutError]
    assert j.errors[1].task is j.get_task(1)


async def test_quick_finalizers_after_an_overrun(autojump_clock: MockClock) -> None:
    """One that does not wait for anything has overrun nothing."""
    j = Job[None](stop_timeout=1)
    j.add_task(Journal().task("quick"))
    j.add_task(Journal().task("slow", finalize=SLOW))
    with pytest.raises(StopTimeoutError, match="slow"):
        await j.run()
    assert len(j.errors) == 1


# -- on_shutdown


async def test_hook(autojump_clock: MockClock) -> None:
    """on_shutdown is called once with the error, when the loops have exited and before the finalizers."""
    journal = Journal()
    error = ValueError("x")

    async def hook(heard: BaseException) -> None:
        assert heard is error
        await trio.sleep(1)
        journal.append("hook")

    async def run(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            journal.append("left")

    j = Job[None](on_shutdown=hook)
    j.add_task(journal.task("a", run=run))
    j.add_task(failing(error, after=1))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert journal[-3:] == ["left", "hook", "a.finalize"]


async def test_plain_hook(autojump_clock: MockClock) -> None:
    """It may be a plain function, and hears of an outer cancellation, too."""
    heard: list[BaseException] = []
    j = Job[None](on_shutdown=heard.append)
    j.add_task(forever)
    with trio.move_on_after(1):
        await j.run()
    assert [type(error) for error in heard] == [JobCancelledError]


async def test_hook_is_shielded(autojump_clock: MockClock) -> None:
    """An outer cancellation does not reach it."""
    ended = []

    async def hook(error: BaseException) -> None:
        await trio.sleep(5)
        ended.append(trio.current_time())

    j = Job[None](on_shutdown=hook)
    j.add_task(forever)
    with trio.move_on_after(1):
        await j.run()
    assert ended == [6]


@pytest.mark.parametrize("end", [Task.done, Task.finish_job])
async def test_no_hook_for_a_good_end(end: object) -> None:
    """Not called where the job ended well, or was finished."""
    heard: list[BaseException] = []
    j = Job[None](on_shutdown=heard.append)
    j.add_task(lasting(0, end))  # type: ignore[arg-type]
    await j.run()
    assert heard == []


async def test_no_hook_for_a_finalizers_error() -> None:
    """Nor for an error that first arises in a finalizer."""
    heard: list[BaseException] = []
    j = Job[None](on_shutdown=heard.append)
    j.add_task(Journal().task("a", finalize=failing(ValueError("x"))))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert heard == []


async def test_error_of_the_hook() -> None:
    """Its error goes to errors, and the finalizers run."""
    journal = Journal()

    def hook(error: BaseException) -> None:
        raise KeyError("hook")

    j = Job[None](on_shutdown=hook)
    j.add_task(journal.task("a", run=failing(ValueError("x"))))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert [(type(e.error), e.task, e.phase) for e in j.errors[1:]] == [(KeyError, None, None)]
    assert journal[-1] == "a.finalize"


async def test_slow_hook(autojump_clock: MockClock) -> None:
    """It has the finalize_timeout to itself, and is cut then."""

    async def hook(error: BaseException) -> None:
        await trio.sleep(50)

    j = Job[None](on_shutdown=hook, finalize_timeout=2)
    j.add_task(Journal().task("a", run=failing(ValueError("x")), finalize=lasting(1, lambda _: None)))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert trio.current_time() == 3
    assert [type(e.error) for e in j.errors] == [ValueError, FinalizeTimeoutError]


async def test_hook_after_the_budget(autojump_clock: MockClock) -> None:
    """A hook that the stop_timeout cuts is a StopTimeoutError."""

    async def hook(error: BaseException) -> None:
        await trio.sleep(50)

    j = Job[None](on_shutdown=hook, stop_timeout=2)
    j.add_task(failing(ValueError("x")))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert trio.current_time() == 2
    assert [type(e.error) for e in j.errors] == [ValueError, StopTimeoutError]


async def test_hook_in_the_jobs_own_context() -> None:
    """on_shutdown is no part of any task: it sees no state of the task that ended last."""
    states = []
    j = Job[None](on_shutdown=lambda _: states.append(j.state))
    j.add_task(failing(ValueError("x")))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert states == [JobState.STOPPING]


# -- together


async def test_timeout_within_the_grace(autojump_clock: MockClock) -> None:
    """Where the grace ends before the timeout it is a good end."""
    j = Job[None](timeout=10)
    j.add_task(forever)
    async with j:
        j.finish(5)
        await j.wait()
    assert trio.current_time() == 5
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.FINISHED
