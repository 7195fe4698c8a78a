"""The states of jobs and tasks, their tables (G8), and the order in which a job goes through its life (G1 to G4)."""

from collections.abc import Callable, Mapping
from enum import Enum

import pytest
import trio
from trio.testing import MockClock

from job import Job, JobState, JobStateChanged, Phase, StopPolicy, Task, TaskState, TaskStateChanged
from job._core.words.states import JOB_MOVES, TASK_MOVES
from job.testing import Recorder
from tests.journal import done, failing, forever, lasting

TABLES = [JOB_MOVES, TASK_MOVES]


# -- the tables


@pytest.mark.parametrize("moves", TABLES)
def test_table_knows_every_state(moves: Mapping[Enum, frozenset[Enum]]) -> None:
    """A table has a row for each state of its kind."""
    assert set(moves) == set(type(next(iter(moves))))


@pytest.mark.parametrize("moves", TABLES)
def test_every_state_is_reachable(moves: Mapping[Enum, frozenset[Enum]]) -> None:
    """Each state but the first one can be moved to."""
    assert frozenset().union(*moves.values()) == set(list(moves)[1:])


def test_terminal_states() -> None:
    """The terminal states are those that the contract names, and no move leads out of them."""
    assert {state for state, moves in JOB_MOVES.items() if not moves} == {JobState.CANCELLED, JobState.DONE}
    assert {state for state, moves in TASK_MOVES.items() if not moves} == {
        TaskState.FINISHED,
        TaskState.FAILED,
        TaskState.CANCELLED,
    }


def of_a_job(old: Enum, new: Enum) -> Enum:
    """Move a job, and return where it is."""
    j = Job[None]()
    j._state = old  # type: ignore[assignment]
    j._move(new)  # type: ignore[arg-type]
    return j.state


def of_a_task(old: Enum, new: Enum) -> Enum:
    """Move a task, and return where it is."""
    task = Job[None]().add_task(done)
    task._state = old  # type: ignore[assignment]
    task._move(new)  # type: ignore[arg-type]
    return task.state


@pytest.mark.parametrize(("moves", "move"), [(JOB_MOVES, of_a_job), (TASK_MOVES, of_a_task)])
def test_moves_hold_to_the_table(moves: Mapping[Enum, frozenset[Enum]], move: Callable[[Enum, Enum], Enum]) -> None:
    """A move goes through exactly where the table has it."""
    for old in moves:
        for new in moves:
            if new in moves[old]:
                assert move(old, new) is new
            else:
                with pytest.raises(AssertionError, match="illegal move"):
                    move(old, new)


def test_tables_are_read_only() -> None:
    """Nobody changes the tables."""
    with pytest.raises(TypeError):
        JOB_MOVES[JobState.DONE] = frozenset()  # type: ignore[index]


# -- the states that a job goes through


def states_of(recorder: Recorder) -> list[JobState]:
    """Return the states that the job moved to, checking that each move starts where the last one ended."""
    changes = recorder.of(JobStateChanged)
    assert [change.old for change in changes] == [JobState.NEW, *(change.new for change in changes[:-1])]
    return [change.new for change in changes]


def task_states_of(recorder: Recorder, task: Task) -> list[TaskState]:
    """Return the states that a task moved to."""
    return [change.new for change in recorder.of(TaskStateChanged) if change.task is task]


async def test_states_with_a_oneshot() -> None:
    """A job with a oneshot passes through both running states; at a natural end it is not STOPPING."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    j.add_oneshot_task(done)
    j.add_task(done)
    await j.run()
    assert states_of(recorder) == [
        JobState.ONESHOT_RUNNING,
        JobState.RECURRENT_RUNNING,
        JobState.FINALIZING,
        JobState.DONE,
    ]


async def test_states_of_an_empty_job() -> None:
    """A job without tasks is DONE at once."""
    recorder = Recorder()
    assert await Job[None](observers=[recorder]).run() is JobState.DONE
    assert states_of(recorder)[-1] is JobState.DONE


async def test_states_of_a_failed_oneshot() -> None:
    """A job whose oneshot fails never comes to RECURRENT_RUNNING."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    j.add_oneshot_task(failing(ValueError("no")))
    other = j.add_task(done)
    with pytest.raises(ValueError, match="no"):
        await j.run()
    assert states_of(recorder) == [
        JobState.ONESHOT_RUNNING,
        JobState.STOPPING,
        JobState.FINALIZING,
        JobState.CANCELLED,
    ]
    assert task_states_of(recorder, other) == [TaskState.CANCELLED]


async def test_states_of_a_finished_job(autojump_clock: MockClock) -> None:
    """A finished job is STOPPING during its grace."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    j.add_task(lasting(5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(1)
        j.finish(10)
        assert j.state is JobState.STOPPING
    assert states_of(recorder) == [
        JobState.RECURRENT_RUNNING,
        JobState.STOPPING,
        JobState.FINALIZING,
        JobState.DONE,
    ]


@pytest.mark.parametrize(("end", "state"), [("cancel", JobState.CANCELLED), ("finish", JobState.DONE)])
def test_states_of_a_job_that_never_ran(end: str, state: JobState) -> None:
    """A job that is ended before its run is in its terminal state at once, and so are its tasks."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    task = j.add_task(done)
    getattr(j, end)()
    assert (states_of(recorder), task.state) == ([state], TaskState.CANCELLED)


async def test_terminal_state_is_never_left() -> None:
    """cancel and finish after the end change nothing."""
    j = Job[None]()
    await j.run()
    j.cancel(ValueError("late"))
    j.finish()
    assert (j.state, j.interrupted_by, j.errors) == (JobState.DONE, (None, None), ())


async def test_states_seen_by_routines() -> None:
    """State can be read in every routine: the job is FINALIZING in a finalizer."""
    seen = []

    def note(task: Task) -> None:
        seen.append((task.job.state, task.state))
        task.done()

    j = Job[None]()
    j.add_task(lambda job: (note, note, note))
    await j.run()
    assert seen == [
        (JobState.RECURRENT_RUNNING, TaskState.RUNNING),
        (JobState.RECURRENT_RUNNING, TaskState.RUNNING),
        (JobState.FINALIZING, TaskState.FINISHED),
    ]


# -- the states that a task goes through


async def test_task_states() -> None:
    """A task goes from PENDING over RUNNING to one end."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    good = j.add_task(done)
    bad = j.add_task(failing(ValueError("bad")), policy=StopPolicy.CONTAIN)
    await j.run()
    assert task_states_of(recorder, good) == [TaskState.RUNNING, TaskState.FINISHED]
    assert task_states_of(recorder, bad) == [TaskState.RUNNING, TaskState.FAILED]


async def test_task_is_running_from_its_init() -> None:
    """A task whose init fails has been RUNNING, and is FAILED."""
    recorder = Recorder()
    j = Job[None](observers=[recorder])
    task = j.add_task(lambda job: (failing(ValueError("bad")), done, None))
    with pytest.raises(ValueError, match="bad"):
        await j.run()
    assert task_states_of(recorder, task) == [TaskState.RUNNING, TaskState.FAILED]


# -- the order of a job's life


def noting(seen: list[str], name: str, run: object = done) -> object:
    """Make a factory of a task that notes what is called."""

    async def init(task: Task) -> None:
        seen.append(f"{name} init")
        await trio.lowlevel.checkpoint()
        seen.append(f"{name} inited")

    async def noted_run(task: Task) -> None:
        seen.append(f"{name} run")
        await run(task)

    async def finalize(task: Task) -> None:
        seen.append(f"{name} finalize")
        await trio.lowlevel.checkpoint()
        seen.append(f"{name} finalized")

    return lambda job: (init, noted_run, finalize)


async def test_inits_in_order_then_loops() -> None:
    """The oneshot is done before the first init; inits run one after another in index order; then all loops at once."""
    seen: list[str] = []
    j = Job[None]()
    j.add_task(noting(seen, "a"))
    j.add_oneshot_task(noting(seen, "0"))
    j.add_task(noting(seen, "b"))
    await j.run()
    assert seen[:7] == ["0 init", "0 inited", "0 run", "a init", "a inited", "b init", "b inited"]
    assert set(seen[7:9]) == {"a run", "b run"}


FINALIZED = ["b finalize", "b finalized", "a finalize", "a finalized", "0 finalize", "0 finalized"]


async def test_finalizers_at_a_natural_end() -> None:
    """The finalizers run one after another in reverse order of the inits."""
    seen: list[str] = []
    j = Job[None]()
    j.add_oneshot_task(noting(seen, "0"))
    j.add_task(noting(seen, "a"))
    j.add_task(noting(seen, "b"))
    await j.run()
    assert seen[9:] == FINALIZED


async def test_finalizers_after_a_failure() -> None:
    """The order of finalizers is the same when a task failed."""
    seen: list[str] = []
    j = Job[None]()
    j.add_oneshot_task(noting(seen, "0"))
    j.add_task(noting(seen, "a", run=failing(ValueError("a"))))
    j.add_task(noting(seen, "b", run=forever))
    with pytest.raises(ValueError, match="a"):
        await j.run()
    assert seen[-6:] == FINALIZED


@pytest.mark.parametrize("how", ["finish", "cancel", "timeout", "outer"])
async def test_finalizers_on_every_other_path(how: str, autojump_clock: MockClock) -> None:
    """The order of finalizers is the same at a finish, a cancel, a timeout and an outer cancellation."""
    seen: list[str] = []
    j = Job[None](timeout=3 if how == "timeout" else 100)
    j.add_oneshot_task(noting(seen, "0"))
    j.add_task(noting(seen, "a", run=forever))
    j.add_task(noting(seen, "b", run=forever))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        if how == "outer":
            nursery.cancel_scope.cancel()
        elif how != "timeout":
            getattr(j, how)()
    assert seen[-6:] == FINALIZED


async def test_failing_init() -> None:
    """An init that fails stops the later inits; it is finalized itself, those that were never entered are not."""
    seen: list[str] = []

    async def init(task: Task) -> None:
        seen.append("bad init")
        raise ValueError("bad")

    j = Job[None]()
    j.add_task(noting(seen, "a"))
    j.add_task(lambda job: (init, forever, lambda task: seen.append("bad finalize")))
    j.add_task(noting(seen, "c"))
    with pytest.raises(ValueError, match="bad"):
        await j.run()
    assert seen == ["a init", "a inited", "bad init", "bad finalize", "a finalize", "a finalized"]


async def test_failing_oneshot() -> None:
    """When the oneshot fails only its own finalizer is called."""
    seen: list[str] = []
    j = Job[None]()
    j.add_oneshot_task(noting(seen, "0", run=failing(ValueError("0"))))
    j.add_task(noting(seen, "a"))
    with pytest.raises(ValueError, match="0"):
        await j.run()
    assert seen[-2:] == ["0 finalize", "0 finalized"]
    assert not any(line.startswith("a") for line in seen)


async def test_finalize_without_init_after_a_failing_init() -> None:
    """A task without an init counts as inited when its turn has passed, and not when it has not."""
    seen: list[str] = []
    j = Job[None]()
    j.add_task(lambda job: (None, forever, lambda task: seen.append("before")))
    j.add_task(lambda job: (failing(ValueError("bad")), None, None))
    j.add_task(lambda job: (None, forever, lambda task: seen.append("after")))
    with pytest.raises(ValueError, match="bad"):
        await j.run()
    assert seen == ["before"]


async def test_finalizers_wait_for_all_loops(autojump_clock: MockClock) -> None:
    """The first finalizer starts when every run loop has exited."""
    seen: list[str] = []

    async def slow(task: Task) -> None:
        await trio.sleep(3)
        seen.append("slow is over")
        task.done()

    j = Job[None]()
    j.add_task(lambda job: (None, slow, None))
    j.add_task(lambda job: (None, done, lambda task: seen.append("finalize")))
    await j.run()
    assert seen == ["slow is over", "finalize"]


async def test_failing_finalizer_stops_no_other() -> None:
    """A finalizer that fails is recorded, and the others are called; the first is what the job raises."""
    j = Job[None]()
    first = j.add_task(lambda job: (None, done, failing(OSError("first"))))
    second = j.add_task(lambda job: (None, done, failing(OSError("second"))))
    with pytest.raises(OSError, match="second"):
        await j.run()
    assert [(e.task, e.phase) for e in j.errors] == [(second, Phase.FINALIZE), (first, Phase.FINALIZE)]
    assert j.interrupted_by[0] is second


async def test_task_added_late_is_finalized_first(autojump_clock: MockClock) -> None:
    """A task added while the job runs is inited last, so finalized first."""
    seen: list[str] = []

    async def adder(task: Task) -> None:
        task.job.add_task(noting(seen, "late"))
        task.done()

    j = Job[None]()
    j.add_task(noting(seen, "early", run=adder))
    await j.run()
    assert seen[-4:] == ["late finalize", "late finalized", "early finalize", "early finalized"]


async def test_one_trio_task_for_each_task() -> None:
    """init, run and finalize of a task run in the same trio task, another for each."""
    seen: dict[int, set[object]] = {}

    async def note(task: Task) -> None:
        seen.setdefault(task.index, set()).add(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()
        task.done()

    j = Job[None]()
    j.add_oneshot_task(lambda job: (note, note, note))
    j.add_task(lambda job: (note, note, note))
    j.add_task(lambda job: (note, note, note))
    await j.run()
    assert [len(tasks) for tasks in seen.values()] == [1, 1, 1]
    assert len(set.union(*seen.values())) == 3


async def test_lock_taken_in_init(autojump_clock: MockClock) -> None:
    """A lock taken in init can be given back in finalize."""
    lock = trio.Lock()

    async def init(task: Task) -> None:
        await lock.acquire()

    j = Job[None]()
    j.add_task(lambda job: (init, lasting(1), lambda task: lock.release()))
    assert await j.run() is JobState.DONE
    assert not lock.locked()


async def test_nursery_opened_in_init_by_hand(autojump_clock: MockClock) -> None:
    """A nursery opened in init and closed in finalize nests with the scopes of the framework."""
    managers = []

    async def init(task: Task) -> None:
        managers.append(trio.open_nursery())
        nursery = await managers[0].__aenter__()
        nursery.start_soon(trio.sleep, 4)

    async def finalize(task: Task) -> None:
        await managers[0].__aexit__(None, None, None)

    j = Job[None]()
    j.add_task(lambda job: (init, lasting(1), finalize))
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 4
