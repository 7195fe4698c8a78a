"""Idle timeouts: the clock, its holders, heartbeats and busy blocks (G7)."""

import math

import pytest
import trio
from trio.testing import MockClock

from job import CauseKind, IdleClock, IdleTimeoutError, Job, JobState, Phase, StopPolicy, Task, TaskState
from tests.journal import lasting


async def blocked(task: Task) -> None:
    """Block inside of run."""
    await trio.sleep_forever()


async def polling(task: Task) -> None:
    """Poll for ever."""
    task.idle()


async def ten_ticks(task: Task) -> None:
    """Tick each second, ten times."""
    await trio.sleep(1)
    task.result = (task.result or 0) + 1
    task.tick() if task.result < 10 else task.done()


# -- one holder


@pytest.mark.parametrize("run", [blocked, polling])
async def test_idle_timeout(run: object, autojump_clock: MockClock) -> None:
    """A task that does not tick within its timeout, blocked or polling, cancels the job with an error that names it."""
    j = Job[None]()
    task = j.add_task(run, name="reader", idle_timeout=2)
    with pytest.raises(IdleTimeoutError, match="reader") as info:
        await j.run()
    assert (task.state, j.interrupted_by) == (TaskState.FAILED, (task, info.value))
    assert task.error == j.errors[0]
    assert math.isclose(trio.current_time(), 2)


async def test_verdict_of_an_idle_timeout(autojump_clock: MockClock) -> None:
    """The verdict says IDLE, with task and phase."""
    j = Job[None]()
    j.add_task(blocked, name="read", idle_timeout=2)
    with pytest.raises(IdleTimeoutError):
        await j.run()
    assert j.verdict is not None
    assert (j.verdict.cause.kind, j.verdict.cause.phase, j.verdict.code) == (CauseKind.IDLE, Phase.RUN, "idle@read:run")


async def test_idle_timeout_is_a_timeout_error(autojump_clock: MockClock) -> None:
    """An idle timeout can be caught as a TimeoutError."""
    j = Job[None]()
    j.add_task(blocked, idle_timeout=2)
    with pytest.raises(TimeoutError):
        await j.run()


async def test_ticks_keep_alive(autojump_clock: MockClock) -> None:
    """A task that ticks in time goes on for as long as it likes."""
    j = Job[None]()
    j.add_task(ten_ticks, idle_timeout=1.5)
    assert await j.run() is JobState.DONE


async def test_heartbeat(autojump_clock: MockClock) -> None:
    """tick() inside of a long run restarts the clock."""

    async def long(task: Task) -> None:
        for _ in range(5):
            await trio.sleep(1)
            task.tick()
        task.done()

    j = Job[None]()
    j.add_task(long, idle_timeout=1.5)
    assert await j.run() is JobState.DONE


async def test_time_out_counts_from_the_last_tick(autojump_clock: MockClock) -> None:
    """The timeout counts from the last tick."""

    async def run(task: Task) -> None:
        await trio.sleep(1 if task.result is None else math.inf)
        task.result = "ticked"
        task.tick()

    j = Job[None]()
    j.add_task(run, idle_timeout=2)
    with pytest.raises(IdleTimeoutError):
        await j.run()
    assert trio.current_time() == 3


async def test_clock_starts_with_the_loop(autojump_clock: MockClock) -> None:
    """Neither the oneshot's time nor that of an init counts."""

    async def slowly(task: Task) -> None:
        await trio.sleep(9)
        task.done()

    j = Job[None]()
    j.add_oneshot_task(slowly)
    j.add_task(lambda job: (slowly, ten_ticks, slowly), idle_timeout=2)
    assert await j.run() is JobState.DONE


async def test_clock_ends_with_the_loop(autojump_clock: MockClock) -> None:
    """A task that is done is not idle, however long the others go on."""
    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: task.done(), None), idle_timeout=2)
    j.add_task(ten_ticks)
    assert await j.run() is JobState.DONE


async def test_swallowed_cancellation(autojump_clock: MockClock) -> None:
    """A task that goes on to a done after its idle timeout struck is FAILED all the same."""

    async def stubborn(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            task.done()
            return  # noqa: B012 - swallowing is the point

    j = Job[None]()
    task = j.add_task(stubborn, idle_timeout=2, policy=StopPolicy.CONTAIN)
    await j.run()
    assert (task.state, len(j.errors)) == (TaskState.FAILED, 1)


async def test_two_tasks_of_their_own(autojump_clock: MockClock) -> None:
    """Of several timeouts the first to run out decides."""
    j = Job[None]()
    j.add_task(blocked, name="patient", idle_timeout=5)
    hasty = j.add_task(blocked, name="hasty", idle_timeout=2)
    with pytest.raises(IdleTimeoutError, match="hasty"):
        await j.run()
    assert (j.interrupted_by[0], len(j.errors)) == (hasty, 1)


async def test_task_added_while_running(autojump_clock: MockClock) -> None:
    """The idle timeout of a task that is added later is enforced, too."""

    async def adder(task: Task) -> None:
        await trio.sleep(1)
        task.job.add_task(blocked, idle_timeout=2)
        await trio.sleep(50)

    j = Job[None]()
    j.add_task(adder)
    with pytest.raises(IdleTimeoutError, match="blocked"):
        await j.run()
    assert trio.current_time() == 3


async def test_shorter_timeout_added_while_another_is_watched(autojump_clock: MockClock) -> None:
    """A nearer deadline that comes later is not missed."""

    async def adder(task: Task) -> None:
        await trio.sleep(1)
        task.job.add_task(blocked, name="late", idle_timeout=2)
        await trio.sleep(50)

    j = Job[None]()
    j.add_task(adder, idle_timeout=40)
    with pytest.raises(IdleTimeoutError, match="late"):
        await j.run()
    assert trio.current_time() == 3


async def test_watch_that_began_before_the_host_was_free(autojump_clock: MockClock) -> None:
    """A job ends with its last task, though its own trio task ran a loop when the first idle timeout came."""

    async def adding(task: Task) -> None:
        task.job.add_task(lasting(1), idle_timeout=2.5)
        await trio.sleep(2)
        task.done()

    j = Job[None]()
    j.add_task(adding)
    j.add_task(lasting(3))
    assert await j.run() is JobState.DONE
    assert (trio.current_time(), j.errors) == (3, ())


async def test_idle_timeout_while_stopping(autojump_clock: MockClock) -> None:
    """Idle timeouts stay armed during a grace; the error takes finish's place."""
    j = Job[None]()
    j.add_task(blocked, idle_timeout=2)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.finish(grace=60)
    assert isinstance(j.interrupted_by[1], IdleTimeoutError)
    assert trio.current_time() == 2


# -- a shared clock


async def test_shared_clock(autojump_clock: MockClock) -> None:
    """The tick of one holder counts for all: nobody is idle before both are."""
    clock = IdleClock(2)
    j = Job[None]()
    first = j.add_task(blocked, name="up", idle_timeout=clock)
    j.add_task(ten_ticks, name="down", idle_timeout=clock)
    with pytest.raises(IdleTimeoutError, match="up"):
        await j.run()
    # The tenth step is a done, which is no sign of life.
    assert (trio.current_time(), j.interrupted_by[0]) == (11, first)


async def test_shared_clock_names_the_lowest_index(autojump_clock: MockClock) -> None:
    """On expiry the holder with the lowest index comes first."""
    clock = IdleClock(2)
    j = Job[None]()
    tasks = [j.add_task(blocked, name=name, idle_timeout=clock) for name in ("a", "b", "c")]
    with pytest.raises(IdleTimeoutError, match="'a'"):
        await j.run()
    assert j.interrupted_by[0] is tasks[0]


async def test_shared_clock_each_by_its_policy(autojump_clock: MockClock) -> None:
    """Each holder's own policy decides: the contained one is recorded first, the other cancels the job."""
    clock = IdleClock(2)
    j = Job[None]()
    first = j.add_task(blocked, name="contained", idle_timeout=clock, policy=StopPolicy.CONTAIN)
    second = j.add_task(blocked, name="strict", idle_timeout=clock)
    with pytest.raises(IdleTimeoutError, match="strict"):
        await j.run()
    assert [e.task for e in j.errors] == [first, second]
    assert (first.state, second.state) == (TaskState.FAILED, TaskState.FAILED)


async def test_shared_clock_of_contained_tasks(autojump_clock: MockClock) -> None:
    """All contained holders of one clock end, and the job goes on."""
    clock = IdleClock(2)
    j = Job[None]()
    pair = [j.add_task(blocked, idle_timeout=clock, policy=StopPolicy.CONTAIN) for _ in range(2)]
    j.add_task(ten_ticks)
    assert await j.run() is JobState.DONE
    assert [task.state for task in pair] == [TaskState.FAILED, TaskState.FAILED]


async def test_clock_shared_by_two_jobs(autojump_clock: MockClock) -> None:
    """A clock may be shared across jobs: the ticks of one keep the other alive."""
    clock = IdleClock(2)
    quiet = Job[None]()
    quiet.add_task(blocked, idle_timeout=clock)
    lively = Job[None]()
    lively.add_task(ten_ticks, idle_timeout=clock)
    async with trio.open_nursery() as nursery:
        await quiet.run_in_background(nursery)
        nursery.start_soon(lively.run)
    assert (trio.current_time(), lively.state, quiet.state) == (11, JobState.DONE, JobState.CANCELLED)


# -- busy


async def test_busy(autojump_clock: MockClock) -> None:
    """Work inside of busy does not count; the clock restarts at its end."""

    async def run(task: Task) -> None:
        with task.busy():
            await trio.sleep(10)
        await trio.sleep_forever()

    j = Job[None]()
    j.add_task(run, idle_timeout=2)
    with pytest.raises(IdleTimeoutError):
        await j.run()
    assert trio.current_time() == 12


async def test_busy_on_a_shared_clock(autojump_clock: MockClock) -> None:
    """While any holder is busy no holder is idle."""

    async def busy(task: Task) -> None:
        with task.busy():
            await trio.sleep(10)
        task.done()

    clock = IdleClock(2)
    j = Job[None]()
    j.add_task(busy, idle_timeout=clock)
    j.add_task(blocked, idle_timeout=clock)
    with pytest.raises(IdleTimeoutError, match="blocked"):
        await j.run()
    assert trio.current_time() == 12


async def test_busy_of_two_holders(autojump_clock: MockClock) -> None:
    """The clock restarts when the last busy block is left."""

    def busy_for(seconds: float) -> object:
        async def run(task: Task) -> None:
            with task.busy():
                await trio.sleep(seconds)
            await trio.sleep_forever()

        return run

    clock = IdleClock(2)
    j = Job[None]()
    j.add_task(busy_for(4), idle_timeout=clock)
    j.add_task(busy_for(10), idle_timeout=clock)
    with pytest.raises(IdleTimeoutError):
        await j.run()
    assert trio.current_time() == 12


async def test_busy_without_an_idle_timeout() -> None:
    """Without an idle timeout busy does nothing."""

    async def run(task: Task) -> None:
        with task.busy():
            await trio.lowlevel.checkpoint()
        task.done("fine")

    j = Job[None]()
    task = j.add_task(run)
    await j.run()
    assert task.result == "fine"


# -- the clock itself


async def test_clock(autojump_clock: MockClock) -> None:
    """touch restarts the clock; idle_for counts up from it, deadline is seconds after it."""
    clock = IdleClock(5)
    await trio.sleep(1)
    clock.touch()
    await trio.sleep(2)
    assert (clock.idle_for, clock.deadline, clock.seconds) == (2, 6, 5)


async def test_touch_from_outside_keeps_alive(autojump_clock: MockClock) -> None:
    """Anybody may touch the clock."""
    clock = IdleClock(2)
    j = Job[None]()
    j.add_task(blocked, idle_timeout=clock)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        clock.touch()
    assert trio.current_time() == 3


@pytest.mark.parametrize(("seconds", "end"), [(3, 3), (8, 8), (0.5, 1)])
async def test_seconds_are_writable(seconds: float, end: float, autojump_clock: MockClock) -> None:
    """A new limit counts at once, from the last touch: shorter ones wake the watch, longer ones put it off."""
    clock = IdleClock(4)
    j = Job[None]()
    j.add_task(blocked, idle_timeout=clock)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        clock.seconds = seconds
    assert trio.current_time() == end


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_wrong_seconds(seconds: float) -> None:
    """A clock refuses a limit that is none, by name and value, also when it is changed."""
    with pytest.raises(ValueError, match=rf"seconds.*{seconds}"):
        IdleClock(seconds)
    clock = IdleClock(1)
    with pytest.raises(ValueError, match=rf"seconds.*{seconds}"):
        clock.seconds = seconds


def test_clock_outside_of_trio() -> None:
    """A clock can be made and looked at outside of a trio run."""
    clock = IdleClock(3)
    assert (clock.seconds, clock.idle_for) == (3, 0)
