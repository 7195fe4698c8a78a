"""What the end of one task means for its job: ERROR, STRICT, STOP_GROUP, CONTAIN and transient."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from job import (
    CauseKind,
    IdleTimeoutError,
    Job,
    JobCancelledError,
    JobState,
    Phase,
    StopPolicy,
    Task,
    TaskState,
    UnexpectedStopError,
    Verdict,
)
from tests.journal import done, forever


async def three_seconds(task: Task) -> None:
    """Be done after a while."""
    await trio.sleep(3)
    task.done("worked")


async def fail(task: Task) -> None:
    """Fail with an error that names the task."""
    await trio.lowlevel.checkpoint()
    raise ValueError(task.name)


def fails_in(phase: Phase) -> Callable[[Job[None]], object]:
    """Make a factory of a task that fails in one of its phases."""
    routines = {Phase.INIT: None, Phase.RUN: done, Phase.FINALIZE: None}
    return lambda job: tuple(({**routines, phase: fail}).values())


def verdict(j: Job[None]) -> Verdict:
    """Return the verdict of an ended job."""
    assert j.verdict is not None
    return j.verdict


# -- ERROR


@pytest.mark.parametrize("phase", Phase)
async def test_error_in_any_phase(phase: Phase) -> None:
    """Under ERROR an error in any phase fails the job."""
    j = Job[None]()
    task = j.add_task(fails_in(phase), name="bad")
    with pytest.raises(ValueError, match="bad") as info:
        await j.run()
    assert j.interrupted_by == (task, info.value)
    assert [(e.task, e.phase, e.error) for e in j.errors] == [(task, phase, info.value)]
    assert verdict(j).code == f"{'finalize' if phase is Phase.FINALIZE else 'error'}@bad:{phase.value}"


async def test_error_cancels_the_others() -> None:
    """An error of one task cancels the others."""
    j = Job[None]()
    other = j.add_task(forever)
    bad = j.add_task(fail)
    with pytest.raises(ValueError, match="fail"):
        await j.run()
    assert (j.state, other.state, bad.state) == (JobState.CANCELLED, TaskState.CANCELLED, TaskState.FAILED)


async def test_done_is_fine(autojump_clock: MockClock) -> None:
    """Under ERROR a done leaves the others alone."""
    j = Job[None]()
    j.add_task(done)
    other = j.add_task(three_seconds)
    await j.run()
    assert other.result == "worked"


# -- STRICT


async def test_strict_done() -> None:
    """Under STRICT a done before the job is stopping is an error."""
    j = Job[None]()
    task = j.add_task(done, policy=StopPolicy.STRICT)
    other = j.add_task(forever)
    with pytest.raises(UnexpectedStopError, match="done"):
        await j.run()
    assert (task.state, other.state) == (TaskState.FAILED, TaskState.CANCELLED)
    assert (verdict(j).cause.kind, verdict(j).code) == (CauseKind.UNEXPECTED_STOP, "unexpected-stop@done:run")


async def test_strict_error() -> None:
    """Under STRICT an error is an error as under ERROR."""
    j = Job[None]()
    j.add_task(fail, policy=StopPolicy.STRICT)
    with pytest.raises(ValueError, match="fail"):
        await j.run()


async def test_strict_done_while_stopping(autojump_clock: MockClock) -> None:
    """Under STRICT a done while the job is stopping is fine."""
    j = Job[None]()
    task = j.add_task(three_seconds, policy=StopPolicy.STRICT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish(grace=10)
    assert (j.state, task.state, task.result) == (JobState.DONE, TaskState.FINISHED, "worked")


async def test_strict_finish_job() -> None:
    """Under STRICT a task that finishes the job has not ended unexpectedly."""
    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: task.finish_job(), None), policy=StopPolicy.STRICT)
    assert await j.run() is JobState.DONE


# -- STOP_GROUP


async def test_stop_group_finishes_the_job(autojump_clock: MockClock) -> None:
    """When all tasks of the group are done the job finishes, and the others are stopped."""
    j = Job[None]()
    listener = j.add_task(forever)
    j.add_task(done, policy=StopPolicy.STOP_GROUP)
    j.add_task(three_seconds, policy=StopPolicy.STOP_GROUP)
    assert await j.run() is JobState.DONE
    assert (trio.current_time(), listener.state) == (3, TaskState.CANCELLED)
    assert (verdict(j).cause.kind, verdict(j).cut) == (CauseKind.FINISHED, (listener,))


async def test_stop_group_uses_the_grace(autojump_clock: MockClock) -> None:
    """The group's end is a finish: the others have the job's grace."""
    j = Job[None](grace=10)
    other = j.add_task(three_seconds)
    j.add_task(done, policy=StopPolicy.STOP_GROUP)
    await j.run()
    assert (other.state, other.result) == (TaskState.FINISHED, "worked")


async def test_stop_group_error() -> None:
    """An error in the group fails the job."""
    j = Job[None]()
    j.add_task(fail, policy=StopPolicy.STOP_GROUP)
    j.add_task(forever, policy=StopPolicy.STOP_GROUP)
    with pytest.raises(ValueError, match="fail"):
        await j.run()


async def test_stop_group_is_looked_at_after_the_inits(autojump_clock: MockClock) -> None:
    """A group whose tasks are done early waits for the inits of the others."""
    seen = []

    async def init(task: Task) -> None:
        await trio.sleep(1)
        seen.append("init")

    j = Job[None]()
    j.add_task(done, policy=StopPolicy.STOP_GROUP)
    j.add_task(lambda job: (init, forever, lambda task: seen.append("finalize")))
    assert await j.run() is JobState.DONE
    assert seen == ["init", "finalize"]


async def test_stop_group_without_run_does_not_count(autojump_clock: MockClock) -> None:
    """A task of the group that has no run neither ends the job nor holds it."""
    j = Job[None](timeout=5)
    j.add_task(lambda job: (None, None, done), policy=StopPolicy.STOP_GROUP)
    worker = j.add_task(three_seconds)
    await j.run()
    assert worker.result == "worked"


async def test_stop_group_with_late_member(autojump_clock: MockClock) -> None:
    """A task that joins the group while another of it runs is waited for."""

    async def adder(task: Task) -> None:
        task.job.add_task(three_seconds, policy=StopPolicy.STOP_GROUP)
        task.done()

    j = Job[None]()
    j.add_task(forever)
    j.add_task(adder, policy=StopPolicy.STOP_GROUP)
    await j.run()
    assert trio.current_time() == 3


async def test_stop_group_in_a_job_that_is_kept_open(autojump_clock: MockClock) -> None:
    """The end of the group finishes a job that is kept open, too."""
    j = Job[None](keep_open=True)
    j.add_task(three_seconds, policy=StopPolicy.STOP_GROUP)
    assert await j.run() is JobState.DONE


# -- CONTAIN


@pytest.mark.parametrize("phase", Phase)
async def test_contain_in_any_phase(phase: Phase, autojump_clock: MockClock) -> None:
    """Under CONTAIN an error in any phase is recorded, stops nobody and does not change the job's end."""
    j = Job[None]()
    bad = j.add_task(fails_in(phase), policy=StopPolicy.CONTAIN)
    other = j.add_task(three_seconds)
    assert await j.run() is JobState.DONE
    assert (other.result, j.interrupted_by) == ("worked", (None, None))
    assert [(e.task, e.phase) for e in j.errors] == [(bad, phase)]
    assert bad.error == j.errors[0]
    assert (verdict(j).cause.kind, verdict(j).code) == (CauseKind.FINISHED, "finished")


async def test_contained_init_that_fails() -> None:
    """A contained task whose init fails never runs, but is finalized; later inits go on."""
    seen = []
    j = Job[None]()
    bad = j.add_task(
        lambda job: (fail, lambda task: seen.append("run"), lambda task: seen.append("finalize")),
        policy=StopPolicy.CONTAIN,
    )
    j.add_task(lambda job: (lambda task: seen.append("second init"), done, None))
    await j.run()
    assert (seen, bad.state) == (["second init", "finalize"], TaskState.FAILED)


async def test_contained_idle_timeout(autojump_clock: MockClock) -> None:
    """A contained task's idle timeout ends that task alone."""
    j = Job[None]()
    bad = j.add_task(forever, idle_timeout=1, policy=StopPolicy.CONTAIN)
    other = j.add_task(three_seconds)
    assert await j.run() is JobState.DONE
    assert (bad.state, other.result) == (TaskState.FAILED, "worked")
    assert isinstance(j.errors[0].error, IdleTimeoutError)


async def test_contained_assertion() -> None:
    """A failed assertion is contained as any error."""
    j = Job[None]()
    bad = j.add_task(lambda job: (None, lambda task: task.assert_("bad"), None), policy=StopPolicy.CONTAIN)
    assert await j.run() is JobState.DONE
    assert bad.state is TaskState.FAILED


async def test_contained_missing_step() -> None:
    """A missing step is contained as any error."""
    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: None, None), policy=StopPolicy.CONTAIN)
    assert await j.run() is JobState.DONE


async def test_contained_dead_scope() -> None:
    """A contained task whose own scope dies is FAILED alone."""

    async def init(task: Task) -> None:
        (await task.enter(trio.CancelScope())).cancel()

    j = Job[None]()
    bad = j.add_task(lambda job: (init, forever, None), policy=StopPolicy.CONTAIN)
    assert await j.run() is JobState.DONE
    assert bad.state is TaskState.FAILED
    assert [type(e.error) for e in j.errors] == [JobCancelledError]


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
async def test_fatal_errors_are_not_contained(fatal: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit are never contained: they go on unchanged."""

    async def run(task: Task) -> None:
        raise fatal

    j = Job[None]()
    task = j.add_task(run, policy=StopPolicy.CONTAIN)
    other = j.add_task(forever)
    with pytest.raises(fatal):
        await j.run()
    assert (task.state, other.state) == (TaskState.FAILED, TaskState.CANCELLED)
    assert verdict(j).cause.kind is CauseKind.ERROR


async def test_contained_task_is_cancelled_with_the_job() -> None:
    """The failure of another task cancels a contained one as any."""
    j = Job[None]()
    contained = j.add_task(forever, policy=StopPolicy.CONTAIN)
    j.add_task(fail)
    with pytest.raises(ValueError, match="fail"):
        await j.run()
    assert contained.state is TaskState.CANCELLED


# -- transient


async def test_transient_leaves_the_tasks(autojump_clock: MockClock) -> None:
    """A transient task is finalized as soon as its loop ends, and leaves the tasks."""
    seen = []

    def brief(job: Job[None]) -> object:
        return None, done, lambda task: seen.append(trio.current_time())

    async def other(task: Task) -> None:
        await trio.sleep(3)
        task.done(task.job.tasks)

    j = Job[None]()
    j.add_task(brief, policy=StopPolicy.CONTAIN, transient=True)
    watcher = j.add_task(other)
    await j.run()
    assert (seen, watcher.result) == ([0], (watcher,))
    assert j.get_task(1) is None


@pytest.mark.parametrize("phase", Phase)
async def test_transient_error(phase: Phase) -> None:
    """A transient task's error is its own; it is not in the job's errors."""
    j = Job[None]()
    task = j.add_task(fails_in(phase), policy=StopPolicy.CONTAIN, transient=True)
    assert await j.run() is JobState.DONE
    assert j.errors == ()
    assert task.error is not None
    assert task.error.phase is phase


async def test_transient_holds_the_job(autojump_clock: MockClock) -> None:
    """The job waits for a transient task, its finalizer included."""

    async def slowly(task: Task) -> None:
        await trio.sleep(2)

    j = Job[None]()
    j.add_task(lambda job: (None, three_seconds, slowly), policy=StopPolicy.CONTAIN, transient=True)
    await j.run()
    assert trio.current_time() == 5


async def test_many_transient_tasks_while_running(autojump_clock: MockClock) -> None:
    """A job that sees many transient tasks holds only the living ones; indexes go on."""

    async def adder(task: Task) -> None:
        for _ in range(100):
            added = task.job.add_task(done, policy=StopPolicy.CONTAIN, transient=True)
            await added.wait()
        await trio.sleep(1)
        task.done((added.index, len(task.job.tasks)))

    j = Job[None]()
    task = j.add_task(adder)
    await j.run()
    assert task.result == (101, 1)


async def test_transient_cut_by_a_failure() -> None:
    """A transient task is finalized when the job fails, too."""
    seen = []
    j = Job[None]()
    task = j.add_task(
        lambda job: (None, forever, lambda task: seen.append("finalize")), policy=StopPolicy.CONTAIN, transient=True
    )
    j.add_task(fail)
    with pytest.raises(ValueError, match="fail"):
        await j.run()
    assert (seen, task.state) == (["finalize"], TaskState.CANCELLED)


async def test_transient_finalizer_raises_what_nobody_contains(autojump_clock: MockClock) -> None:
    """A KeyboardInterrupt in a transient task's finalizer cancels the job at once, one that is kept open too."""

    def interrupted(task: Task) -> None:
        raise KeyboardInterrupt

    j = Job[None](keep_open=True)
    other = j.add_task(forever)
    task = j.add_task(lambda job: (None, three_seconds, interrupted), policy=StopPolicy.CONTAIN, transient=True)
    with pytest.raises(KeyboardInterrupt):
        await j.run()
    assert (trio.current_time(), j.interrupted_by[0], other.state) == (3, task, TaskState.CANCELLED)
