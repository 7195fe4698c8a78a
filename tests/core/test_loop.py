"""The run loop: fairness, the pause of idle tasks, and how a stop reaches it; the scopes a run may open for a stop."""

import itertools
from time import monotonic

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, assert_no_checkpoints

from job import Job, JobState, JobTimeoutError, Task, TaskState
from job._core.trio.time_slice import TimeSlice


async def spin(task: Task) -> None:
    """Tick without ever awaiting."""
    task.tick()


# -- fairness


async def test_spinning_loop_does_not_starve_others() -> None:
    """A loop that never awaits lets the other loops of its job run."""

    async def quitter(task: Task) -> None:
        task.tick()
        task.result = (task.result or 0) + 1
        if task.result == 5:
            task.finish_job()

    j = Job[None]()
    j.add_task(spin)
    j.add_task(quitter)
    assert await j.run() is JobState.DONE


async def test_spinning_loops_do_not_starve_others() -> None:
    """Neither do a hundred of them."""

    async def quitter(task: Task) -> None:
        await trio.lowlevel.checkpoint()
        task.finish_job()

    j = Job[None]()
    for _ in range(100):
        j.add_task(spin)
    j.add_task(quitter)
    assert await j.run() is JobState.DONE


@pytest.mark.parametrize("add", ["add_task", "add_oneshot_task"])
async def test_spinning_loop_does_not_outlive_the_timeout(add: str) -> None:
    """A loop that never awaits ends with the job's timeout, on the real clock."""
    j = Job[None](timeout=0.01)
    getattr(j, add)(spin)
    with pytest.raises(JobTimeoutError):
        await j.run()


async def test_spinning_loop_does_not_outlive_an_outer_deadline() -> None:
    """A loop that never awaits ends with the caller's deadline."""
    j = Job[None]()
    j.add_task(spin)
    with trio.move_on_after(0.01) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED


async def test_spinning_loop_does_not_outlive_the_grace() -> None:
    """A oneshot that never awaits, and goes on under a grace, ends with it."""
    j = Job[None]()
    task = j.add_oneshot_task(spin)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        while task.state is TaskState.PENDING:
            await trio.lowlevel.checkpoint()
        j.finish(0.01)
    assert (j.state, task.state) == (JobState.DONE, TaskState.FINISHED)


async def test_every_tick_is_a_checkpoint_under_a_mock_clock(mock_clock: MockClock) -> None:
    """Under a MockClock two spinning loops take turns at every tick."""
    seen = []

    async def run(task: Task) -> None:
        seen.append(task.index)
        task.tick() if len(seen) < 20 else task.finish_job()

    j = Job[None]()
    j.add_task(run)
    j.add_task(run)
    await j.run()
    assert {seen[1:19].count(1), seen[1:19].count(2)} == {9}


async def test_shielded_suspensions_do_not_outlive_a_deadline() -> None:
    """A loop that suspends where no cancellation reaches it is asked between its steps."""

    async def run(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        task.tick()

    j = Job[None]()
    j.add_task(run)
    with trio.move_on_after(0.01) as scope:
        await j.run()
    assert scope.cancelled_caught


async def test_loop_that_has_suspended_goes_on() -> None:
    """A loop gives way if it does not suspend by itself; if it has, it only looks whether it is cancelled."""
    turns = TimeSlice()
    await trio.lowlevel.checkpoint()
    with pytest.raises(AssertionError, match="did not yield"), assert_checkpoints():
        await turns.yield_if_due()
    with assert_checkpoints():
        await turns.yield_if_due()


async def test_loops_that_have_suspended_share_a_slice() -> None:
    """Those that come by in the same slice may spin from now on: the more they are, the sooner each is asked again."""
    turns = TimeSlice()
    turns.slice = 60
    shares = []
    for _ in range(3):
        await trio.lowlevel.checkpoint()
        shares.append(await turns.yield_if_due() - monotonic())
    assert [round(share) for share in shares] == [60, 30, 20]


async def test_loop_goes_on_within_a_slice() -> None:
    """As long as the slice lasts that another loop was given, nobody gives way."""
    turns = TimeSlice()
    turns.slice_ends = monotonic() + 60
    with assert_no_checkpoints():
        assert await turns.yield_if_due() == turns.slice_ends


async def test_plain_run_is_fair_too(autojump_clock: MockClock) -> None:
    """A loop of a plain function outlives no deadline."""
    j = Job[None](timeout=3)
    j.add_task(lambda job: (None, lambda task: task.tick(), None))
    j.add_task(lambda job: (None, lambda task: task.idle(), None))
    with trio.testing.assert_checkpoints():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(j.wait)
            await nursery.start(j.run)
            j.finish()


# -- idle


async def test_idle_does_not_spin(autojump_clock: MockClock) -> None:
    """An idle loop polls at most every 50 ms or so once it has been idle for a while."""
    j = Job[None](timeout=10)
    task = j.add_task(lambda job: (None, lambda task: task.idle(), None))
    with pytest.raises(JobTimeoutError):
        await j.run()
    assert 150 < j.statistics().tasks[0].steps < 250
    assert task.state is TaskState.CANCELLED


async def test_idle_pause_grows_and_falls_back(autojump_clock: MockClock) -> None:
    """The pause starts at nothing, grows to about 50 ms, and is back at nothing after a tick."""
    times = []

    async def run(task: Task) -> None:
        times.append(trio.current_time())
        if len(times) == 22:
            task.done()
        elif len(times) == 20:
            task.tick()
        else:
            task.idle()

    j = Job[None]()
    j.add_task(run)
    await j.run()
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses[0] == 0
    assert pauses[:19] == pytest.approx(sorted(pauses[:19]))
    assert 0.03 <= pauses[18] <= 0.1
    assert pauses[19:] == [0, 0]


async def test_idle_pause_is_ended_by_finish(autojump_clock: MockClock) -> None:
    """A finish ends the pause of an idle task at once, whatever the grace; it counts as stopped at a step."""
    j = Job[None]()
    task = j.add_task(lambda job: (None, lambda task: task.idle(), None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1.01)
        before = trio.current_time()
        j.finish(grace=100)
    assert trio.current_time() == before
    assert task.state is TaskState.FINISHED


async def test_idle_pause_cut_by_finish_without_grace(autojump_clock: MockClock) -> None:
    """Between steps a finish at grace 0 finds the task finished, not cut."""
    j = Job[None]()
    task = j.add_task(lambda job: (None, lambda task: task.idle(), None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1.01)
        j.finish()
    assert task.state is TaskState.FINISHED
    assert j.verdict is not None
    assert (j.verdict.cut, j.verdict.code) == ((), "finished")


async def test_idle_pause_ended_by_cancel(autojump_clock: MockClock) -> None:
    """A cancel between two steps makes the task CANCELLED."""
    j = Job[None]()
    task = j.add_task(lambda job: (None, lambda task: task.idle(), None))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1.01)
        j.cancel()
    assert task.state is TaskState.CANCELLED


# -- a stop between and inside of steps


async def test_finish_stops_at_the_next_step(autojump_clock: MockClock) -> None:
    """Within a grace a finish lets the current call of run come to its end."""
    seen = []

    async def run(task: Task) -> None:
        await trio.sleep(2)
        seen.append(trio.current_time())
        task.tick()

    j = Job[None](grace=5)
    task = j.add_task(run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(3)
        j.finish()
    assert seen == [2, 4]
    assert task.state is TaskState.FINISHED


async def test_heartbeat_is_not_between_steps(autojump_clock: MockClock) -> None:
    """A task cut in the middle of its run is CANCELLED, also when it had ticked as a heartbeat before."""

    async def run(task: Task) -> None:
        task.tick()
        await trio.sleep_forever()

    j = Job[None]()
    task = j.add_task(run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert task.state is TaskState.CANCELLED
    assert j.verdict is not None
    assert j.verdict.code == "finished-cut@run:run"


# -- cancel_on_stop


async def test_cancel_on_stop(autojump_clock: MockClock) -> None:
    """cancel_on_stop cancels its block when the job is asked to stop; no step is needed then."""

    async def run(task: Task) -> None:
        with task.cancel_on_stop() as scope:
            await trio.sleep_forever()
        task.result = scope.cancelled_caught

    j = Job[None](grace=60)
    task = j.add_task(run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert (task.result, task.state, trio.current_time()) == (True, TaskState.FINISHED, 1)


async def test_cancel_on_stop_leaves_the_rest_of_run_alone(autojump_clock: MockClock) -> None:
    """What follows the block runs on within the grace."""

    async def run(task: Task) -> None:
        with task.cancel_on_stop():
            await trio.sleep_forever()
        await trio.sleep(2)
        task.done("flushed")

    j = Job[None](grace=60)
    task = j.add_task(run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert (task.result, trio.current_time()) == ("flushed", 3)


async def test_cancel_on_stop_entered_late(autojump_clock: MockClock) -> None:
    """A block that is entered while the job is stopping is cancelled at its first checkpoint."""

    async def run(task: Task) -> None:
        task.job.finish(60)
        with task.cancel_on_stop():
            await trio.sleep_forever()

    j = Job[None]()
    j.add_task(run)
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 0


async def test_cancel_on_stop_without_a_stop(autojump_clock: MockClock) -> None:
    """While nobody asks for a stop the block is an ordinary one, and a step is needed."""

    async def run(task: Task) -> None:
        with task.cancel_on_stop() as scope:
            await trio.sleep(1)
        task.done(scope.cancelled_caught)

    j = Job[None]()
    task = j.add_task(run)
    await j.run()
    assert task.result is False


async def test_cancel_on_stop_in_the_oneshot(autojump_clock: MockClock) -> None:
    """A oneshot that leaves its wait at a stop has not succeeded: no recurrent task is started."""

    async def connect(task: Task) -> None:
        with task.cancel_on_stop():
            await trio.sleep_forever()

    j = Job[None](grace=60)
    j.add_oneshot_task(connect)
    other = j.add_task(spin)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert (j.state, other.state, trio.current_time()) == (JobState.DONE, TaskState.CANCELLED, 1)


# -- what else a loop tells


async def test_steps_are_counted() -> None:
    """statistics() tells the steps of each task, in a frozen snapshot."""

    async def run(task: Task) -> None:
        task.result = (task.result or 0) + 1
        task.tick() if task.result < 7 else task.done()

    j = Job[None](name="counted")
    j.add_task(run, name="seven")
    await j.run()
    statistics = j.statistics()
    assert [(t.name, t.steps) for t in statistics.tasks] == [("seven", 7)]
    with pytest.raises(AttributeError):
        statistics.tasks = ()  # type: ignore[misc]


async def test_statistics_of_a_running_job(autojump_clock: MockClock) -> None:
    """A snapshot tells state, age and the idle time that is left."""

    async def run(task: Task) -> None:
        await trio.sleep(2)
        task.done(task.job.statistics())

    j = Job[None]()
    task = j.add_task(run, idle_timeout=10)
    await j.run()
    assert (task.result.state, task.result.age) == (JobState.RECURRENT_RUNNING, 2)
    assert task.result.tasks[0].idle_left == 8


def test_statistics_outside_of_trio() -> None:
    """A job that was built outside of trio has statistics, but no age."""
    j = Job[None]()
    j.add_task(spin, idle_timeout=10)
    assert (j.statistics().state, j.statistics().age) == (JobState.NEW, None)


# -- until_stop


async def later(value: str, seconds: float = 1) -> str:
    """Give a value, in a while."""
    await trio.sleep(seconds)
    return value


async def test_until_stop(autojump_clock: MockClock) -> None:
    """It gives what the call gives."""

    async def run(task: Task) -> None:
        task.done(await task.until_stop(later, "whole", 2, default="cut"))

    j = Job()
    task = j.add_task(run)
    await j.run()
    assert (task.result, trio.current_time()) == ("whole", 2)


@pytest.mark.parametrize(("options", "result"), [({"default": "cut"}, "cut"), ({}, None)])
@pytest.mark.parametrize("before", [0, 5])
async def test_until_stop_that_is_stopped(
    options: dict[str, str], result: str | None, before: float, autojump_clock: MockClock
) -> None:
    """A stop cuts the call, or has cut it before it begins, and the default stands for its result."""

    async def run(task: Task) -> None:
        await trio.sleep(before)
        task.done(await task.until_stop(trio.sleep_forever, **options))

    j = Job(grace=60)
    task = j.add_task(run)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert (task.result, task.state, trio.current_time()) == (result, TaskState.FINISHED, max(1, before))


async def test_until_stop_raises_what_the_call_raises(autojump_clock: MockClock) -> None:
    """An error of the call is the task's."""

    async def fail(number: int) -> None:
        raise ValueError(number)

    async def run(task: Task) -> None:
        await task.until_stop(fail, 5)

    j = Job()
    j.add_task(run)
    with pytest.raises(ValueError, match="5"):
        await j.run()


async def test_until_stop_in_a_scope_that_is_cancelled(autojump_clock: MockClock) -> None:
    """Who cancels the call is not taken for a stop."""

    async def run(task: Task) -> None:
        with trio.move_on_after(1):
            await task.until_stop(trio.sleep_forever, default="cut")
            raise AssertionError("it was cancelled")
        task.done("went on")

    j = Job()
    task = j.add_task(run)
    await j.run()
    assert task.result == "went on"


async def test_until_stop_of_a_call(autojump_clock: MockClock) -> None:
    """What was called already is refused, and its coroutine closed."""

    async def run(task: Task) -> None:
        await task.until_stop(later("called"))  # type: ignore[arg-type]

    j = Job()
    j.add_task(run)
    with pytest.raises(TypeError, match="fn must be a function, not called yet"):
        await j.run()
