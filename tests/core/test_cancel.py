"""What interrupts a job: errors, `Job.cancel`, an outer cancel scope. The first cause wins, and nothing is lost."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock

from job import (
    AssertFailedError,
    CauseKind,
    Event,
    Job,
    JobCancelledError,
    JobState,
    JobStateError,
    Phase,
    StopPolicy,
    Task,
    TaskState,
    TaskStateChanged,
)
from tests.journal import Journal, Routine, done, each_second, failing, forever, lasting, nothing


def raising_on_the_way_out(error: Exception) -> Routine:
    """Return a routine that fails when it is cancelled."""

    async def routine(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    return routine


# -- Job.cancel


async def test_cancel_raises_its_error(autojump_clock: MockClock) -> None:
    """Run raises what cancel was given, the very object."""
    error = ValueError("mine")
    j = Job[None]()
    task = j.add_task(forever)
    j.add_task(lasting(1, lambda _: j.cancel(error)))
    with pytest.raises(ValueError, match="mine") as caught:
        await j.run()
    assert caught.value is error
    assert j.interrupted_by == (None, error)
    assert [(e.task, e.phase, e.error) for e in j.errors] == [(None, None, error)]
    assert task.state is TaskState.CANCELLED


@pytest.mark.parametrize("reason", [None, "enough", 42])
async def test_cancel_wraps_what_is_no_exception(reason: object, autojump_clock: MockClock) -> None:
    """Anything but an exception is wrapped in JobCancelledError."""
    j = Job[None](keep_open=True)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.cancel(reason)
    task, error = j.interrupted_by
    assert task is None
    assert isinstance(error, JobCancelledError)
    assert reason is None or str(reason) in str(error)


async def test_cancel_between_steps(autojump_clock: MockClock) -> None:
    """A task stopped between two steps by a cancel is CANCELLED."""
    j = Job[None]()
    task = j.add_task(lambda _: (None, Task.idle, None))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.cancel()
    assert task.state is TaskState.CANCELLED


@pytest.mark.parametrize("step", [Task.tick, Task.idle, lambda task: None])
def test_cancel_by_a_task_that_does_not_suspend(step: Callable[[Task], None]) -> None:
    """A loop that finds out between two steps, with time left in its slice, that the job was cancelled is CANCELLED too."""

    async def run(task: Task) -> None:
        task.job.cancel()
        step(task)

    j = Job[None]()
    task = j.add_task(run)
    with pytest.raises(JobCancelledError):
        trio.run(j.run)
    assert task.state is TaskState.CANCELLED


async def test_second_cancel(autojump_clock: MockClock) -> None:
    """The first cancel is the cause, a later error is added."""
    first, second = ValueError("first"), ValueError("second")
    j = Job[None]()
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.cancel(first)
        j.cancel(second)
        j.cancel()
    assert j.interrupted_by == (None, first)
    assert [e.error for e in j.errors] == [first, second]


async def test_cancel_runs_the_finalizers(autojump_clock: MockClock) -> None:
    """All finalizers are called, in reverse order."""
    journal = Journal()
    j = Job[None](keep_open=True)
    for name in "abc":
        j.add_task(journal.task(name, run=forever))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.cancel()
    assert journal[-3:] == ["c.finalize", "b.finalize", "a.finalize"]


async def test_cancel_during_the_oneshot(autojump_clock: MockClock) -> None:
    """Nobody else is started."""
    journal = Journal()
    j = Job[None]()
    j.add_oneshot_task(journal.task("one", run=forever))
    j.add_task(journal.task("a"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run_in_background, nursery)
        await trio.sleep(1)
        j.cancel()
    assert journal == ["one.init", "one.run", "one.finalize"]


async def test_cancel_by_an_own_task() -> None:
    """A task may cancel its job; it is cancelled itself."""

    async def run(task: Task) -> None:
        task.job.cancel("by myself")
        await trio.sleep_forever()

    j = Job[None]()
    task = j.add_task(run)
    with pytest.raises(JobCancelledError, match="by myself"):
        await j.run()
    assert task.state is TaskState.CANCELLED


async def test_cancel_in_an_init() -> None:
    """No later init is entered after a cancel, even by an init that never awaits."""
    journal = Journal()
    j = Job[None]()

    async def init(task: Task) -> None:
        j.cancel()

    j.add_task(journal.task("a", init=init))
    j.add_task(journal.task("b"))
    with pytest.raises(JobCancelledError):
        await j.run()
    assert journal == ["a.init", "a.finalize"]


async def test_no_task_after_a_cancel(autojump_clock: MockClock) -> None:
    """A task cannot be added to a cancelled job, and its factory is not called."""
    called = []
    j = Job[None](keep_open=True)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.cancel()
        with pytest.raises(JobStateError):
            j.add_task(lambda _: called.append(1))
    assert called == []


# -- before the run


def test_cancelled_before_run() -> None:
    """A job cancelled before its run is CANCELLED at once, with a verdict."""
    error = ValueError("x")
    j = Job[None]()
    task = j.add_task(done)
    j.cancel(error)
    assert (j.state, task.state) == (JobState.CANCELLED, TaskState.CANCELLED)
    assert j.interrupted_by == (None, error)
    assert j.verdict is not None
    assert (j.verdict.code, j.verdict.cause.at) == ("cancel", None)


async def test_run_of_a_cancelled_job() -> None:
    """Its run raises the error, wait returns, and no init runs."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a"))
    j.cancel(ValueError("x"))
    assert await j.wait() is JobState.CANCELLED
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert journal == []


def test_no_hook_before_run() -> None:
    """Neither on_shutdown nor error_wrapper is called for it."""
    called = []
    error = ValueError("x")
    j = Job[None](on_shutdown=called.append, error_wrapper=lambda e: called.append(e) or e)
    j.cancel(error)
    assert called == []
    assert j.interrupted_by == (None, error)


def test_no_tasks_for_ended_jobs() -> None:
    """An ended job takes no more tasks."""
    j = Job[None]()
    j.cancel()
    with pytest.raises(JobStateError):
        j.add_task(done)
    with pytest.raises(JobStateError):
        j.add_oneshot_task(done)


# -- errors


def test_no_tasks_while_a_job_that_never_ran_ends() -> None:
    """A job that is cancelled before its run takes no task from those who hear of its end."""
    refused: list[JobStateError] = []

    class Adding:
        def on_event(self, event: Event, /) -> None:
            if isinstance(event, TaskStateChanged):
                with pytest.raises(JobStateError, match="takes no more tasks") as caught:
                    j.add_task(done)
                refused.append(caught.value)

    j = Job[None](observers=[Adding()])
    j.add_task(done)
    j.cancel()
    assert (len(refused), [task.state for task in j.tasks]) == (1, [TaskState.CANCELLED])


async def test_error_cancels_the_others(autojump_clock: MockClock) -> None:
    """A failing task cancels the job."""
    j = Job[None]()
    failed = j.add_task(failing(ValueError("x"), after=1))
    other = j.add_task(forever)
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert (failed.state, other.state) == (TaskState.FAILED, TaskState.CANCELLED)
    assert j.interrupted_by[0] is failed
    assert failed.error is j.errors[0]


async def test_later_errors_are_kept(autojump_clock: MockClock) -> None:
    """What goes wrong on the way out is added, in the order it happened; run raises the first."""
    first, second, third = ValueError("1"), ValueError("2"), ValueError("3")
    j = Job[None]()
    a = j.add_task(Journal().task("a", run=raising_on_the_way_out(second), finalize=failing(third)))
    b = j.add_task(failing(first, after=1))
    with pytest.raises(ValueError, match="1"):
        await j.run()
    assert [(e.task, e.phase, e.error) for e in j.errors] == [
        (b, Phase.RUN, first),
        (a, Phase.RUN, second),
        (a, Phase.FINALIZE, third),
    ]
    assert j.interrupted_by == (b, first)


async def test_cause_is_recorded_before_anything_is_cancelled(autojump_clock: MockClock) -> None:
    """Whoever is cancelled because of it can see the cause."""
    seen = []

    async def look(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append(task.job.interrupted_by)

    error = ValueError("x")
    j = Job[None]()
    j.add_task(look)
    failed = j.add_task(failing(error, after=1))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert seen == [(failed, error)]


async def test_errors_at_the_same_time() -> None:
    """Of several errors at once one is the cause and all are kept; none comes out in a group."""
    start = trio.Event()

    async def run(task: Task) -> None:
        await start.wait()
        raise ValueError(task.name)

    j = Job[None]()
    for name in "abc":
        j.add_task(run, name=name)
    j.add_task(lasting(0, lambda task: (start.set(), task.done())))
    with pytest.raises(ValueError, match=r"^[abc]") as caught:
        await j.run()
    assert caught.value is j.errors[0].error
    assert sorted(str(e.error) for e in j.errors) == ["a", "b", "c"]


async def test_group_of_the_user_stays_a_group() -> None:
    """An error group that a routine raises is its error, as it is."""
    group = ExceptionGroup("mine", [ValueError("x")])
    j = Job[None]()
    j.add_task(failing(group))
    with pytest.raises(ExceptionGroup) as caught:
        await j.run()
    assert caught.value is group


async def test_no_cancelled_in_the_group_of_a_routine(autojump_clock: MockClock) -> None:
    """Of a group with a Cancelled in it only the user's part is recorded."""

    async def run(task: Task) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raising_on_the_way_out(ValueError("x")), task)
            await trio.sleep_forever()

    j = Job[None]()
    j.add_task(run)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.cancel()
    kept = j.errors[1].error
    assert isinstance(kept, ExceptionGroup)
    assert [type(e) for e in kept.exceptions] == [ValueError]


async def test_finalizer_error_of_a_finished_job() -> None:
    """It makes the job CANCELLED, with that task as the cause; the task stays FINISHED."""
    error = ValueError("x")
    j = Job[None]()
    task = j.add_task(Journal().task("a", run=lasting(0, lambda t: t.done(7)), finalize=failing(error)))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert j.interrupted_by == (task, error)
    assert (j.state, task.state) == (JobState.CANCELLED, TaskState.FINISHED)
    assert task.error is not None
    assert task.error.error is error
    assert await task.wait() == 7


async def test_finalizer_error_stops_no_other() -> None:
    """The other finalizers are called all the same."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a"))
    j.add_task(journal.task("b", finalize=failing(ValueError("b"))))
    j.add_task(journal.task("c", finalize=failing(ValueError("c"))))
    with pytest.raises(ValueError, match="c"):
        await j.run()
    assert journal[-3:] == ["c.finalize", "b.finalize", "a.finalize"]
    assert len(j.errors) == 2


async def test_failing_init_and_its_finalizer() -> None:
    """The finalizer's error does not replace that of the init."""
    j = Job[None]()
    task = j.add_task(Journal().task("a", init=failing(ValueError("init")), finalize=failing(ValueError("late"))))
    with pytest.raises(ValueError, match="init"):
        await j.run()
    assert [e.phase for e in j.errors] == [Phase.INIT, Phase.FINALIZE]
    assert task.error is j.errors[0]


# -- outer cancellation


async def test_outer_cancellation_goes_on(autojump_clock: MockClock) -> None:
    """An outer Cancelled goes on after the finalizers; the job is CANCELLED by nobody of its own."""
    journal = Journal()
    j = Job[None]()
    task = j.add_task(journal.task("a", run=forever))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert journal[-1] == "a.finalize"
    assert (j.state, task.state) == (JobState.CANCELLED, TaskState.CANCELLED)
    assert j.interrupted_by[0] is None
    assert isinstance(j.interrupted_by[1], JobCancelledError)
    assert [(e.task, e.phase) for e in j.errors] == [(None, None)]


@pytest.mark.parametrize("run", [forever, each_second, Task.idle, Task.tick])
@pytest.mark.parametrize("oneshot", [True, False])
async def test_outer_cancellation_wherever_it_strikes(run: Routine, oneshot: bool, autojump_clock: MockClock) -> None:
    """In a run, in a pause, between two ticks, in a oneshot."""
    j = Job[None]()
    (j.add_oneshot_task if oneshot else j.add_task)(lambda _: (None, run, None))
    with trio.move_on_after(1.5) if run is not Task.tick else trio.CancelScope() as scope:
        if run is Task.tick:
            j.add_task(lambda _: (None, lambda task: scope.cancel() or task.tick(), None))
            if oneshot:
                scope.cancel()
        await j.run()
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED
    assert j.verdict is not None
    assert j.verdict.code == "cancel"


@pytest.mark.parametrize("finalize", [None, nothing])
async def test_cancel_after_an_outer_cancellation(finalize: Routine | None, autojump_clock: MockClock) -> None:
    """The first of the two is the cause, though nobody heard of it: the only loop was shielded."""

    async def run(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        task.job.cancel(ValueError("later"))
        task.done()

    j = Job[None]()
    j.add_task(lambda _: (None, run, finalize))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert [type(e.error) for e in j.errors] == [JobCancelledError, ValueError]


async def test_bare_cancel_after_an_outer_cancellation(autojump_clock: MockClock) -> None:
    """With no error of its own a cancel has nothing to add to a cause, heard of or not."""

    async def run(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        task.job.cancel()
        task.done()

    j = Job[None]()
    j.add_task(run)
    with trio.move_on_after(1):
        await j.run()
    assert [str(e.error) for e in j.errors] == ["an outer cancel scope was cancelled"]


@pytest.mark.parametrize("finalize", [None, nothing])
async def test_outer_cancellation_of_a_oneshot_that_is_done(finalize: Routine | None) -> None:
    """No init is entered, though the oneshot itself has not heard of it."""
    journal = Journal()
    scope = trio.CancelScope()

    async def run(task: Task) -> None:
        scope.cancel()
        task.done()

    j = Job[None]()
    j.add_oneshot_task(lambda _: (None, run, finalize))
    j.add_task(journal.task("a"))
    with scope:
        await j.run()
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED
    assert journal == []


async def test_outer_cancellation_with_nothing_running(autojump_clock: MockClock) -> None:
    """A job that is only kept open hears of it, too."""
    j = Job[None](keep_open=True)
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED


async def test_outer_cancellation_during_an_init(autojump_clock: MockClock) -> None:
    """The init under way is cut and finalized, later ones are not entered."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", init=forever))
    j.add_task(journal.task("b"))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert journal == ["a.init", "a.finalize"]


async def test_outer_cancellation_of_waiting_tasks(autojump_clock: MockClock) -> None:
    """A task that is done and waits for its finalizer stays FINISHED."""
    j = Job[None]()
    task = j.add_task(Journal().task("a"))
    j.add_task(Journal().task("b", run=forever))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert task.state is TaskState.FINISHED


async def test_finalizers_are_shielded(autojump_clock: MockClock) -> None:
    """Finalizers may take their time under an outer cancellation."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=forever, finalize=lasting(5, lambda _: None)))
    with trio.move_on_after(1):
        await j.run()
    assert trio.current_time() == 6
    assert len(j.errors) == 1


async def test_error_on_the_way_out_of_an_outer_cancellation(autojump_clock: MockClock) -> None:
    """The Cancelled came first and goes on; the error is added."""
    error = ValueError("x")
    j = Job[None]()
    task = j.add_task(raising_on_the_way_out(error))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert j.interrupted_by[0] is None
    assert [(e.task, e.error) for e in j.errors[1:]] == [(task, error)]
    assert task.state is TaskState.FAILED


async def test_outer_cancellation_after_an_error(autojump_clock: MockClock) -> None:
    """The error came first and is raised, though the scope is cancelled meanwhile."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=failing(ValueError("x"), after=1), finalize=lasting(5, lambda _: None)))
    with trio.move_on_after(2) as scope:
        with pytest.raises(ValueError, match="x"):
            await j.run()
    assert not scope.cancelled_caught
    assert len(j.errors) == 1


async def test_outer_cancellation_under_a_grace(autojump_clock: MockClock) -> None:
    """After a finish and before the finalizers it takes finish's place."""
    j = Job[None](grace=10)
    j.add_task(forever)
    with trio.move_on_after(2) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(j.run)
            await trio.sleep(1)
            j.finish()
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED
    assert trio.current_time() == 2


async def test_outer_cancellation_during_the_finalizers(autojump_clock: MockClock) -> None:
    """Then run returns DONE, and the Cancelled strikes at the caller's next checkpoint."""
    returned = []
    j = Job[None]()
    j.add_task(Journal().task("a", run=lasting(1), finalize=lasting(5, lambda _: None)))
    with trio.move_on_after(2) as scope:
        returned.append(await j.run())
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert returned == [JobState.DONE]


async def test_outer_cancellation_in_the_background(autojump_clock: MockClock) -> None:
    """A cancelled nursery cancels the job in it and nothing comes out but that."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=forever))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    assert j.state is JobState.CANCELLED


async def test_outer_cancellation_through_a_shield(autojump_clock: MockClock) -> None:
    """A run that shields itself ends first; the job is cancelled by the outer scope all the same."""

    async def run(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        task.tick()

    j = Job[None]()
    task = j.add_task(run)
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    assert task.steps == 1


@pytest.mark.parametrize("stop", [Job.cancel, Job.finish])
async def test_shield_around_the_wait_for_the_gate(stop: Callable[[Job], None], autojump_clock: MockClock) -> None:
    """A task whose init has opened a shield ends with the job too, though it waits for an init that never passes."""
    journal = Journal()
    shield = trio.CancelScope(shield=True)

    async def init(task: Task) -> None:
        shield.__enter__()

    async def finalize(task: Task) -> None:
        journal.append("finalize")
        shield.__exit__(None, None, None)

    async def stopping(task: Task) -> None:
        await trio.sleep(1)
        stop(task.job)
        await trio.sleep_forever()

    j = Job[None]()
    j.add_task(lambda _: (init, failing(AssertionError()), finalize))
    j.add_task(lambda _: (stopping, done, None))
    with suppress(JobCancelledError):
        await j.run()
    assert (trio.current_time(), journal) == (1, ["finalize"])


async def test_scope_of_a_run_is_its_own(autojump_clock: MockClock) -> None:
    """A cancel scope that a run opens and closes concerns nobody else."""

    async def run(task: Task) -> None:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        task.done()

    j = Job[None]()
    j.add_task(run)
    assert await j.run() is JobState.DONE


# -- the dead nursery of an init


class Supervised:
    """A task that opens a nursery in its init and closes it in its finalizer."""

    def __init__(self, child: Routine) -> None:
        self.child = child
        self.manager = trio.open_nursery()

    async def init(self, task: Task) -> None:
        """Open the nursery."""
        nursery = await self.manager.__aenter__()
        nursery.start_soon(self.child, task)

    async def run(self, task: Task) -> None:
        """Never step."""
        await trio.sleep_forever()

    async def finalize(self, task: Task) -> None:
        """Close the nursery."""
        await self.manager.__aexit__(None, None, None)


async def test_nursery_of_an_init(autojump_clock: MockClock) -> None:
    """A nursery may be opened in init and closed in finalize."""
    j = Job[None]()
    j.add_task(Supervised(nothing))
    j.add_task(lasting(1, Task.finish_job))
    assert await j.run() is JobState.DONE


async def test_nursery_of_an_init_dies(autojump_clock: MockClock) -> None:
    """A child's error ends the task as FAILED; the cause is what the finalizer raises, in its phase."""
    error = ValueError("child")
    j = Job[None]()
    task = j.add_task(Supervised(failing(error, after=1)), name="supervised")
    other = j.add_task(forever)
    with pytest.raises(ExceptionGroup) as caught:
        await j.run()
    assert caught.value.exceptions == (error,)
    assert j.interrupted_by == (task, caught.value)
    assert [(e.task, e.phase) for e in j.errors] == [(task, Phase.FINALIZE)]
    assert (task.state, other.state) == (TaskState.FAILED, TaskState.CANCELLED)
    assert j.verdict is not None
    assert (j.verdict.cause.kind, j.verdict.cause.phase) == (CauseKind.ERROR, Phase.FINALIZE)


async def test_nursery_of_an_init_dies_while_others_run(autojump_clock: MockClock) -> None:
    """Also where the task's own loop is over; nobody waits for the others to end by themselves."""
    j = Job[None]()
    supervised = Supervised(failing(ValueError("child"), after=1))
    j.add_task(lambda _: (supervised.init, done, supervised.finalize))
    j.add_task(forever)
    with pytest.raises(ExceptionGroup):
        await j.run()
    assert trio.current_time() == 1


async def test_entered_nursery_dies(autojump_clock: MockClock) -> None:
    """With `enter` the cause is what the exit raises."""
    error = ValueError("child")

    @asynccontextmanager
    async def background() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failing(error, after=1), None)
            yield

    async def init(task: Task) -> None:
        await task.enter(background())

    j = Job[None]()
    task = j.add_task(lambda _: (init, forever, None))
    with pytest.raises(ExceptionGroup) as caught:
        await j.run()
    assert caught.value.exceptions == (error,)
    assert j.interrupted_by[0] is task


async def test_dead_scope_that_nobody_explains(autojump_clock: MockClock) -> None:
    """Where no finalizer tells what it was the cause is a JobCancelledError."""
    scope = trio.CancelScope()

    async def init(task: Task) -> None:
        await task.enter(scope)
        scope.cancel()

    j = Job[None]()
    task = j.add_task(lambda _: (init, forever, None))
    with pytest.raises(JobCancelledError, match="a scope of the task was cancelled"):
        await j.run()
    assert task.state is TaskState.FAILED
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.ERROR


async def test_hook_of_a_dead_scope(autojump_clock: MockClock) -> None:
    """on_shutdown, which comes before the finalizers, hears of a JobCancelledError."""
    heard: list[BaseException] = []
    j = Job[None](on_shutdown=heard.append)
    j.add_task(Supervised(failing(ValueError("child"), after=1)))
    with pytest.raises(ExceptionGroup):
        await j.run()
    assert [str(error) for error in heard] == ["a scope of the task was cancelled"]
    assert type(heard[0]) is JobCancelledError


async def test_mapped_dead_scope(autojump_clock: MockClock) -> None:
    """error_wrapper maps what killed the scope, once."""
    mapped: list[BaseException] = []

    def wrap(error: BaseException) -> BaseException:
        mapped.append(error)
        return RuntimeError("mapped")

    j = Job[None](error_wrapper=wrap)
    j.add_task(Supervised(failing(ValueError("child"), after=1)))
    with pytest.raises(RuntimeError, match="mapped"):
        await j.run()
    assert [type(error) for error in mapped] == [ExceptionGroup]


async def test_mapped_dead_scope_that_nobody_explains(autojump_clock: MockClock) -> None:
    """Where the finalizer has nothing to tell error_wrapper gets what stood for it."""
    scope = trio.CancelScope()

    async def init(task: Task) -> None:
        await task.enter(scope)
        scope.cancel()

    j = Job[None](error_wrapper=lambda error: RuntimeError(str(error)))
    j.add_task(lambda _: (init, forever, None))
    with pytest.raises(RuntimeError, match="a scope of the task was cancelled"):
        await j.run()
    assert [type(e.error) for e in j.errors] == [RuntimeError]


async def test_nursery_of_a_contained_init_dies(autojump_clock: MockClock) -> None:
    """It is one error: the one that its finalizer tells of."""
    j = Job[None]()
    task = j.add_task(Supervised(failing(ValueError("child"), after=1)), policy=StopPolicy.CONTAIN)
    j.add_task(lasting(2))
    assert await j.run() is JobState.DONE
    assert [type(e.error) for e in j.errors] == [ExceptionGroup]
    assert task.error is j.errors[0]


async def test_nursery_of_an_init_under_outer_cancellation(autojump_clock: MockClock) -> None:
    """An outer cancellation reaches into it, and remains an outer cancellation."""
    j = Job[None]()
    j.add_task(Supervised(forever))
    with trio.move_on_after(1) as scope:
        await j.run()
    assert scope.cancelled_caught
    assert j.verdict is not None
    assert j.verdict.code == "cancel"
    assert len(j.errors) == 1


async def test_nursery_of_a_oneshot_dies(autojump_clock: MockClock) -> None:
    """The same goes for a oneshot's, long after it was done."""
    j = Job[None]()
    supervised = Supervised(failing(ValueError("child"), after=3))
    j.add_oneshot_task(lambda _: (supervised.init, done, supervised.finalize))
    j.add_task(forever)
    with pytest.raises(ExceptionGroup):
        await j.run()
    assert trio.current_time() == 3
    assert j.interrupted_by[0] is j.get_task(0)


async def test_assertion_is_an_assert(autojump_clock: MockClock) -> None:
    """A failed assertion cancels the job, kind ASSERT."""

    async def run(task: Task) -> None:
        task.assert_true(False, "broken")

    j = Job[None]()
    j.add_task(run, name="check")
    with pytest.raises(AssertFailedError):
        await j.run()
    assert j.verdict is not None
    assert j.verdict.code == "assert@check:run"
