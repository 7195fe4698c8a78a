"""`Job.finish`: the good end, and how much of it the grace leaves room for."""

import pytest
import trio
from trio.testing import MockClock

from job import CauseKind, Job, JobCancelledError, JobState, JobTimeoutError, Routines, StopPolicy, Task, TaskState
from tests.journal import Journal, done, each_second, failing, forever, lasting, nothing


async def start(j: Job, nursery: trio.Nursery, seconds: float = 0.5) -> None:
    """Start a job in the background, and let it run for a while."""
    nursery.start_soon(j.run)
    await trio.sleep(seconds)


# -- at once


async def test_finish_cuts_at_grace_zero(autojump_clock: MockClock) -> None:
    """Without a grace what has not come to a step is cancelled at once; the end is a good one."""
    j = Job[None]()
    task = j.add_task(forever, name="relay")
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert trio.current_time() == 0.5
    assert (j.state, task.state) == (JobState.DONE, TaskState.CANCELLED)
    assert j.verdict is not None
    assert (j.verdict.code, j.verdict.cut) == ("finished-cut@relay:run", (task,))


async def test_finish_is_no_interruption(autojump_clock: MockClock) -> None:
    """A finish leaves no trace in interrupted_by or errors."""
    j = Job[None]()
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert j.interrupted_by == (None, None)
    assert j.errors == ()


async def test_finish_between_steps_is_no_cut(autojump_clock: MockClock) -> None:
    """A task that waits between two steps is FINISHED, even at grace 0."""
    j = Job[None]()
    task = j.add_task(lambda _: (None, Task.idle, None), name="poll")
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert task.state is TaskState.FINISHED
    assert j.verdict is not None
    assert (j.verdict.code, j.verdict.cut) == ("finished", ())


async def test_finish_by_a_step_of_the_task(autojump_clock: MockClock) -> None:
    """finish_job is a done for the task itself, and cuts the others."""
    j = Job[None]()
    last = j.add_task(lasting(1, Task.finish_job), name="last")
    other = j.add_task(forever, name="other")
    assert await j.run() is JobState.DONE
    assert (last.state, other.state) == (TaskState.FINISHED, TaskState.CANCELLED)


async def test_cut_is_in_index_order(autojump_clock: MockClock) -> None:
    """Of several tasks that were cut the code names the lowest index."""
    j = Job[None]()
    tasks = [j.add_task(forever, name=name) for name in "abc"]
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert j.verdict is not None
    assert j.verdict.cut == tuple(tasks)
    assert j.verdict.code == "finished-cut@a:run"


# -- within a grace


async def test_tasks_stop_at_their_next_step(autojump_clock: MockClock) -> None:
    """Within the grace each task goes on to its next step and is FINISHED there."""
    j = Job[None](grace=5)
    task = j.add_task(each_second)
    async with trio.open_nursery() as nursery:
        await start(j, nursery, 2.5)
        j.finish()
    assert trio.current_time() == 3
    assert (task.state, task.steps) == (TaskState.FINISHED, 3)


async def test_grace_runs_out(autojump_clock: MockClock) -> None:
    """What has not stepped after the grace is cancelled."""
    j = Job[None]()
    task = j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish(4)
    assert trio.current_time() == 4.5
    assert task.state is TaskState.CANCELLED
    assert j.state is JobState.DONE


async def test_done_in_the_moment_that_the_grace_runs_out(autojump_clock: MockClock) -> None:
    """A task that was on its way out by itself when the grace ended was not cut, and nothing went wrong."""
    last = trio.Event()

    async def run(task: Task) -> None:
        await last.wait()
        task.done()

    j = Job[None]()
    j.add_oneshot_task(lambda j: Routines(None, done, nothing))
    j.add_task(lambda j: Routines(None, run, nothing))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish(4)
        await trio.sleep(1)
        last.set()
        autojump_clock.jump(5)
    assert j.state is JobState.DONE
    assert j.errors == ()
    assert j.verdict is not None
    assert j.verdict.cut == ()


async def test_grace_counts_for_all(autojump_clock: MockClock) -> None:
    """One task that overstays its grace costs the others nothing."""
    j = Job[None](grace=3)
    slow = j.add_task(forever)
    quick = j.add_task(each_second)
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert (slow.state, quick.state) == (TaskState.CANCELLED, TaskState.FINISHED)
    assert j.verdict is not None
    assert j.verdict.cut == (slow,)


async def test_idle_pause_ends_at_once(autojump_clock: MockClock) -> None:
    """A task in an idle pause does not sit it out."""
    j = Job[None](grace=100)
    task = j.add_task(lambda _: (None, Task.idle, None))
    async with trio.open_nursery() as nursery:
        await start(j, nursery, 9.99)
        at = trio.current_time()
        j.finish()
    assert trio.current_time() == at
    assert task.state is TaskState.FINISHED


async def test_return_without_a_step_while_stopping(autojump_clock: MockClock) -> None:
    """A run that is interrupted by the stop may return without a step."""

    async def run(task: Task) -> None:
        with task.cancel_on_stop():
            await trio.sleep_forever()

    j = Job[None](grace=10)
    task = j.add_task(run)
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert trio.current_time() == 0.5
    assert task.state is TaskState.FINISHED


async def test_later_call_shortens(autojump_clock: MockClock) -> None:
    """A later finish can shorten the grace."""
    j = Job[None]()
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await start(j, nursery, 1)
        j.finish(100)
        await trio.sleep(1)
        j.finish(2)
    assert trio.current_time() == 4


async def test_later_call_never_lengthens(autojump_clock: MockClock) -> None:
    """A later finish cannot lengthen it."""
    j = Job[None]()
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await start(j, nursery, 1)
        j.finish(2)
        j.finish(100)
    assert trio.current_time() == 3


async def test_later_call_cuts(autojump_clock: MockClock) -> None:
    """A finish with grace 0 cuts a finish under way."""
    j = Job[None](grace=100)
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await start(j, nursery, 1)
        j.finish()
        await trio.sleep(1)
        j.finish(0)
    assert trio.current_time() == 2
    assert j.state is JobState.DONE


async def test_done_under_a_grace_is_not_unexpected(autojump_clock: MockClock) -> None:
    """A STRICT task may be done once the job is stopping."""
    j = Job[None](grace=5)
    task = j.add_task(lasting(1), policy=StopPolicy.STRICT)
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert task.state is TaskState.FINISHED


@pytest.mark.parametrize("grace", [-1, "5", None, True])
def test_grace_is_checked(grace: object) -> None:
    """A wrong grace is refused at the call, by name; None is the job's own."""
    j = Job[None]()
    if grace is None:
        j.finish(grace)
    else:
        with pytest.raises((TypeError, ValueError), match="grace"):
            j.finish(grace)  # type: ignore[arg-type]
        assert j.state is JobState.NEW


# -- during the start


async def test_cut_oneshot_starts_nobody(autojump_clock: MockClock) -> None:
    """A finish at grace 0 cuts the oneshot, and no further init is entered."""
    journal = Journal()
    j = Job[None]()
    j.add_oneshot_task(journal.task("one", run=forever))
    j.add_task(journal.task("a"))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert journal == ["one.init", "one.run", "one.finalize"]
    assert j.verdict is not None
    assert j.verdict.code == "finished-cut@one:run"


async def test_oneshot_ends_under_a_grace(autojump_clock: MockClock) -> None:
    """Within a grace the oneshot may end; the others are then initialised and take one step each."""
    journal = Journal()
    j = Job[None](grace=10)
    j.add_oneshot_task(journal.task("one", run=lasting(2)))
    task = j.add_task(journal.task("a", run=each_second))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert journal == ["one.init", "one.run", "a.init", "a.run", "a.finalize", "one.finalize"]
    assert task.state is TaskState.FINISHED
    assert j.verdict is not None
    assert j.verdict.code == "finished"


async def test_oneshot_ticks_on_under_a_grace(autojump_clock: MockClock) -> None:
    """A oneshot that ticks goes on until it is done."""
    steps = iter([Task.tick, Task.idle, Task.tick, Task.done])

    async def run(task: Task) -> None:
        await trio.sleep(1)
        next(steps)(task)

    j = Job[None](grace=10)
    one = j.add_oneshot_task(run)
    other = j.add_task(each_second)
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert (one.steps, other.steps) == (4, 1)


async def test_oneshot_that_is_not_done_in_time(autojump_clock: MockClock) -> None:
    """Cut before its done, it lets no recurrent init be entered."""
    journal = Journal()
    j = Job[None](grace=3)
    j.add_oneshot_task(journal.task("one", run=each_second))
    task = j.add_task(journal.task("a"))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert "a.init" not in journal
    assert task.state is TaskState.CANCELLED
    assert j.state is JobState.DONE


@pytest.mark.parametrize("grace", [0, 10])
async def test_oneshot_that_asks_to_finish(grace: float, autojump_clock: MockClock) -> None:
    """Where the oneshot itself finishes the job nobody else is started, whatever the grace."""
    journal = Journal()
    j = Job[None](grace=grace)
    one = j.add_oneshot_task(journal.task("one", run=lasting(1, Task.finish_job)))
    j.add_task(journal.task("a"))
    assert await j.run() is JobState.DONE
    assert journal == ["one.init", "one.run", "one.finalize"]
    assert one.state is TaskState.FINISHED


async def test_oneshot_that_asks_to_finish_later_than_another(autojump_clock: MockClock) -> None:
    """Also where somebody had asked before, with less grace."""
    journal = Journal()
    j = Job[None]()
    j.add_oneshot_task(journal.task("one", run=lasting(1, lambda task: task.finish_job(100))))
    j.add_task(journal.task("a"))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish(10)
    assert "a.init" not in journal


async def test_grace_taken_away_during_the_oneshot(autojump_clock: MockClock) -> None:
    """A later finish with grace 0 bars the inits that the first would have let through."""
    journal = Journal()
    j = Job[None]()
    j.add_oneshot_task(journal.task("one", run=forever))
    j.add_task(journal.task("a"))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish(10)
        await trio.sleep(1)
        j.finish(0)
    assert journal == ["one.init", "one.run", "one.finalize"]
    assert trio.current_time() == 1.5


async def test_finish_during_the_inits(autojump_clock: MockClock) -> None:
    """With a grace the remaining inits are entered, and each task takes one step."""
    journal = Journal()
    j = Job[None](grace=10)
    tasks = [j.add_task(journal.task(name, init=lasting(1, lambda _: None), run=each_second)) for name in "ab"]
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert [task.steps for task in tasks] == [1, 1]
    assert journal[:2] == ["a.init", "b.init"]
    assert journal[-2:] == ["b.finalize", "a.finalize"]


async def test_cut_during_the_inits(autojump_clock: MockClock) -> None:
    """Without one the init under way is cut, and its finalizer is called."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", init=forever))
    j.add_task(journal.task("b"))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        j.finish()
    assert journal == ["a.init", "a.finalize"]
    assert j.verdict is not None
    assert j.verdict.code == "finished-cut@a:init"


# -- state and asking


async def test_states_of_a_finish(autojump_clock: MockClock) -> None:
    """The job is STOPPING from the call on, FINALIZING in the finalizers, and DONE."""
    states = []
    j = Job[None](grace=5)

    async def finalize(task: Task) -> None:
        states.append(j.state)

    j.add_task(Journal().task("a", run=each_second, finalize=finalize))
    async with trio.open_nursery() as nursery:
        await start(j, nursery)
        states.append(j.state)
        j.finish()
        states.append(j.state)
    states.append(j.state)
    assert states == [JobState.RECURRENT_RUNNING, JobState.STOPPING, JobState.FINALIZING, JobState.DONE]


async def test_stopping(autojump_clock: MockClock) -> None:
    """`stopping` is True from the call on, and wait_stopping returns."""
    heard = []
    j = Job[None](grace=5)
    j.add_task(forever)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            await j.wait_stopping()
            heard.append(trio.current_time())

        nursery.start_soon(wait)
        await start(j, nursery)
        assert not j.stopping
        j.finish()
        assert j.stopping
    assert heard == [0.5]


async def test_natural_end_is_no_stop(autojump_clock: MockClock) -> None:
    """At a natural end nobody asked the job to stop; wait_stopping returns all the same."""
    j = Job[None]()
    j.add_task(lasting(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.wait_stopping)
        nursery.start_soon(j.run)
    assert not j.stopping
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.FINISHED


async def test_verdict_names_who_asked(autojump_clock: MockClock) -> None:
    """The cause of a finish is the task that asked for it first."""
    j = Job[None](grace=5)
    task = j.add_task(lasting(1, Task.finish_job))
    j.add_task(lasting(2, Task.finish_job))
    await j.run()
    assert j.verdict is not None
    assert (j.verdict.cause.kind, j.verdict.cause.task) == (CauseKind.FINISHED, task)


# -- what takes its place, and what does not


async def test_error_takes_its_place(autojump_clock: MockClock) -> None:
    """An error within the grace is the cause; nobody counts as cut then."""
    j = Job[None](grace=10)
    j.add_task(failing(ValueError("x"), after=2))
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish()
    assert j.state is JobState.CANCELLED
    assert j.verdict is not None
    assert j.verdict.cut == ()
    assert trio.current_time() == 2


async def test_cancel_takes_its_place(autojump_clock: MockClock) -> None:
    """So does a cancel."""
    j = Job[None](grace=10)
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish()
        j.cancel("now")
    assert j.state is JobState.CANCELLED
    assert isinstance(j.interrupted_by[1], JobCancelledError)


async def test_cancel_after_a_cut(autojump_clock: MockClock) -> None:
    """Even where the finish has cut the loops already, as long as no finalizer has started."""
    j = Job[None]()
    task = j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish()
        j.cancel()
    assert (j.state, task.state) == (JobState.CANCELLED, TaskState.CANCELLED)
    assert j.verdict is not None
    assert j.verdict.cut == ()


async def test_error_on_the_way_out_takes_its_place(autojump_clock: MockClock) -> None:
    """A task that fails while it is being cut fails the job."""

    async def run(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("cleanup")

    j = Job[None]()
    task = j.add_task(run)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish()
    assert (j.state, task.state) == (JobState.CANCELLED, TaskState.FAILED)
    assert isinstance(j.interrupted_by[1], ValueError)


async def test_timeout_stays_armed(autojump_clock: MockClock) -> None:
    """The job's timeout goes on under a grace."""
    j = Job[None](timeout=3, grace=10)
    j.add_task(forever)
    with pytest.raises(JobTimeoutError):
        async with j:
            await trio.sleep(1)
            j.finish()
    assert trio.current_time() == 3


async def test_idle_timeout_stays_armed(autojump_clock: MockClock) -> None:
    """So do idle timeouts."""
    j = Job[None](grace=10)
    j.add_task(forever, idle_timeout=2, name="read")
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish()
    assert j.verdict is not None
    assert j.verdict.code == "idle@read:run"


async def test_ignored_during_finalizers(autojump_clock: MockClock) -> None:
    """During the finalizers both finish and cancel are ignored."""
    j = Job[None]()

    async def finalize(task: Task) -> None:
        j.cancel(ValueError("late"))
        j.finish()

    j.add_task(Journal().task("a", finalize=finalize))
    assert await j.run() is JobState.DONE
    assert j.errors == ()
    assert j.interrupted_by == (None, None)


async def test_ignored_after_a_cause(autojump_clock: MockClock) -> None:
    """A finish after an error changes nothing."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=failing(ValueError("x"), after=1)))
    j.add_task(Journal().task("b", run=forever, finalize=lasting(1, lambda _: j.finish())))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.ERROR


async def test_ignored_after_the_end() -> None:
    """Neither call changes an ended job."""
    j = Job[None]()
    await j.run()
    verdict = j.verdict
    j.finish()
    j.cancel()
    assert j.verdict is verdict
    assert j.state is JobState.DONE


# -- before the run


def test_finished_before_run() -> None:
    """A job finished before its run is DONE at once, with a verdict; its tasks never started."""
    j = Job[None]()
    task = j.add_task(done)
    j.finish()
    assert (j.state, task.state) == (JobState.DONE, TaskState.CANCELLED)
    assert j.verdict is not None
    assert (j.verdict.code, j.verdict.cut) == ("finished", ())
    assert (j.verdict.started_at, j.verdict.ended_at) == (None, None)


async def test_run_of_a_finished_job() -> None:
    """Its run returns DONE and enters nothing; so does wait."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", init=nothing))
    j.finish()
    assert await j.wait() is JobState.DONE
    await j.wait_stopping()
    assert await j.run() is JobState.DONE
    assert journal == []


async def test_natural_end_with_a_grace(autojump_clock: MockClock) -> None:
    """A job whose tasks are all done ends at once, whatever its grace."""
    j = Job[None](grace=100)
    j.add_task(done)
    await j.run()
    assert trio.current_time() == 0


# -- the stop group


async def test_stop_group_finishes_the_job(autojump_clock: MockClock) -> None:
    """When all tasks of the group are done the job finishes, with its grace."""
    j = Job[None](grace=5)
    j.add_task(lasting(1), policy=StopPolicy.STOP_GROUP)
    j.add_task(lasting(2), policy=StopPolicy.STOP_GROUP)
    listener = j.add_task(forever)
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 7
    assert listener.state is TaskState.CANCELLED


async def test_stop_group_without_a_run(autojump_clock: MockClock) -> None:
    """Tasks without a run do not count."""
    j = Job[None]()
    j.add_task(lambda _: (None, None, None), policy=StopPolicy.STOP_GROUP)
    j.add_task(lasting(3))
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 3
