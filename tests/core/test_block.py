"""`async with` a job: it runs beside the block, and the first of the two to fail is the one that is heard."""

from contextvars import ContextVar

import pytest
import trio
from trio.testing import MockClock

from job import CauseKind, Job, JobCancelledError, JobState, JobStateError, Task, TaskState, current_job
from tests.journal import Journal, done, each_second, failing, forever, lasting

ENTERED = "entered"


async def test_entered_when_the_oneshot_is_done(autojump_clock: MockClock) -> None:
    """The block begins when the oneshot is done, and is given the job."""
    j = Job[str]()
    j.add_oneshot_task(lasting(2, lambda task: (setattr(j, "value", "connected"), task.done())))
    async with j as same:
        assert same is j
        assert trio.current_time() == 2
        assert (j.value, j.state) == ("connected", JobState.RECURRENT_RUNNING)
    assert j.state is JobState.DONE


async def test_entered_when_the_inits_are_done(autojump_clock: MockClock) -> None:
    """Without a oneshot when all inits are."""
    j = Job[None]()
    j.add_task(Journal().task("a", init=lasting(3, lambda _: None)))
    async with j:
        assert trio.current_time() == 3


async def test_end_of_the_block_cuts(autojump_clock: MockClock) -> None:
    """The block's end finishes the job; at grace 0 it cuts."""
    j = Job[None]()
    task = j.add_task(forever)
    async with j:
        await trio.sleep(1)
    assert trio.current_time() == 1
    assert (j.state, task.state) == (JobState.DONE, TaskState.CANCELLED)


async def test_end_of_the_block_within_a_grace(autojump_clock: MockClock) -> None:
    """With a grace the tasks come to their next step."""
    j = Job[None](grace=5)
    task = j.add_task(each_second)
    async with j:
        await trio.sleep(2.5)
    assert trio.current_time() == 3
    assert task.state is TaskState.FINISHED


async def test_end_of_the_block_waits_for_finalizers(autojump_clock: MockClock) -> None:
    """When the block is left the finalizers have ended."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", finalize=lasting(3, lambda _: journal.append("over"))))
    async with j:
        pass
    assert journal[-1] == "over"
    assert j.state is JobState.DONE


async def test_kept_open(autojump_clock: MockClock) -> None:
    """While the block runs the job stays up, though all its tasks are done."""
    j = Job[None]()
    j.add_task(done)
    async with j:
        await trio.sleep(10)
        assert j.state is JobState.RECURRENT_RUNNING
    assert j.state is JobState.DONE


async def test_empty_job_takes_tasks(autojump_clock: MockClock) -> None:
    """An empty job is kept open, too, and takes tasks."""
    async with Job[None]() as j:
        await trio.sleep(1)
        task = j.add_task(lasting(2, lambda task: task.done("result")))
        assert await task.wait() == "result"
    assert j.state is JobState.DONE


async def test_failure_before_the_block() -> None:
    """A failure of the oneshot is raised at the entry, bare."""
    error = ValueError("x")
    j = Job[None]()
    j.add_oneshot_task(failing(error))
    with pytest.raises(ValueError, match="x") as caught:
        async with j:
            pytest.fail(ENTERED)
    assert caught.value is error


async def test_failure_of_an_init_before_the_block() -> None:
    """So is that of an init."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", init=failing(ValueError("x"))))
    with pytest.raises(ValueError, match="x"):
        async with j:
            pytest.fail(ENTERED)
    assert journal == ["a.init", "a.finalize"]


async def test_job_fails_first(autojump_clock: MockClock) -> None:
    """The block is cancelled, and the job's error comes out."""
    error = ValueError("x")
    j = Job[None]()
    j.add_task(failing(error, after=1))
    with pytest.raises(ValueError, match="x") as caught:
        async with j:
            await trio.sleep_forever()
    assert caught.value is error
    assert trio.current_time() == 1
    assert len(j.errors) == 1


async def test_job_fails_first_then_the_block(autojump_clock: MockClock) -> None:
    """What else the block raises on the way goes to errors."""
    first, second = ValueError("first"), ValueError("second")
    j = Job[None]()
    j.add_task(failing(first, after=1))
    with pytest.raises(ValueError, match="first"):
        async with j:
            try:
                await trio.sleep_forever()
            finally:
                raise second
    assert [(e.task, e.phase, e.error) for e in j.errors[1:]] == [(None, None, second)]
    assert j.verdict is not None
    assert j.verdict.errors == j.errors


async def test_job_fails_first_and_the_block_takes_its_time(autojump_clock: MockClock) -> None:
    """Also where the block is slow to leave; the finalizers wait for it, as for a run loop."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", run=failing(ValueError("first"), after=1)))
    with pytest.raises(ValueError, match="first"):
        async with j:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                journal.append("block")
                raise KeyError("second")
    assert journal[-2:] == ["block", "a.finalize"]
    assert [type(e.error) for e in j.errors] == [ValueError, KeyError]


async def test_job_fails_first_with_a_nursery_in_the_block(autojump_clock: MockClock) -> None:
    """No Cancelled of the framework leaks, not even in a group."""
    j = Job[None]()
    j.add_task(failing(ValueError("x"), after=1))
    with pytest.raises(ValueError, match="x"):
        async with j, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)
    assert len(j.errors) == 1


async def test_error_and_cancelled_of_the_block_in_one_group(autojump_clock: MockClock) -> None:
    """Of a group that the block raises while it is cancelled, the Cancelled is left out."""

    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("late")

    j = Job[None]()
    j.add_task(failing(ValueError("x"), after=1))
    with pytest.raises(ValueError, match="x"):
        async with j, trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            await trio.sleep_forever()
    kept = j.errors[1].error
    assert isinstance(kept, ExceptionGroup)
    assert [type(error) for error in kept.exceptions] == [KeyError]


async def test_block_fails_first(autojump_clock: MockClock) -> None:
    """The job is cancelled, and the block's error comes out, the same object."""
    journal = Journal()
    error = ValueError("x")
    j = Job[None]()
    task = j.add_task(journal.task("a", run=forever))
    with pytest.raises(ValueError, match="x") as caught:
        async with j:
            await trio.sleep(1)
            raise error
    assert caught.value is error
    assert (j.state, task.state) == (JobState.CANCELLED, TaskState.CANCELLED)
    assert j.interrupted_by == (None, error)
    assert [(e.task, e.phase, e.error) for e in j.errors] == [(None, None, error)]
    assert journal[-1] == "a.finalize"


async def test_block_fails_first_then_the_job(autojump_clock: MockClock) -> None:
    """What the job adds on its way out goes to errors."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=forever, finalize=failing(KeyError("late"))))
    with pytest.raises(ValueError, match="x"):
        async with j:
            await trio.sleep(1)
            raise ValueError("x")
    assert [type(e.error) for e in j.errors] == [ValueError, KeyError]


async def test_block_that_finishes_first_and_a_failing_finalizer() -> None:
    """A finalizer's error after a good block comes out of the async with."""
    j = Job[None]()
    j.add_task(Journal().task("a", finalize=failing(KeyError("late"))))
    with pytest.raises(KeyError):
        async with j:
            pass


async def test_error_of_the_block_is_not_mapped() -> None:
    """error_wrapper is for errors of the job."""
    j = Job[None](error_wrapper=lambda error: RuntimeError("mapped"))
    with pytest.raises(ValueError, match="x"):
        async with j:
            raise ValueError("x")


async def test_hook_for_an_error_of_the_block() -> None:
    """on_shutdown hears of it."""
    heard = []
    error = ValueError("x")
    with pytest.raises(ValueError, match="x"):
        async with Job[None](on_shutdown=heard.append):
            raise error
    assert heard == [error]


async def test_outer_cancellation(autojump_clock: MockClock) -> None:
    """An outer Cancelled cancels block and job, and goes on."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", run=forever))
    with trio.move_on_after(1) as scope:
        async with j:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED
    assert journal[-1] == "a.finalize"


async def test_outer_cancellation_with_an_error_in_one_group(autojump_clock: MockClock) -> None:
    """The Cancelled came first; the block's error comes out as well, and is recorded without the Cancelled."""

    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("late")

    j = Job[None]()
    with pytest.raises(ExceptionGroup) as caught, trio.move_on_after(1):
        async with j, trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            await trio.sleep_forever()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert isinstance(j.interrupted_by[1], JobCancelledError)
    assert isinstance(j.errors[1].error, ExceptionGroup)


async def test_outer_cancellation_at_the_entry(autojump_clock: MockClock) -> None:
    """Also while the oneshot runs."""
    j = Job[None]()
    j.add_oneshot_task(forever)
    with trio.move_on_after(1) as scope:
        async with j:
            pytest.fail(ENTERED)
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED


async def test_own_scope_in_the_block(autojump_clock: MockClock) -> None:
    """A scope that the block cancels for itself concerns nobody."""
    async with Job[None]() as j:
        with trio.move_on_after(1):
            await trio.sleep_forever()
    assert j.state is JobState.DONE


async def test_cancel_in_the_block(autojump_clock: MockClock) -> None:
    """A cancel of the job cancels the block and comes out."""
    with pytest.raises(JobCancelledError, match="enough"):
        async with Job[None]() as j:
            j.cancel("enough")
            await trio.sleep_forever()


async def test_cancel_at_the_end_of_the_block() -> None:
    """Also where the block has nothing left to be cancelled."""
    with pytest.raises(JobCancelledError):
        async with Job[None]() as j:
            j.cancel()


async def test_finish_in_the_block(autojump_clock: MockClock) -> None:
    """A finish ends the job under its block, which is not disturbed and may wait for the end."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", run=forever))
    async with j:
        j.finish()
        assert await j.wait() is JobState.DONE
        assert journal[-1] == "a.finalize"
        await trio.sleep(1)
        journal.append("block")
    assert journal[-1] == "block"


async def test_finish_by_a_task(autojump_clock: MockClock) -> None:
    """A task may finish the job; the block goes on to its own end."""
    j = Job[None]()
    j.add_task(lasting(1, Task.finish_job))
    async with j:
        await j.wait_stopping()
        with pytest.raises(JobStateError):
            j.add_task(done)
        await trio.sleep(5)
    assert trio.current_time() == 6
    assert j.state is JobState.DONE


async def test_block_fails_after_the_job_was_finished(autojump_clock: MockClock) -> None:
    """The block's error comes out; the job, which has ended well, stays DONE."""
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught:
        async with Job[None]() as j:
            j.finish()
            await j.wait()
            raise error
    assert caught.value is error
    assert j.state is JobState.DONE
    assert j.verdict is not None
    assert j.errors == j.verdict.errors


async def test_block_fails_under_the_grace(autojump_clock: MockClock) -> None:
    """While the job is still ending the block's error takes finish's place."""
    j = Job[None](grace=5)
    j.add_task(forever)
    with pytest.raises(ValueError, match="x"):
        async with j:
            j.finish()
            await trio.sleep(1)
            raise ValueError("x")
    assert j.state is JobState.CANCELLED
    assert trio.current_time() == 1


async def test_finalizer_fails_under_the_block(autojump_clock: MockClock) -> None:
    """A finalizer that fails after a finish cancels the block, and its error comes out."""
    j = Job[None]()
    j.add_task(Journal().task("a", finalize=failing(ValueError("x"), after=1)))
    with pytest.raises(ValueError, match="x"):
        async with j:
            j.finish()
            await trio.sleep_forever()
    assert trio.current_time() == 1


async def test_finish_and_failure_while_kept_open(autojump_clock: MockClock) -> None:
    """A cancel under a grace does not let the finalizers start before the loops have exited."""
    journal = Journal()

    async def run(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            journal.append("left")

    j = Job[None](keep_open=True)
    j.add_task(journal.task("a", run=run))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish(10)
        await trio.sleep(1)
        j.cancel()
    assert journal[-2:] == ["left", "a.finalize"]


async def test_entered_after_a_good_end(autojump_clock: MockClock) -> None:
    """The block is entered also where the job has ended well: by its oneshot, or before its run."""
    entered = []
    by_oneshot, before = Job[None](), Job[None]()
    by_oneshot.add_oneshot_task(lasting(1, Task.finish_job))
    before.finish()
    for j in (by_oneshot, before):
        async with j:
            entered.append(j)
        assert j.state is JobState.DONE
    assert entered == [by_oneshot, before]


async def test_not_entered_after_a_cancel() -> None:
    """One cancelled before its run is not."""
    j = Job[None]()
    j.cancel(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        async with j:
            pytest.fail(ENTERED)


async def test_runs_once() -> None:
    """A job that was run cannot be entered, and the other way round."""
    j = Job[None]()
    async with j:
        with pytest.raises(JobStateError):
            await j.run()
    with pytest.raises(JobStateError):
        async with j:
            pytest.fail(ENTERED)


async def test_base_exception_of_the_block() -> None:
    """KeyboardInterrupt and its kind come out as they are."""
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        async with Job[None]() as j:
            raise error
    assert caught.value is error
    assert j.state is JobState.CANCELLED


async def test_base_exception_of_the_block_after_the_jobs_error(autojump_clock: MockClock) -> None:
    """They go on even where the job had failed first; its error stays the cause."""
    j = Job[None]()
    j.add_task(failing(ValueError("x"), after=1))
    with pytest.raises(SystemExit):
        async with j:
            try:
                await trio.sleep_forever()
            finally:
                raise SystemExit(3)
    assert isinstance(j.interrupted_by[1], ValueError)


async def test_group_of_the_block_is_the_same_object() -> None:
    """An error group of the block comes out as it is."""
    group = ExceptionGroup("mine", [ValueError("x")])
    with pytest.raises(ExceptionGroup) as caught:
        async with Job[None]():
            raise group
    assert caught.value is group


async def test_block_belongs_to_its_surroundings() -> None:
    """The block is no part of the job: it has no current job, and its context variables are its own."""
    variable: ContextVar[int] = ContextVar("variable", default=0)
    j = Job[None]()
    j.add_oneshot_task(lasting(0, lambda task: (variable.set(1), task.done())))
    async with j:
        assert current_job() is None
        assert variable.get() == 0
        token = variable.set(2)
    variable.reset(token)
    assert variable.get() == 0


async def test_block_of_a_child_that_its_parent_cancels(autojump_clock: MockClock) -> None:
    """Out of the parent's reach, the block is cancelled and the reason comes out."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        with pytest.raises(JobCancelledError):
            async with child:
                parent.cancel()
                await trio.sleep_forever()
    assert child.verdict is not None
    assert child.verdict.cause.kind is CauseKind.PARENT


async def test_child_that_its_parent_cancels_before_the_block(autojump_clock: MockClock) -> None:
    """The same at the entry."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    child.add_oneshot_task(lasting(1, lambda _: parent.cancel()))
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        with pytest.raises(JobCancelledError):
            async with child:
                pytest.fail(ENTERED)


async def test_block_of_a_child_inside_its_parent(autojump_clock: MockClock) -> None:
    """Within the parent's reach it is the parent's cancellation that goes on."""

    async def run(task: Task) -> None:
        async with Job[None]():
            await trio.sleep_forever()

    parent = Job[None]()
    task = parent.add_task(run)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        await trio.sleep(1)
        parent.cancel()
    assert task.state is TaskState.CANCELLED
    assert len(parent.errors) == 1
