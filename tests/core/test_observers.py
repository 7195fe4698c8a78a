"""The one event stream: who hears what, in which order, and what a faulty listener can do."""

from dataclasses import FrozenInstanceError

import pytest
import trio
from trio.testing import MockClock

from job import (
    Event,
    Job,
    JobEnded,
    JobState,
    JobStateChanged,
    Observer,
    StopPolicy,
    TaskAdded,
    TaskFailed,
    TaskState,
    TaskStateChanged,
    register_observer,
)
from job.testing import Recorder
from tests.journal import done, failing, forever, lasting


class Faulty:
    """An observer that raises at each event."""

    def on_event(self, event: Event, /) -> None:
        raise ZeroDivisionError("faulty observer")


async def test_events_of_a_job(autojump_clock: MockClock) -> None:
    """A job's observer hears all of its life, in order."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    task = j.add_task(lasting(2))
    await j.run()
    assert recorder.events == [
        TaskAdded(task, 0.0),
        JobStateChanged(j, JobState.NEW, JobState.RECURRENT_RUNNING, 0.0),
        TaskStateChanged(task, TaskState.PENDING, TaskState.RUNNING, 0.0),
        TaskStateChanged(task, TaskState.RUNNING, TaskState.FINISHED, 2.0),
        JobStateChanged(j, JobState.RECURRENT_RUNNING, JobState.FINALIZING, 2.0),
        JobStateChanged(j, JobState.FINALIZING, JobState.DONE, 2.0),
        JobEnded(j, j.verdict, 2.0),
    ]


def test_events_outside_of_trio() -> None:
    """Outside of a trio run `at` is None."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    task = j.add_task(done)
    j.cancel()
    assert recorder.events[0] == TaskAdded(task, None)
    assert recorder.events[-1] == JobEnded(j, j.verdict, None)


async def test_records_are_frozen() -> None:
    """Nobody changes a record."""
    recorder = Recorder()
    await Job[None](observers=[recorder]).run()
    with pytest.raises(FrozenInstanceError):
        recorder.events[0].at = 5.0  # type: ignore[misc]


async def test_task_failed() -> None:
    """TaskFailed carries the TaskError; of a failure that ends the job it says that it was not survived."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    task = j.add_task(failing(ValueError("bad")))
    with pytest.raises(ValueError, match="bad"):
        await j.run()
    (event,) = recorder.of(TaskFailed)
    assert (event.task, event.error, event.survived) == (task, j.errors[0], False)


@pytest.mark.parametrize("transient", [False, True])
async def test_task_failed_and_survived(transient: bool) -> None:
    """Of a contained failure TaskFailed says that it was survived."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    task = j.add_task(failing(ValueError("bad")), policy=StopPolicy.CONTAIN, transient=transient)
    await j.run()
    (event,) = recorder.of(TaskFailed)
    assert (event.task, event.error, event.survived) == (task, task.error, True)


async def test_task_failed_in_finalizer() -> None:
    """An error of a finalizer is told as well."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    j.add_task(lambda job: (None, done, failing(OSError("close"))))
    with pytest.raises(OSError, match="close"):
        await j.run()
    assert [event.error for event in recorder.of(TaskFailed)] == list(j.errors)


async def test_job_ended_is_last() -> None:
    """JobEnded comes once, as the last of a job's events, and the job has its verdict by then."""
    seen = []

    class Last:
        def on_event(self, event: Event, /) -> None:
            seen.append((type(event), j.verdict))

    j = Job[None](observers=[Last()])
    j.add_task(done)
    await j.run()
    assert [kind for kind, _ in seen].count(JobEnded) == 1
    assert seen[-1] == (JobEnded, j.verdict)


async def test_task_added_while_running() -> None:
    """A task added to a running job is told when it is added."""
    recorder = Recorder()

    async def adder(task: object) -> None:
        task.job.add_task(done)
        task.done()

    j = Job[None](observers=[recorder])
    j.add_task(adder)
    await j.run()
    assert [event.task.name for event in recorder.of(TaskAdded)] == ["adder", "done"]


# -- observers for all jobs


async def test_observer_for_all() -> None:
    """An observer for all hears of every job that starts, the tasks that were added before included."""
    j = Job[None]()
    oneshot, task = j.add_oneshot_task(done), j.add_task(done)
    recorder = Recorder()
    take_back = register_observer(recorder)
    await j.run()
    take_back()
    assert [event.task for event in recorder.of(TaskAdded)] == [oneshot, task]
    assert len(recorder.of(JobEnded)) == 1
    assert isinstance(recorder.events[2], JobStateChanged)


async def test_observer_taken_back() -> None:
    """A registration that was taken back concerns no job that starts later; taking back twice is harmless."""
    recorder = Recorder()
    take_back = register_observer(recorder)
    take_back()
    take_back()
    await Job[None]().run()
    assert recorder.events == []


async def test_observers_for_all_are_read_at_the_start(autojump_clock: MockClock) -> None:
    """Who registers while a job runs does not hear of that job."""
    recorder = Recorder()
    j = Job[None]()
    j.add_task(lasting(2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        take_back = register_observer(recorder)
    take_back()
    assert recorder.events == []


async def test_own_and_for_all() -> None:
    """A job's own observers and those for all hear the same; each once."""
    own, everybody = Recorder(), Recorder()
    take_back = register_observer(everybody)
    j = Job[None](observers=[own])
    j.add_task(done)
    await j.run()
    take_back()
    assert own.events[1:] == everybody.events[1:]
    assert own.of(TaskAdded)[0].task == everybody.of(TaskAdded)[0].task


# -- faulty ones


@pytest.mark.parametrize("before", [True, False])
async def test_faulty_observer_is_isolated(before: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """An observer that raises harms neither the job nor the other observers."""
    recorder = Recorder()
    j = Job[None](observers=[Faulty(), recorder] if before else [recorder, Faulty()])
    j.add_task(done)
    assert await j.run() is JobState.DONE
    assert len(recorder.of(JobEnded)) == 1


async def test_faulty_observer_is_logged_once() -> None:
    """A faulty observer is logged once, however many events it fails at."""
    lines = []
    j = Job[None](observers=[Faulty()])
    j.register_logger({0: lambda event, fields: lines.append((event, fields))}, level=0)
    for _ in range(3):
        j.add_task(done)
    await j.run()
    (line,) = lines
    assert "faulty observer" in repr(line)


async def test_faulty_observer_for_all(capfd: pytest.CaptureFixture[str]) -> None:
    """A faulty observer for all is isolated as well."""
    take_back = register_observer(Faulty())
    assert await Job[None]().run() is JobState.DONE
    take_back()


async def test_observer_that_acts() -> None:
    """An observer may cancel the job that it hears of."""

    class Canceller:
        def on_event(self, event: Event, /) -> None:
            if isinstance(event, TaskStateChanged) and event.new is TaskState.RUNNING:
                event.task.job.finish()

    j = Job[None](observers=[Canceller()])
    j.add_task(forever)
    assert await j.run() is JobState.DONE


@pytest.mark.parametrize("observer", [None, 5, object()])
def test_what_cannot_listen(observer: Observer) -> None:
    """What has no on_event is refused by name and value."""
    with pytest.raises(TypeError, match="observer"):
        register_observer(observer)
    with pytest.raises(TypeError, match="observer"):
        Job[None](observers=[observer])
