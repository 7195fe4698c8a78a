"""`once` and `recurrent`: tasks made of functions."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Job, JobState, Routines, Task, TaskState
from job.tasks import every, once, recurrent, retry
from tests.journal import Journal, done, failing, nothing


async def test_once_is_done_with_the_return_value(autojump_clock: MockClock) -> None:
    """The function is called once, with the task; what it returns is the task's result."""
    calls: list[Task] = []

    async def fetch(task: Task) -> str:
        calls.append(task)
        return "page"

    j = Job[Any]()
    task = j.add_task(once(fetch))
    assert await j.run() is JobState.DONE
    assert (calls, task.result, task.steps) == ([task], "page", 1)


async def test_once_takes_a_plain_function(autojump_clock: MockClock) -> None:
    """A plain function is no factory here."""
    j = Job[Any]()
    task = j.add_task(once(lambda task: task.index))
    await j.run()
    assert task.result == 1


async def test_once_keeps_a_result_that_the_function_set(autojump_clock: MockClock) -> None:
    """A function that calls `done` itself and returns nothing has said what the result is."""

    async def fetch(task: Task) -> None:
        task.done("page")

    j = Job[Any]()
    task = j.add_task(once(fetch))
    await j.run()
    assert task.result == "page"


async def test_tick_inside_of_once_is_a_heartbeat(autojump_clock: MockClock) -> None:
    """It does not make the function be called again."""

    async def fetch(task: Task) -> int:
        task.tick()
        return task.steps

    j = Job[Any]()
    task = j.add_task(once(fetch))
    await j.run()
    assert (task.result, task.steps) == (0, 1)


async def test_once_as_oneshot(autojump_clock: MockClock) -> None:
    """It makes a oneshot of a function that sets the value."""
    journal = Journal()

    async def connect(task: Task) -> None:
        task.job.value = "stream"

    j = Job[Any]()
    j.add_oneshot_task(once(connect))
    j.add_task(journal.task("read"))
    await j.run()
    assert (j.value, journal[0]) == ("stream", "read.init")


async def test_recurrent_ticks(autojump_clock: MockClock) -> None:
    """The function is called again and again."""

    async def work(task: Task) -> None:
        await trio.sleep(1)

    j = Job[Any]()
    task = j.add_task(recurrent(work))
    with trio.move_on_after(3.5):
        await j.run()
    assert task.steps == 3


async def test_steps_inside_of_recurrent_stand(autojump_clock: MockClock) -> None:
    """A function may end the task by itself."""
    j = Job[Any]()
    task = j.add_task(recurrent(done))
    await j.run()
    assert (task.state, task.steps) == (TaskState.FINISHED, 1)


async def test_plain_recurrent_does_not_starve_the_others(autojump_clock: MockClock) -> None:
    """A function that never awaits is a loop like any other."""
    j = Job[Any]()
    j.add_task(recurrent(lambda task: None))
    j.add_task(finish_soon)
    assert await j.run() is JobState.DONE


async def finish_soon(task: Task) -> None:
    """Finish the job, some checkpoints later: virtual time stands still while a loop spins."""
    for _ in range(5):
        await trio.lowlevel.checkpoint()
    task.finish_job()


@pytest.mark.parametrize("wrapper", [once, recurrent])
def test_name(wrapper: Any) -> None:
    """The task has the function's name, a trailing `_task` dropped, partial or not."""

    def poll_task(task: Task, where: str = "") -> None: ...

    j = Job[Any]()
    assert j.add_task(wrapper(poll_task)).name == "poll"
    assert j.add_task(wrapper(functools.partial(poll_task, where="here"))).name == "poll"
    assert repr(wrapper(poll_task)) == "<task factory 'poll'>"


async def test_object_keeps_its_other_routines(autojump_clock: MockClock) -> None:
    """An object with a run method is taken as one."""
    journal: list[str] = []

    class Poller:
        def init(self, task: Task) -> None:
            journal.append("init")

        def run(self, task: Task) -> str:
            return "run"

        def finalize(self, task: Task) -> None:
            journal.append("finalize")

    j = Job[Any]()
    task = j.add_task(once(Poller()))
    await j.run()
    assert (journal, task.result) == (["init", "finalize"], "run")


async def test_class_is_a_factory(autojump_clock: MockClock) -> None:
    """It is called with the job."""

    class Poller:
        def __init__(self, job: Job[Any]) -> None:
            self.job = job

        async def run(self, task: Task) -> str:
            return self.job.name

    j = Job[Any](name="mine")
    task = j.add_task(once(Poller))
    await j.run()
    assert task.result == "mine"


async def test_around_another_wrapper(autojump_clock: MockClock) -> None:
    """`once(retry(fetch))` is as good as `retry(once(fetch))`."""
    calls: list[float] = []

    async def fetch(task: Task) -> str:
        calls.append(trio.current_time())
        if len(calls) < 3:
            raise OSError
        return "page"

    j = Job[Any]()
    task = j.add_task(once(retry(fetch, attempts=3, wait=1)))
    await j.run()
    assert (calls, task.result) == ([0, 1, 2], "page")


async def test_stopped_wait_is_not_done(autojump_clock: MockClock) -> None:
    """A oneshot that is stopped while it waits for its next attempt has not succeeded: nobody is initialised."""
    journal = Journal()
    j = Job[Any](grace=20)
    task = j.add_oneshot_task(once(retry(failing(OSError()), attempts=3, wait=5)))
    j.add_task(journal.task("read"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish()
    assert (j.state, task.state, journal) == (JobState.DONE, TaskState.FINISHED, [])
    assert trio.current_time() == 1


@pytest.mark.parametrize("routines", [(None, nothing, None), Routines(run=nothing)])
async def test_factory_is_refused(routines: object, autojump_clock: MockClock) -> None:
    """A user's factory taken for a function gets an error that says so."""
    j = Job[Any]()
    j.add_task(once(lambda task: routines), name="mixed up")
    with pytest.raises(
        TypeError, match="'mixed up' was called with a task and returned routines: it is a factory already"
    ):
        await j.run()


@pytest.mark.parametrize("result", [(1, 2, 3), (None, None, None), (nothing, 1, None)])
async def test_other_tuples_are_results(result: object, autojump_clock: MockClock) -> None:
    """Three of something are not taken for routines."""
    j = Job[Any]()
    task = j.add_task(once(lambda task: result))
    await j.run()
    assert task.result is result


async def test_no_run(autojump_clock: MockClock) -> None:
    """What has no run is left as it is."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(once(every(1, journal.task("set up", run=None))))
    await j.run()
    assert journal == ["set up.init", "set up.finalize"]
