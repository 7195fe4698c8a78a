"""`retry`: a failing run call is made again."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Job, JobCancelledError, JobState, Phase, Routines, Task, TaskFailed, TaskState
from job.tasks import Backoff, every, retry
from job.testing import Recorder
from tests.journal import Journal, done, failing, nothing


class Flaky:
    """A run that fails for as long as there are errors left; it notes when it was called."""

    def __init__(self, *errors: Exception, takes: float = 0) -> None:
        self.errors = list(errors)
        self.takes = takes
        self.calls: list[float] = []

    async def run(self, task: Task) -> None:
        """Fail, or be done."""
        self.calls.append(trio.current_time())
        await trio.sleep(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        task.done("page")


async def test_tries_again(autojump_clock: MockClock) -> None:
    """The attempt that succeeds takes the step."""
    flaky = Flaky(OSError("1"), OSError("2"))
    j = Job[Any]()
    task = j.add_task(retry(flaky, attempts=3, wait=2))
    assert await j.run() is JobState.DONE
    assert (flaky.calls, task.result, task.steps, j.errors) == ([0, 2, 4], "page", 1, ())


async def test_last_error_stands(autojump_clock: MockClock) -> None:
    """When all attempts are spent the job has the error of the last one, and no other."""
    errors = [OSError("1"), OSError("2"), OSError("3")]
    j = Job[Any]()
    j.add_task(retry(Flaky(*errors), attempts=3))
    with pytest.raises(OSError, match="3") as caught:
        await j.run()
    assert caught.value is errors[2]
    assert [failure.error for failure in j.errors] == [errors[2]]


async def test_survived_errors_are_told(autojump_clock: MockClock) -> None:
    """Observers hear of each, and the log has a line for it."""
    lines: list[str] = []
    recorder = Recorder()
    j = Job[Any](observers=[recorder])
    j.register_logger({0: lambda event, fields: lines.append(f"{event} {fields['error']}")}, level=0)
    task = j.add_task(retry(Flaky(OSError("1"), OSError("2")), attempts=3))
    await j.run()
    told = [
        (event.task, event.survived, event.error.phase, str(event.error.error)) for event in recorder.of(TaskFailed)
    ]
    assert told == [(task, True, Phase.RUN, "1"), (task, True, Phase.RUN, "2")]
    assert lines == ["task.failed OSError('1')", "task.failed OSError('2')"]
    assert task.error is None


async def test_backoff(autojump_clock: MockClock) -> None:
    """The wait may grow."""
    flaky = Flaky(*[OSError() for _ in range(4)])
    j = Job[Any]()
    j.add_task(retry(flaky, attempts=5, wait=Backoff(1, 4)))
    await j.run()
    assert flaky.calls == [0, 1, 3, 7, 11]


async def test_each_call_has_all_attempts(autojump_clock: MockClock) -> None:
    """A step in between makes the count start again."""
    calls = 0

    async def poll(task: Task) -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise OSError
        if calls == 10:
            task.done()
        else:
            task.tick()

    j = Job[Any]()
    j.add_task(retry(poll, attempts=2))
    await j.run()
    assert calls == 10


async def test_other_errors_are_not_for_it(autojump_clock: MockClock) -> None:
    """Only what `on` names is tried again."""
    flaky = Flaky(OSError(), ValueError("not that"))
    j = Job[Any]()
    j.add_task(retry(flaky, attempts=5, on=(OSError, LookupError)))
    with pytest.raises(ValueError, match="not that"):
        await j.run()
    assert len(flaky.calls) == 2


async def test_assertions_are_errors(autojump_clock: MockClock) -> None:
    """A failed assertion of the task is tried again like any exception."""
    calls = 0

    async def check(task: Task) -> None:
        nonlocal calls
        calls += 1
        task.assert_true(calls == 2, "not yet")
        task.done()

    j = Job[Any]()
    j.add_task(retry(check, attempts=2))
    assert await j.run() is JobState.DONE


async def test_step_of_a_failed_attempt_does_not_count(autojump_clock: MockClock) -> None:
    """A heartbeat before the failure is not the step of the attempt that follows."""
    calls = 0

    async def poll(task: Task) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            task.done("early")
            raise OSError
        task.done("late")

    j = Job[Any]()
    task = j.add_task(retry(poll, attempts=2))
    await j.run()
    assert (task.result, calls) == ("late", 2)


@pytest.mark.parametrize("grace", [0, 100])
async def test_finish_ends_the_wait(grace: float, autojump_clock: MockClock) -> None:
    """At once, whatever the grace, and there is no other attempt."""
    flaky = Flaky(*[OSError() for _ in range(4)])
    j = Job[Any]()
    task = j.add_task(retry(flaky, attempts=9, wait=60))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(5)
        j.finish(grace)
    assert (trio.current_time(), j.state, task.state, j.errors) == (5, JobState.DONE, TaskState.FINISHED, ())
    assert flaky.calls == [0]


async def test_failure_while_stopping_is_survived(autojump_clock: MockClock) -> None:
    """The same as one that came just before the stop."""
    flaky = Flaky(OSError(), takes=3)
    j = Job[Any]()
    j.add_task(retry(flaky, attempts=9))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish(100)
    assert (flaky.calls, j.state, trio.current_time()) == ([0], JobState.DONE, 3)


async def test_endless_attempts_do_not_starve(autojump_clock: MockClock) -> None:
    """Without a wait there is still a checkpoint between two."""
    j = Job[Any]()

    async def fail(task: Task) -> None:
        raise OSError

    j.register_logger({9: lambda event, fields: None}, level=0)
    j.add_task(retry(fail, attempts=10**9))
    j.add_task(failing(ValueError("enough"), 0))
    with pytest.raises(ValueError, match="enough"):
        await j.run()


async def test_init_and_finalizer_are_left_alone(autojump_clock: MockClock) -> None:
    """A failing init fails."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(retry(journal.task("poll", init=failing(OSError())), attempts=9))
    with pytest.raises(OSError):
        await j.run()
    assert (j.tasks[0].name, journal) == ("poll", ["poll.init", "poll.finalize"])


async def test_no_run(autojump_clock: MockClock) -> None:
    """What has no run is left as it is."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(retry(journal.task("set up", run=None), attempts=2))
    await j.run()
    assert journal == ["set up.init", "set up.finalize"]


async def test_cancelled_is_no_error(autojump_clock: MockClock) -> None:
    """A cancellation is not tried again."""
    flaky = Flaky(takes=100)
    j = Job[Any]()
    j.add_task(retry(flaky, attempts=9))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run_in_background, nursery)
        await trio.sleep(1)
        j.cancel()
    assert flaky.calls == [0]
    assert isinstance(j.interrupted_by[1], JobCancelledError)


async def test_factory_that_is_a_coroutine_function(autojump_clock: MockClock) -> None:
    """The mistake is found through the wrapper too, and named."""

    async def factory(job: object) -> Routines:
        return Routines(run=nothing)

    j = Job[Any]()
    j.add_task(every(1, retry(factory, attempts=3)))
    with pytest.raises(TypeError, match="'factory' is a coroutine function and returned routines"):
        await j.run()


async def test_done_at_once(autojump_clock: MockClock) -> None:
    """Nothing fails, nothing waits."""
    j = Job[Any]()
    j.add_task(retry(done, attempts=1))
    assert await j.run() is JobState.DONE
