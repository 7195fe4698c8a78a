"""The steps that end each call of `run`, and the assertions."""

import pytest
import trio

from job import (
    AssertFailedError,
    CauseKind,
    IdleClock,
    Job,
    JobCancelledError,
    JobState,
    JobStateError,
    MissingStepError,
    Phase,
    StopPolicy,
    Task,
    TaskState,
)
from tests.journal import done, forever


async def run_alone(run: object) -> Task:
    """Run a job of one task."""
    j = Job[None]()
    task = j.add_task(run)
    await j.run()
    return task


# -- steps


async def test_tick_goes_on() -> None:
    """After a tick run is called again."""
    calls = []

    async def run(task: Task) -> None:
        calls.append(1)
        task.tick() if len(calls) < 3 else task.done()

    await run_alone(run)
    assert len(calls) == 3


async def test_idle_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    """After an idle run is called again, too."""
    calls = []

    async def run(task: Task) -> None:
        calls.append(1)
        task.idle() if len(calls) < 3 else task.done()

    await run_alone(run)
    assert len(calls) == 3


async def test_done_with_result() -> None:
    """The result given to done is the task's."""
    task = await run_alone(lambda j: (None, lambda task: task.done("it"), None))
    assert (task.result, task.state) == ("it", TaskState.FINISHED)


async def test_done_without_result() -> None:
    """A bare done leaves the result as it was set before."""

    async def run(task: Task) -> None:
        task.result = "set by hand"
        task.done()

    assert (await run_alone(run)).result == "set by hand"


async def test_done_with_none() -> None:
    """None is a result like any other."""

    async def run(task: Task) -> None:
        task.result = "set by hand"
        task.done(None)

    assert (await run_alone(run)).result is None


async def test_result_by_default() -> None:
    """A task that says nothing has the result None."""
    assert (await run_alone(done)).result is None


async def test_last_call_decides_done() -> None:
    """Of several steps in one call the last one decides: done after tick ends the task."""

    async def run(task: Task) -> None:
        task.idle()
        task.tick()
        task.done()

    assert (await run_alone(run)).state is TaskState.FINISHED


async def test_last_call_decides_tick() -> None:
    """Tick after done goes on."""
    calls = []

    async def run(task: Task) -> None:
        calls.append(1)
        task.done()
        if len(calls) < 2:
            task.tick()

    await run_alone(run)
    assert len(calls) == 2


async def test_two_ticks_in_one_call() -> None:
    """Two ticks in one call are one step, and block nobody."""

    async def run(task: Task) -> None:
        task.tick()
        task.tick()
        if task.job.value:
            task.done()
        task.job.value = True

    j = Job[bool](False)
    j.add_task(run)
    assert await j.run() is JobState.DONE


async def test_missing_step() -> None:
    """A run that returns without a step fails with MissingStepError naming it."""

    async def forgetful(task: Task) -> None: ...

    j = Job[None]()
    task = j.add_task(forgetful)
    with pytest.raises(MissingStepError, match="forgetful"):
        await j.run()
    assert (task.state, j.errors[0].phase) == (TaskState.FAILED, Phase.RUN)


async def test_step_of_the_call_before_does_not_count() -> None:
    """Each call needs a step of its own."""

    async def run(task: Task) -> None:
        if not task.job.value:
            task.tick()
        task.job.value = True

    j = Job[bool](False)
    j.add_task(run)
    with pytest.raises(MissingStepError):
        await j.run()


async def test_step_in_init_does_not_count() -> None:
    """A step taken in init is none of run's."""

    async def run(task: Task) -> None: ...

    j = Job[None]()
    j.add_task(lambda job: (lambda task: task.done(), run, None))
    with pytest.raises(MissingStepError):
        await j.run()


async def test_missing_step_while_stopping() -> None:
    """While the job is stopping a run may return without a step."""

    async def run(task: Task) -> None:
        task.job.finish(grace=5)

    assert (await run_alone(run)).state is TaskState.FINISHED


async def test_finish_job() -> None:
    """finish_job ends the task and the whole job well."""

    async def quitter_task(task: Task) -> None:
        await trio.testing.wait_all_tasks_blocked()
        task.finish_job()

    j = Job[None]()
    quitter = j.add_task(quitter_task)
    other = j.add_task(forever)
    assert await j.run() is JobState.DONE
    assert (quitter.state, other.state) == (TaskState.FINISHED, TaskState.CANCELLED)
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.FINISHED
    assert j.verdict.cut == (other,)


async def test_finish_job_with_grace(autojump_clock: trio.testing.MockClock) -> None:
    """The grace given to finish_job is the job's: the others come to their next step."""

    async def slow(task: Task) -> None:
        await trio.sleep(3)
        task.tick()

    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: task.finish_job(5), None))
    other = j.add_task(slow)
    await j.run()
    assert (other.state, trio.current_time()) == (TaskState.FINISHED, 3)


async def test_finish_job_with_nonsense() -> None:
    """A wrong grace is refused at the call, by name and value."""

    async def run(task: Task) -> None:
        task.finish_job(-1)

    with pytest.raises(ValueError, match=r"grace.*-1"):
        await run_alone(run)


async def test_error_of_run() -> None:
    """What run raises comes out of the job, itself."""
    error = ValueError("mine")

    async def run(task: Task) -> None:
        task.tick()
        raise error

    with pytest.raises(ValueError, match="mine") as info:
        await run_alone(run)
    assert info.value is error


# -- assertions


@pytest.mark.parametrize("err", [None, 0, "", [], False])
async def test_assert_passes(err: object) -> None:
    """assert_ passes where its argument is falsy."""

    async def run(task: Task) -> None:
        task.assert_(err)
        task.done("passed")

    assert (await run_alone(run)).result == "passed"


async def test_assert_exception() -> None:
    """assert_ raises an exception as it is."""
    error = KeyError("gone")
    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: task.assert_(error), None))
    with pytest.raises(KeyError) as info:
        await j.run()
    assert info.value is error
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.ASSERT


async def test_assert_value() -> None:
    """assert_ makes an AssertFailedError of anything else, with the value."""
    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: task.assert_("broken"), None))
    with pytest.raises(AssertFailedError, match="broken") as info:
        await j.run()
    assert info.value.value == "broken"


async def test_assert_true_passes() -> None:
    """assert_true passes where the condition is true, whatever the error."""

    async def run(task: Task) -> None:
        task.assert_true([1], ValueError("no"))
        task.done("passed")

    assert (await run_alone(run)).result == "passed"


@pytest.mark.parametrize("cond", [False, 0, None, ""])
async def test_assert_true_fails(cond: object) -> None:
    """assert_true fails where the condition is false."""
    with pytest.raises(AssertFailedError) as info:
        await run_alone(lambda job: (None, lambda task: task.assert_true(cond, "not so"), None))
    assert info.value.value == "not so"


async def test_assert_true_with_exception() -> None:
    """assert_true raises an exception as it is."""
    with pytest.raises(LookupError, match="mine"):
        await run_alone(lambda job: (None, lambda task: task.assert_true(False, LookupError("mine")), None))


@pytest.mark.parametrize("value", ["it", 0, ""])
async def test_assert_not_none_returns(value: object) -> None:
    """assert_not_none returns what it was given, falsy or not."""
    task = await run_alone(lambda job: (None, lambda task: task.done(task.assert_not_none(value)), None))
    assert task.result == value


async def test_assert_not_none_fails() -> None:
    """assert_not_none fails on None, also when it was given no error."""
    with pytest.raises(AssertFailedError):
        await run_alone(lambda job: (None, lambda task: task.assert_not_none(None), None))


async def test_assert_not_none_with_exception() -> None:
    """assert_not_none raises the given exception as it is."""
    with pytest.raises(LookupError, match="mine"):
        await run_alone(lambda job: (None, lambda task: task.assert_not_none(None, LookupError("mine")), None))


@pytest.mark.parametrize("place", [0, 2])
async def test_assert_in_init_and_finalize(place: int) -> None:
    """Assertions work in all routines."""
    routines: list[object] = [None, None, None]
    routines[place] = lambda task: task.assert_("bad")
    with pytest.raises(AssertFailedError):
        await run_alone(lambda job: tuple(routines))


# -- Task.wait


async def test_wait_gives_result(autojump_clock: trio.testing.MockClock) -> None:
    """wait returns the result once the run loop is over, to any number of waiters."""
    results = []

    async def slow(task: Task) -> None:
        await trio.sleep(1)
        task.done("late")

    async def waiter(task: Task) -> None:
        results.append(await worker.wait())
        task.done()

    j = Job[None]()
    worker = j.add_task(slow)
    j.add_task(waiter)
    j.add_task(waiter)
    await j.run()
    assert results == ["late", "late"]
    assert await worker.wait() == "late"


async def test_wait_does_not_wait_for_the_job(autojump_clock: trio.testing.MockClock) -> None:
    """wait returns when the run loop is over, before the finalizers."""
    seen = []

    async def waiter(task: Task) -> None:
        seen.append(await worker.wait())
        task.done()

    j = Job[None]()
    worker = j.add_task(lambda job: (None, lambda task: task.done("result"), lambda task: seen.append("finalized")))
    j.add_task(waiter)
    await j.run()
    assert seen == ["result", "finalized"]


async def test_wait_raises_own_error() -> None:
    """wait raises the error of a FAILED task, itself."""
    error = ValueError("mine")

    def run(task: Task) -> None:
        raise error

    j = Job[None]()
    task = j.add_task(lambda job: (None, run, None), policy=StopPolicy.CONTAIN)
    await j.run()
    with pytest.raises(ValueError, match="mine") as info:
        await task.wait()
    assert info.value is error


async def test_wait_on_cancelled() -> None:
    """wait raises JobCancelledError where the task was CANCELLED by another's error."""

    def run(task: Task) -> None:
        raise ValueError("theirs")

    j = Job[None]()
    other = j.add_task(forever)
    j.add_task(lambda job: (None, run, None))
    with pytest.raises(ValueError, match="theirs"):
        await j.run()
    with pytest.raises(JobCancelledError, match="forever"):
        await other.wait()


async def test_wait_on_never_started(autojump_clock: trio.testing.MockClock) -> None:
    """A waiter hears of a task that is never started, too."""
    j = Job[None]()
    task = j.add_task(done)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_cancelled, task)
        await trio.testing.wait_all_tasks_blocked()
        j.cancel()


async def _expect_cancelled(task: Task) -> None:
    with pytest.raises(JobCancelledError):
        await task.wait()


async def test_wait_after_finalizer_error() -> None:
    """A finalizer's error leaves a finished task FINISHED, with its result."""

    def finalize(task: Task) -> None:
        raise OSError("close")

    j = Job[None]()
    task = j.add_task(lambda job: (None, lambda task: task.done("result"), finalize))
    with pytest.raises(OSError, match="close"):
        await j.run()
    assert (task.state, await task.wait()) == (TaskState.FINISHED, "result")
    assert task.error is not None
    assert task.error.phase is Phase.FINALIZE


# -- adding tasks


async def test_indexes() -> None:
    """The oneshot has index 0, recurrent tasks 1, 2, 3, with or without a oneshot before them."""
    j = Job[None]()
    first, second = j.add_task(done), j.add_task(done)
    oneshot = j.add_oneshot_task(done)
    third = j.add_task(done)
    assert [t.index for t in (oneshot, first, second, third)] == [0, 1, 2, 3]
    assert j.tasks == (oneshot, first, second, third)


async def test_get_task() -> None:
    """get_task finds a task by its index; None where there is none."""
    j = Job[None]()
    task = j.add_task(done)
    assert (j.get_task(1), j.get_task(0), j.get_task(2)) == (task, None, None)


async def test_meta() -> None:
    """meta is kept as it is."""
    meta = object()
    j = Job[None]()
    assert j.add_task(done, meta=meta).meta is meta
    assert j.add_oneshot_task(done, meta=meta).meta is meta


async def test_attributes() -> None:
    """A task knows its job, policy and name from the start."""
    j = Job[None]()
    task = j.add_task(done, policy=StopPolicy.STRICT)
    assert (task.job, task.policy, task.state, task.error) == (j, StopPolicy.STRICT, TaskState.PENDING, None)


async def test_oneshot_policy() -> None:
    """The oneshot's policy is ERROR."""
    assert Job[None]().add_oneshot_task(done).policy is StopPolicy.ERROR


async def test_second_oneshot() -> None:
    """A second oneshot raises JobStateError, and its factory is not called."""
    called = []
    j = Job[None]()
    j.add_oneshot_task(done)
    with pytest.raises(JobStateError):
        j.add_oneshot_task(lambda job: called.append(1))
    assert called == []


async def test_oneshot_for_running_job() -> None:
    """A oneshot for a job that runs raises JobStateError."""

    async def run(task: Task) -> None:
        with pytest.raises(JobStateError):
            task.job.add_oneshot_task(done)
        task.done("refused")

    assert (await run_alone(run)).result == "refused"


async def test_add_while_running(autojump_clock: trio.testing.MockClock) -> None:
    """A task added to a running job is initialised and started at once."""
    seen = []

    async def adder(task: Task) -> None:
        task.job.add_task(lambda j: (lambda t: seen.append(("init", trio.current_time())), late, None))
        await trio.sleep(5)
        task.done()

    async def late(task: Task) -> None:
        seen.append(("run", trio.current_time()))
        task.done()

    await run_alone(adder)
    assert seen == [("init", 0), ("run", 0)]


async def test_add_during_oneshot(autojump_clock: trio.testing.MockClock) -> None:
    """A task added during the oneshot queues behind it."""
    seen = []

    async def connect(task: Task) -> None:
        task.job.add_task(lambda j: (None, second, None))
        await trio.sleep(2)
        seen.append("connected")
        task.done()

    async def second(task: Task) -> None:
        seen.append("second")
        task.done()

    j = Job[None]()
    j.add_oneshot_task(connect)
    await j.run()
    assert seen == ["connected", "second"]


async def test_add_during_inits() -> None:
    """A task added during the inits comes after those that were there before; all loops start together."""
    seen = []

    def noting(name: str, extra: object = None) -> object:
        async def init(task: Task) -> None:
            if extra is not None:
                task.job.add_task(extra)
            await trio.lowlevel.checkpoint()
            seen.append(f"init {name}")

        return lambda job: (init, lambda task: seen.append(f"run {name}") or task.done(), None)

    j = Job[None]()
    j.add_task(noting("a", extra=noting("c")))
    j.add_task(noting("b"))
    await j.run()
    assert seen[:3] == ["init a", "init b", "init c"]
    assert sorted(seen[3:]) == ["run a", "run b", "run c"]


async def test_add_after_finish() -> None:
    """After the job began to stop a task is refused and nothing is called."""
    called = []

    async def run(task: Task) -> None:
        task.job.finish(5)
        with pytest.raises(JobStateError):
            task.job.add_task(lambda job: called.append(1))
        task.done("refused")

    task = await run_alone(run)
    assert (task.result, called) == ("refused", [])


async def test_add_in_finalizer() -> None:
    """A finalizer can add no task, also at a natural end."""
    seen = []

    def finalize(task: Task) -> None:
        with pytest.raises(JobStateError):
            task.job.add_task(done)
        seen.append("refused")

    j = Job[None]()
    j.add_task(lambda job: (None, done, finalize))
    await j.run()
    assert seen == ["refused"]


async def test_add_after_the_end() -> None:
    """An ended job takes no task."""
    j = Job[None]()
    await j.run()
    with pytest.raises(JobStateError):
        j.add_task(done)
    with pytest.raises(JobStateError):
        j.add_oneshot_task(done)


async def test_add_to_cancelled_before_run() -> None:
    """A job cancelled before its run takes no task."""
    j = Job[None]()
    j.cancel()
    with pytest.raises(JobStateError):
        j.add_task(done)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"idle_timeout": 0}, ValueError, "idle_timeout.*0"),
        ({"idle_timeout": -1.5}, ValueError, "idle_timeout.*-1.5"),
        ({"idle_timeout": float("nan")}, ValueError, "idle_timeout.*nan"),
        ({"idle_timeout": "2"}, TypeError, "idle_timeout.*'2'"),
        ({"policy": "CONTAIN"}, TypeError, "policy.*'CONTAIN'"),
        ({"transient": True}, ValueError, "transient.*CONTAIN"),
        ({"transient": True, "policy": StopPolicy.STRICT}, ValueError, "transient"),
        ({"name": 5}, TypeError, "name.*5"),
        ({"name": ""}, ValueError, "name.*''"),
    ],
)
def test_wrong_arguments(options: dict[str, object], error: type[Exception], message: str) -> None:
    """A wrong argument is refused at the call, naming it and its value, and no task is added."""
    j = Job[None]()
    with pytest.raises(error, match=message):
        j.add_task(done, **options)
    assert j.tasks == ()


def test_wrong_name_of_oneshot() -> None:
    """The oneshot's name is checked, too."""
    with pytest.raises(TypeError, match=r"name.*5"):
        Job[None]().add_oneshot_task(done, name=5)


def test_idle_clock_as_idle_timeout() -> None:
    """A task takes an IdleClock in place of seconds."""
    assert Job[None]().add_task(done, idle_timeout=IdleClock(3)).index == 1
