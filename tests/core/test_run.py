"""`Job.run` and its sisters: what is called in which order, and what comes back."""

import gc
from collections.abc import Callable
from contextvars import ContextVar

import pytest
import trio
from trio.testing import MockClock

import job
from job import Job, JobCancelledError, JobState, JobStateError, Routines, Task, TaskState
from tests.journal import Journal, Routine, done, each_second, failing, forever, lasting, nothing

variable: ContextVar[str] = ContextVar("variable")


# -- order


async def test_order() -> None:
    """Oneshot first, inits in index order, finalizers in reverse."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a"))
    j.add_oneshot_task(journal.task("one"))
    j.add_task(journal.task("b"))
    await j.run()
    inits = ["one.init", "one.run", "a.init", "b.init"]
    assert journal[:4] == inits
    assert sorted(journal[4:6]) == ["a.run", "b.run"]
    assert journal[6:] == ["b.finalize", "a.finalize", "one.finalize"]


async def test_inits_one_after_another(autojump_clock: MockClock) -> None:
    """The next init begins when the one before has ended; the loops begin after the last."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("slow", init=lasting(5, lambda _: journal.append("ready"))))
    j.add_task(journal.task("quick"))
    await j.run()
    assert journal[:3] == ["slow.init", "ready", "quick.init"]


async def test_no_run_before_the_last_init(autojump_clock: MockClock) -> None:
    """A task without an init waits for the inits of the others."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("bare", init=None, finalize=None))
    j.add_task(journal.task("slow", init=lasting(5, lambda _: journal.append("ready"))))
    await j.run()
    assert journal.index("bare.run") > journal.index("ready")


async def test_first_finalizer_waits_for_the_last_loop(autojump_clock: MockClock) -> None:
    """Nothing is finalized while any run loop goes on."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("long", run=lasting(10, lambda t: (journal.append("over"), t.done()))))
    j.add_task(journal.task("short"))
    await j.run()
    assert journal.index("short.finalize") > journal.index("over")


async def test_same_order_after_a_failure() -> None:
    """A failure changes nothing in the order of the finalizers."""
    journal = Journal()
    j = Job[None]()
    j.add_oneshot_task(journal.task("one"))
    j.add_task(journal.task("a", run=forever))
    j.add_task(journal.task("b", run=failing(ValueError("b"))))
    with pytest.raises(ValueError, match="b"):
        await j.run()
    assert journal[-3:] == ["b.finalize", "a.finalize", "one.finalize"]


async def test_failing_init_stops_the_later_ones() -> None:
    """The failing task's own finalizer is called, that of a task never entered is not."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("a", run=forever))
    j.add_task(journal.task("b", init=failing(ValueError("b"))))
    late = j.add_task(journal.task("c"))
    with pytest.raises(ValueError, match="b"):
        await j.run()
    assert journal == ["a.init", "b.init", "b.finalize", "a.finalize"]
    assert late.state is TaskState.CANCELLED


async def test_passed_init_counts() -> None:
    """A task without an init is finalized where its turn had come, and only there."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("before", init=None))
    j.add_task(journal.task("failing", init=failing(ValueError("x"))))
    j.add_task(journal.task("after", init=None))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert journal == ["failing.init", "failing.finalize", "before.finalize"]


async def test_failing_oneshot_starts_nobody() -> None:
    """The recurrent tasks start only when the oneshot has succeeded."""
    journal = Journal()
    j = Job[None]()
    j.add_oneshot_task(journal.task("one", run=failing(ValueError("x"))))
    task = j.add_task(journal.task("a"))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert journal == ["one.init", "one.run", "one.finalize"]
    assert task.state is TaskState.CANCELLED


async def test_value_of_the_oneshot() -> None:
    """What the oneshot leaves in the job's value is there for the others."""
    j = Job[str]()
    seen = []

    async def connect(task: Task) -> None:
        j.value = "stream"
        task.done()

    async def read(task: Task) -> None:
        seen.append(j.value)
        task.done()

    j.add_task(read)
    j.add_oneshot_task(connect)
    await j.run()
    assert seen == ["stream"]


async def test_one_trio_task_for_each_task() -> None:
    """init, run and finalize of a task run in the same trio task."""
    homes: dict[str, set[trio.lowlevel.Task]] = {"one": set(), "a": set(), "b": set()}

    def factory(j: Job[None]) -> Routines:
        async def note(task: Task) -> None:
            homes[task.name].add(trio.lowlevel.current_task())
            task.done()

        return Routines(note, note, note)

    j = Job[None]()
    j.add_oneshot_task(factory, name="one")
    j.add_task(factory, name="a")
    j.add_task(factory, name="b")
    await j.run()
    assert [len(tasks) for tasks in homes.values()] == [1, 1, 1]
    assert len(set.union(*homes.values())) == 3


# -- what run returns


async def test_run_returns_done() -> None:
    """The good end is DONE."""
    j = Job[None]()
    j.add_task(done)
    assert await j.run() is JobState.DONE


async def test_empty_job_is_done_at_once() -> None:
    """A job with no tasks has nothing to wait for."""
    assert await Job[None]().run() is JobState.DONE


async def test_run_raises_the_error_itself() -> None:
    """The user's error comes out bare, with a note that names job, task and phase."""
    error = ValueError("mine")
    j = Job[None](name="server")
    j.add_task(failing(error), name="read")
    with pytest.raises(ValueError, match="mine") as caught:
        await j.run()
    assert caught.value is error
    note = "".join(error.__notes__)
    assert "server" in note
    assert "read" in note
    assert "run" in note


async def test_runs_once() -> None:
    """A second run is refused."""
    j = Job[None]()
    await j.run()
    with pytest.raises(JobStateError):
        await j.run()


async def test_second_run_while_running(autojump_clock: MockClock) -> None:
    """Refused too while the first goes on, which is not disturbed."""
    j = Job[None]()
    j.add_task(lasting(5))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        with pytest.raises(JobStateError):
            await j.run_in_background(nursery)
    assert j.state is JobState.DONE


async def test_state_errors_are_no_runs() -> None:
    """A refused run leaves the state alone."""
    j = Job[None]()
    await j.run()
    with pytest.raises(JobStateError):
        await j.__aenter__()
    assert j.state is JobState.DONE


def test_job_before_trio() -> None:
    """A job can be built outside of trio."""
    j = Job[None]()
    task = j.add_task(done)
    assert trio.run(j.run) is JobState.DONE
    assert task.state is TaskState.FINISHED


# -- nursery.start


async def test_start_gives_the_value(autojump_clock: MockClock) -> None:
    """`nursery.start(j.run)` returns when the oneshot is done, with the job's value."""
    j = Job[str]("from the start")
    j.add_oneshot_task(lasting(2, lambda t: (setattr(j, "value", "connected"), t.done())))
    j.add_task(lasting(5))
    async with trio.open_nursery() as nursery:
        assert await nursery.start(j.run) == "connected"
        assert trio.current_time() == 2
    assert j.state is JobState.DONE


async def test_start_without_oneshot_waits_for_inits(autojump_clock: MockClock) -> None:
    """Without a oneshot it is the inits that are waited for."""
    j = Job[str]("value")
    j.add_task(Journal().task("a", init=lasting(3, lambda _: None), run=forever))
    async with trio.open_nursery() as nursery:
        assert await nursery.start(j.run) == "value"
        assert trio.current_time() == 3
        j.finish()


async def test_start_of_a_failing_oneshot() -> None:
    """A failure before that comes out of start, bare."""
    j = Job[None]()
    j.add_oneshot_task(failing(ValueError("x")))
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="x"):
            await nursery.start(j.run)


async def test_start_of_a_job_that_finishes_early(autojump_clock: MockClock) -> None:
    """`started` is called in any case before run returns DONE."""
    j = Job[str]("value")
    j.add_oneshot_task(lasting(1, Task.finish_job))
    async with trio.open_nursery() as nursery:
        assert await nursery.start(j.run) == "value"


async def test_start_of_a_finished_job() -> None:
    """Also where the job was finished before its run."""
    j = Job[str]("value")
    j.finish()
    async with trio.open_nursery() as nursery:
        assert await nursery.start(j.run) == "value"


async def test_start_of_a_cancelled_job() -> None:
    """And one cancelled before its run raises."""
    j = Job[None]()
    j.cancel()
    async with trio.open_nursery() as nursery:
        with pytest.raises(JobCancelledError):
            await nursery.start(j.run)


async def test_cancelling_the_start(autojump_clock: MockClock) -> None:
    """Cancelling the caller of start cancels the job, finalizers included."""
    journal = Journal()
    j = Job[None]()
    j.add_oneshot_task(journal.task("one", run=forever))
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as scope:
            await nursery.start(j.run)
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED
    assert journal[-1] == "one.finalize"


# -- run_in_background


async def test_background_returns_after_the_oneshot(autojump_clock: MockClock) -> None:
    """run_in_background returns RECURRENT_RUNNING when the oneshot is done."""
    j = Job[None]()
    j.add_oneshot_task(lasting(2))
    j.add_task(lasting(5))
    async with trio.open_nursery() as nursery:
        assert await j.run_in_background(nursery) is JobState.RECURRENT_RUNNING
        assert trio.current_time() == 2
    assert j.state is JobState.DONE
    assert trio.current_time() == 7


async def test_background_returns_after_the_inits(autojump_clock: MockClock) -> None:
    """Without a oneshot it returns when all inits are done."""
    j = Job[None]()
    for name in "ab":
        j.add_task(Journal().task(name, init=lasting(3, lambda _: None), run=lasting(9)))
    async with trio.open_nursery() as nursery:
        assert await j.run_in_background(nursery) is JobState.RECURRENT_RUNNING
        assert trio.current_time() == 6


async def test_background_contains_failure() -> None:
    """The job's failure never reaches the nursery."""
    j = Job[None]()
    j.add_oneshot_task(failing(ValueError("x")))
    async with trio.open_nursery() as nursery:
        assert await j.run_in_background(nursery) is JobState.CANCELLED
    assert isinstance(j.interrupted_by[1], ValueError)


async def test_background_contains_late_failure(autojump_clock: MockClock) -> None:
    """Also one that comes later; others in the nursery go on."""
    j = Job[None]()
    j.add_task(failing(ValueError("x"), after=1))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(5)
    assert j.state is JobState.CANCELLED
    assert trio.current_time() == 5


async def test_background_logs_failure_once() -> None:
    """A contained failure is one warning in the log."""
    records = []
    j = Job[None]()
    j.register_logger({0: lambda event, fields: records.append(event)})
    j.add_task(failing(ValueError("x")))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert records == ["job.ended"]


async def test_background_of_an_empty_job() -> None:
    """A job with no tasks has ended by then."""
    async with trio.open_nursery() as nursery:
        assert await Job[None]().run_in_background(nursery) is JobState.DONE


async def test_background_of_ended_jobs() -> None:
    """Jobs ended before their run return their state."""
    cancelled, finished = Job[None](), Job[None]()
    cancelled.cancel()
    finished.finish()
    async with trio.open_nursery() as nursery:
        assert await cancelled.run_in_background(nursery) is JobState.CANCELLED
        assert await finished.run_in_background(nursery) is JobState.DONE


async def test_cancelling_the_background_start(autojump_clock: MockClock) -> None:
    """Cancelling the caller while it waits cancels the job."""
    j = Job[None]()
    j.add_oneshot_task(forever)
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1) as scope:
            await j.run_in_background(nursery)
    assert scope.cancelled_caught
    assert j.state is JobState.CANCELLED


async def test_background_needs_a_nursery() -> None:
    """A wrong argument is a TypeError that does not use the job up."""
    j = Job[None]()
    with pytest.raises(TypeError, match="nursery"):
        await j.run_in_background(None)  # type: ignore[arg-type]
    assert await j.run() is JobState.DONE


# -- waiting


async def test_wait_includes_finalizers(autojump_clock: MockClock) -> None:
    """wait returns when the last finalizer has ended, for any number of waiters."""
    states: list[tuple[JobState, float]] = []
    j = Job[None]()
    j.add_task(Journal().task("a", run=lasting(1), finalize=lasting(2, lambda _: None)))

    async def wait() -> None:
        states.append((await j.wait(), trio.current_time()))

    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        nursery.start_soon(wait)
        nursery.start_soon(wait)
    assert states == [(JobState.DONE, 3), (JobState.DONE, 3)]


async def test_wait_never_raises() -> None:
    """wait returns CANCELLED for a failed job, also long after the end."""
    j = Job[None]()
    j.add_task(failing(ValueError("x")))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        assert await j.wait() is JobState.CANCELLED
    assert await j.wait() is JobState.CANCELLED


async def test_waiting_before_the_run(autojump_clock: MockClock) -> None:
    """One may wait for a job that is still to be run."""
    j = Job[None]()
    j.add_task(lasting(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.wait)
        nursery.start_soon(j.wait_stopping)
        await trio.sleep(1)
        nursery.start_soon(j.run)
    assert j.state is JobState.DONE


async def test_done_tasks(autojump_clock: MockClock) -> None:
    """Each task is received when its run loop has ended; the channel closes with the job."""
    j = Job[None]()
    j.add_task(lasting(2), name="slow")
    j.add_task(lasting(1), name="quick")
    channel = j.done_tasks()
    received = []
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        received += [(task.name, trio.current_time()) async for task in channel]
    assert received == [("quick", 1), ("slow", 2)]


async def test_done_tasks_from_the_call_on(autojump_clock: MockClock) -> None:
    """Each call gives a channel of its own, that loses nothing from then on."""
    j = Job[None]()
    j.add_task(lasting(2), name="slow")
    j.add_task(lasting(1), name="quick")
    early = j.done_tasks()
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1.5)
        late = j.done_tasks()
    assert [task.name async for task in early] == ["quick", "slow"]
    assert [task.name async for task in late] == ["slow"]


async def test_done_tasks_of_an_ended_job() -> None:
    """It is closed and empty."""
    j = Job[None]()
    await j.run()
    assert [task async for task in j.done_tasks()] == []


async def test_done_tasks_with_a_reader_gone(autojump_clock: MockClock) -> None:
    """A reader that has closed its end harms nobody."""
    j = Job[None]()
    j.add_task(lasting(1))
    j.done_tasks().close()
    kept = j.done_tasks()
    await j.run()
    assert len([task async for task in kept]) == 1


async def test_done_tasks_with_many_readers_gone(autojump_clock: MockClock) -> None:
    """Of channels that are closed again, by a job that lives long and whose tasks do not end, nothing is left."""
    j = Job[None](keep_open=True)
    async with j:
        kept = j.done_tasks()
        for _ in range(100):
            with j.done_tasks():
                pass
        assert sum(type(each) is trio.MemorySendChannel for each in gc.get_objects()) < 50
        task = j.add_task(done)
        await task.wait()
        assert kept.receive_nowait() is task
    assert [task async for task in kept] == []


async def test_done_tasks_of_a_failed_job(autojump_clock: MockClock) -> None:
    """Failed and cancelled tasks come as well, each once."""
    j = Job[None]()
    j.add_task(failing(ValueError("x"), after=1))
    j.add_task(forever)
    channel = j.done_tasks()
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert sorted([task.index async for task in channel]) == [1, 2]


# -- keep_open


async def test_keep_open_without_tasks(autojump_clock: MockClock) -> None:
    """A job that is kept open stays up with no task at all, until finish."""
    j = Job[None](keep_open=True)
    async with trio.open_nursery() as nursery:
        assert await j.run_in_background(nursery) is JobState.RECURRENT_RUNNING
        await trio.sleep(10)
        assert j.state is JobState.RECURRENT_RUNNING
        j.finish()
    assert j.state is JobState.DONE


async def test_keep_open_after_the_last_task(autojump_clock: MockClock) -> None:
    """It also stays up when its tasks are done, and takes new ones."""
    j = Job[None](keep_open=True)
    j.add_task(done)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(10)
        task = j.add_task(lasting(1))
        await task.wait()
        j.finish(5)
    assert trio.current_time() == 11
    assert j.state is JobState.DONE


async def test_keep_open_until_cancel(autojump_clock: MockClock) -> None:
    """A cancel ends it, too."""
    j = Job[None](keep_open=True)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.cancel()
    assert j.state is JobState.CANCELLED


# -- context


async def test_context_variables_stay_with_the_task() -> None:
    """What a task binds reaches neither another task nor the caller."""
    seen = []

    async def bind(task: Task) -> None:
        variable.set(task.name)
        task.done()

    async def read(task: Task) -> None:
        seen.append(variable.get("nothing"))
        task.done()

    j = Job[None]()
    j.add_oneshot_task(bind, name="one")
    j.add_task(bind, name="a")
    j.add_task(read, name="b")
    j.add_task(bind, name="c")
    j.add_task(read, name="d")
    await j.run()
    assert seen == ["nothing", "nothing"]
    assert variable.get("nothing") == "nothing"


@pytest.mark.parametrize("oneshot", [True, False])
async def test_caller_keeps_its_context(oneshot: bool) -> None:
    """A caller can give its own tokens back after the run, whatever a task has bound."""
    mine: ContextVar[int] = ContextVar("mine")
    token = mine.set(1)

    async def bind(task: Task) -> None:
        variable.set("theirs")
        mine.set(2)
        task.done()

    j = Job[None]()
    (j.add_oneshot_task if oneshot else j.add_task)(bind)
    await j.run()
    assert mine.get() == 1
    mine.reset(token)
    assert mine.get(None) is None


async def test_tasks_see_the_callers_context() -> None:
    """A task starts with the context variables of whoever runs the job."""
    seen = []
    token = variable.set("caller")

    async def read(task: Task) -> None:
        seen.append(variable.get())
        task.done()

    j = Job[None]()
    j.add_oneshot_task(read)
    j.add_task(read)
    j.add_task(read)
    await j.run()
    variable.reset(token)
    assert seen == ["caller"] * 3


async def test_added_task_sees_the_context_of_who_added_it() -> None:
    """As with `start_soon`, and whichever trio task it then runs in."""
    seen = []

    async def add(task: Task) -> None:
        variable.set("oneshot")
        task.job.add_task(read)
        task.job.add_task(lambda _: (None, read, nothing))
        task.done()

    async def read(task: Task) -> None:
        seen.append(variable.get())
        task.done()

    j = Job[None]()
    j.add_oneshot_task(add)
    await j.run()
    assert seen == ["oneshot"] * 2


async def test_context_variable_lasts_from_init_to_finalize() -> None:
    """A token taken in init can be given back in finalize."""
    tokens = {}

    async def take(task: Task) -> None:
        tokens[task.name] = variable.set(task.name)

    async def give_back(task: Task) -> None:
        assert variable.get() == task.name
        variable.reset(tokens.pop(task.name))

    j = Job[None]()
    j.add_oneshot_task(Journal().task("one", init=take, finalize=give_back))
    j.add_task(Journal().task("a", init=take, finalize=give_back))
    assert await j.run() is JobState.DONE
    assert tokens == {}


async def test_current_job_and_task() -> None:
    """In all three routines they name the task that runs; outside they are None."""
    seen = []

    async def look(task: Task) -> None:
        seen.append(job.current_job() is j and job.current_task() is task)
        task.done()

    j = Job[None]()
    j.add_oneshot_task(lambda _: (look, look, look))
    j.add_task(lambda _: (look, look, look))
    await j.run()
    assert seen == [True] * 6
    assert job.current_job() is None
    assert job.current_task() is None


async def test_current_job_in_a_nursery_of_the_task() -> None:
    """What a routine spawns belongs to its task."""
    seen = []

    async def look() -> None:
        seen.append(job.current_task())

    async def run(task: Task) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
        task.done()

    j = Job[None]()
    task = j.add_task(run)
    await j.run()
    assert seen == [task]


async def test_current_job_of_an_ended_job(autojump_clock: MockClock) -> None:
    """What outlives its job has none."""
    seen = []

    async def outlive() -> None:
        await trio.sleep(1)
        seen.append((job.current_job(), job.current_task()))

    async with trio.open_nursery() as nursery:

        async def spawn(task: Task) -> None:
            nursery.start_soon(outlive)
            task.done()

        j = Job[None]()
        j.add_task(spawn)
        await j.run()
    assert seen == [(None, None)]


async def test_current_job_in_the_hook() -> None:
    """on_shutdown belongs to the job, but to no task."""
    seen = []
    j = Job[None](on_shutdown=lambda error: seen.append((job.current_job(), job.current_task())))
    j.add_task(failing(ValueError("x")))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert seen == [(j, None)]


# -- dynamic tasks


async def test_added_while_running(autojump_clock: MockClock) -> None:
    """A task added to a running job is initialised and started at once."""
    journal = Journal()
    j = Job[None]()
    j.add_task(lasting(5))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        task = j.add_task(journal.task("late"))
        await trio.sleep(0.1)
        assert journal == ["late.init", "late.run"]
    assert task.state is TaskState.FINISHED
    assert journal[-1] == "late.finalize"


async def test_added_after_a_finish() -> None:
    """Once the job began to stop, an add is refused and nothing is called."""
    called = []
    j = Job[None](keep_open=True)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish(5)
        with pytest.raises(JobStateError):
            j.add_task(lambda _: called.append(1))
    assert called == []


async def test_each_second_is_endless(autojump_clock: MockClock) -> None:
    """A ticking task goes on until somebody ends it."""
    j = Job[None]()
    task = j.add_task(each_second)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(10.5)
        j.finish()
    assert task.steps == 10


class FaultyStatus:
    """A `task_status` of the caller's own that fails."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def started(self, value: object = None) -> None:
        """Fail."""
        raise self.error


@pytest.mark.parametrize("add", [Job.add_oneshot_task, Job.add_task])
async def test_fault_of_a_task_status(add: Callable[[Job[str], Routine], Task], autojump_clock: MockClock) -> None:
    """An Exception of a `started` of the caller's own is told on the log, and changes nothing."""
    told: list[str] = []
    journal = Journal()
    j = Job[str]("x")
    j.register_logger({0: lambda event, fields: told.append(event)}, level=0)
    j.add_task(journal.task("a", run=lasting(1)))
    add(j, done)
    assert await j.run(task_status=FaultyStatus(ValueError("x"))) is JobState.DONE
    assert told == ["task_status.failed"]
    assert journal == ["a.init", "a.run", "a.finalize"]


@pytest.mark.parametrize("add", [Job.add_oneshot_task, Job.add_task])
async def test_order_of_a_task_status(add: Callable[[Job[str], Routine], Task]) -> None:
    """A SystemExit of a `started` of the caller's own interrupts the job, which ends as ever."""
    journal = Journal()
    j = Job[str]("x")
    j.add_task(journal.task("a", run=forever))
    add(j, done)
    with pytest.raises(SystemExit):
        await j.run(task_status=FaultyStatus(SystemExit(3)))
    assert j.verdict is not None
    assert j.verdict.code == "error"
    assert journal.count("a.init") == journal.count("a.finalize")


async def test_fault_of_the_task_status_of_an_empty_job() -> None:
    """So does that of a job which has ended before anybody can be told."""
    j = Job[str]("x")
    assert await j.run(task_status=FaultyStatus(ValueError("x"))) is JobState.DONE
    with pytest.raises(SystemExit):
        await Job[str]("x").run(task_status=FaultyStatus(SystemExit(3)))
