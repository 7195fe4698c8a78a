"""`reload_on_signal` and `signal_listener`: real signals, raised in this process and sent to another."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import (
    CauseKind,
    Job,
    JobCancelledError,
    JobState,
    Phase,
    Routines,
    StopPolicy,
    Task,
    TaskFailed,
    TaskState,
)
from job import run as run_as_program
from job._core.trio.signals import name_of
from job.tasks import every, force_stop, reload_on_signal, restart, signal_listener
from job.testing import Recorder
from tests.journal import Journal, done, each_second, failing, forever, lasting, nothing

ROOT = Path(__file__).parents[2]
HUP = signal.SIGHUP
TERM = signal.SIGTERM


def silent(task: Task) -> None:
    """Take no step."""


async def raise_after(*pauses: float, number: int = HUP) -> None:
    """Raise a signal after each pause."""
    for seconds in pauses:
        await trio.sleep(seconds)
        signal.raise_signal(number)


async def run_with(j: Job[Any], *pauses: float, number: int = HUP, until: float | None = None) -> None:
    """Run a job, raise signals meanwhile, and finish it after `until` seconds."""
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await raise_after(*pauses, number=number)
        if until is not None:
            await trio.sleep_until(until)
            j.finish(100)


# -- reload_on_signal


async def test_reload(autojump_clock: MockClock) -> None:
    """The run is cancelled, the task finalised, initialised and run again."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(reload_on_signal(journal.task("serve", run=lasting(10)), HUP))
    await run_with(j, 3, 5)
    assert (trio.current_time(), j.state, task.name, j.errors) == (18, JobState.DONE, "serve", ())
    assert journal == ["serve.init", "serve.run", "serve.finalize"] * 3


async def test_reload_in_one_trio_task(autojump_clock: MockClock) -> None:
    """A nursery may be open from init to finalize, in each life (G4)."""
    seen: list[trio.lowlevel.Task] = []

    def factory(j: Job[Any]) -> Routines:
        managers: list[Any] = []

        async def init(task: Task) -> None:
            seen.append(trio.lowlevel.current_task())
            managers.append(trio.open_nursery())
            nursery = await managers[-1].__aenter__()
            nursery.start_soon(trio.sleep, 100)

        async def finalize(task: Task) -> None:
            seen.append(trio.lowlevel.current_task())
            nursery = managers[-1]._nursery
            nursery.cancel_scope.cancel()
            await managers[-1].__aexit__(None, None, None)

        return Routines(init, lasting(10), finalize)

    j = Job[Any]()
    j.add_task(reload_on_signal(factory, HUP))
    await run_with(j, 3)
    assert (j.state, len(seen), len(set(seen)), j.errors) == (JobState.DONE, 4, 1, ())


async def test_signal_during_init(autojump_clock: MockClock) -> None:
    """What init has read may be old by now: the task is reloaded when its run begins."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(reload_on_signal(journal.task("serve", init=lasting(2, silent), run=done), HUP))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await raise_after(1)
    assert journal == ["serve.init", "serve.finalize", "serve.init", "serve.run", "serve.finalize"]


async def test_signal_between_two_runs(autojump_clock: MockClock) -> None:
    """One that finds the loop waiting, not the run, reloads before the next run."""
    journal = Journal()

    async def poll(task: Task) -> None:
        if journal.count("poll.init") == 2:
            task.done()
        else:
            task.idle()

    j = Job[Any]()
    j.add_task(reload_on_signal(journal.task("poll", run=poll), HUP))
    await run_with(j, 1.01)
    assert [entry for entry in journal if entry != "poll.run"] == ["poll.init", "poll.finalize"] * 2
    assert j.state is JobState.DONE


@pytest.mark.parametrize("step", [Task.tick, Task.done])
async def test_signal_at_the_last_moment(step: Any, autojump_clock: MockClock) -> None:
    """One that comes when the run has just ended, and before the job has heard of it, reloads all the same."""
    journal = Journal()
    lives = 0

    async def run(task: Task) -> None:
        nonlocal lives
        lives += 1
        if lives == 2:
            return task.done()
        signal.raise_signal(HUP)
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        step(task)
        return None

    j = Job[Any]()
    j.add_task(reload_on_signal(journal.task("serve", run=run), HUP))
    assert await j.run() is JobState.DONE
    assert journal == ["serve.init", "serve.run", "serve.finalize"] * 2


async def test_signal_while_stopping(autojump_clock: MockClock) -> None:
    """It is too late for another life: the last step is not disturbed."""
    journal = Journal()
    j = Job[Any](grace=100)
    task = j.add_task(reload_on_signal(journal.task("serve", run=lasting(10)), HUP))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.finish()
        await raise_after(1)
    assert (trio.current_time(), task.state) == (10, TaskState.FINISHED)
    assert journal == ["serve.init", "serve.run", "serve.finalize"]


async def test_signal_and_stop_at_once(autojump_clock: MockClock) -> None:
    """A run that was cancelled by a signal just before the stop is not begun again, nor is it an error."""
    journal = Journal()

    async def clinging(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        await trio.lowlevel.checkpoint()

    j = Job[Any](grace=100)
    task = j.add_task(reload_on_signal(journal.task("serve", run=clinging), HUP))
    j.add_task(lasting(50))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await raise_after(1)
        await trio.sleep(1)
        j.finish()
    assert (j.state, task.state, j.errors) == (JobState.DONE, TaskState.CANCELLED, ())
    assert journal == ["serve.init", "serve.run", "serve.finalize"]


async def test_stop_while_finalising(autojump_clock: MockClock) -> None:
    """No init is entered once the job is stopping."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(reload_on_signal(journal.task("serve", run=forever, finalize=lasting(2, silent)), HUP))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await raise_after(1)
        await trio.sleep(1)
        j.finish(100)
    assert (trio.current_time(), j.state, task.state) == (3, JobState.DONE, TaskState.FINISHED)
    assert journal == ["serve.init", "serve.run", "serve.finalize"]


async def test_outer_cancellation_while_finalising(autojump_clock: MockClock) -> None:
    """The finalizer is shielded, and no init is entered."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(reload_on_signal(journal.task("serve", run=forever, finalize=lasting(2, silent)), HUP))
    with trio.move_on_after(2) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_after, 1)
            await j.run()
    assert (scope.cancelled_caught, trio.current_time()) == (True, 3)
    assert journal == ["serve.init", "serve.run", "serve.finalize"]


async def test_failing_finalizer(autojump_clock: MockClock) -> None:
    """It is the task's own error, told as that; nothing is lost, and nothing is finalised twice."""
    journal = Journal()

    class Exit:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *exc: object) -> None:
            raise ValueError("exit")

    async def init(task: Task) -> None:
        await task.enter(Exit())

    j = Job[Any]()
    work = journal.task("serve", init=init, run=forever, finalize=failing(OSError("finalize")))
    task = j.add_task(reload_on_signal(work, HUP))
    with pytest.raises(OSError, match="finalize") as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_after, 1)
            try:
                await j.run()
            except OSError as error:
                nursery.cancel_scope.cancel()
                raised = error
        raise raised
    assert "finalize" in caught.value.__notes__[0]
    assert {(failure.task, failure.phase, str(failure.error)) for failure in j.errors} == {
        (task, Phase.FINALIZE, "finalize"),
        (task, Phase.FINALIZE, "exit"),
    }
    assert journal == ["serve.init", "serve.run", "serve.finalize"]


async def test_failing_run(autojump_clock: MockClock) -> None:
    """An error of the run is one, also where a signal made it."""

    async def run(task: Task) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("cleanup")

    j = Job[Any]()
    task = j.add_task(reload_on_signal(run, HUP))
    await run_with(j, 1)
    assert (str(j.interrupted_by[1]), j.interrupted_by[0], task.state) == ("cleanup", task, TaskState.FAILED)


async def test_error_before_any_signal(autojump_clock: MockClock) -> None:
    """It goes through."""
    j = Job[Any]()
    j.add_task(reload_on_signal(failing(OSError()), HUP))
    with pytest.raises(OSError):
        await j.run()


async def test_reload_without_a_run(autojump_clock: MockClock) -> None:
    """What has no run is left as it is."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(reload_on_signal(journal.task("set up", run=None), HUP))
    await j.run()
    assert journal == ["set up.init", "set up.finalize"]


# -- reload, with others


async def test_reload_in_the_wait_of_every(autojump_clock: MockClock) -> None:
    """Around `every` a signal finds the task in its wait; the grid stays."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(reload_on_signal(every(10, journal.task("poll", run=lasting(0, Task.tick))), HUP))
    await run_with(j, 3, until=15)
    assert journal == ["poll.init", "poll.run", "poll.finalize", "poll.init", "poll.run", "poll.finalize"]


async def test_reload_around_restart(autojump_clock: MockClock) -> None:
    """The life inside ends with the life around it, and is no failure."""
    journal = Journal()
    recorder = Recorder()
    j = Job[Any](observers=[recorder])
    j.add_task(reload_on_signal(restart(journal.task("serve", run=lasting(10)), wait=1), HUP))
    await run_with(j, 3)
    assert (journal, recorder.of(TaskFailed)) == (["serve.init", "serve.run", "serve.finalize"] * 2, [])


async def test_restart_around_reload(autojump_clock: MockClock) -> None:
    """A reload that fails is survived."""
    journal = Journal()
    recorder = Recorder()
    finalizers = iter([failing(OSError()), nothing])

    async def finalize(task: Task) -> None:
        await next(finalizers)(task)

    j = Job[Any](observers=[recorder])
    work = journal.task("serve", run=lasting(10), finalize=finalize)
    j.add_task(restart(reload_on_signal(work, HUP), wait=1))
    await run_with(j, 3)
    assert (j.state, j.errors, len(recorder.of(TaskFailed))) == (JobState.DONE, (), 1)
    assert journal == ["serve.init", "serve.run", "serve.finalize"] * 2


async def test_reload_around_force_stop(autojump_clock: MockClock) -> None:
    """A signal is no stop: it cancels the run at once."""
    journal = Journal()
    j = Job[Any]()
    j.add_task(reload_on_signal(force_stop(journal.task("serve", run=lasting(10)), 100), HUP))
    await run_with(j, 3)
    assert (trio.current_time(), j.state, j.errors) == (13, JobState.DONE, ())
    assert journal == ["serve.init", "serve.run", "serve.finalize"] * 2


async def test_force_stop_around_reload(autojump_clock: MockClock) -> None:
    """Behind the shield a signal is heard all the same, and the time to leave is that of the last life."""
    journal = Journal()
    j = Job[Any]()
    task = j.add_task(force_stop(reload_on_signal(journal.task("serve", run=forever), HUP), 5))
    await run_with(j, 3, until=10)
    assert (trio.current_time(), j.state, task.state, len(j.errors)) == (15, JobState.DONE, TaskState.CANCELLED, 1)
    assert journal == ["serve.init", "serve.run", "serve.finalize"] * 2


# -- signal_listener


async def test_first_signal_finishes(autojump_clock: MockClock) -> None:
    """Within the job's grace, in which the listener holds nobody up."""
    j = Job[Any](grace=10)
    j.add_task(signal_listener(TERM))
    worker = j.add_task(each_second)
    await run_with(j, 2.5, number=TERM)
    assert (trio.current_time(), j.state, worker.state) == (3, JobState.DONE, TaskState.FINISHED)
    assert j.verdict is not None
    assert (j.verdict.cause.kind, j.verdict.cause.task) == (CauseKind.SIGNAL, j.tasks[0])
    assert j.verdict.code == "signal"


async def test_second_signal_cancels(autojump_clock: MockClock) -> None:
    """While others use their grace the listener hears the second."""
    j = Job[Any](grace=100)
    listener = j.add_task(signal_listener(TERM))
    j.add_task(forever)
    await run_with(j, 1, 2, number=TERM)
    assert (trio.current_time(), j.state, listener.name) == (3, JobState.CANCELLED, "signal_listener")
    error = j.interrupted_by[1]
    assert isinstance(error, JobCancelledError)
    assert str(error) == "cut by a second signal, SIGTERM"


async def test_listener_does_not_hold_up_a_stop_group(autojump_clock: MockClock) -> None:
    """A job whose real work is done ends."""
    j = Job[Any]()
    j.add_task(signal_listener(TERM, signal.SIGINT))
    j.add_task(lasting(3), policy=StopPolicy.STOP_GROUP)
    assert await j.run() is JobState.DONE
    assert trio.current_time() == 3


async def test_handlers_are_given_back(autojump_clock: MockClock) -> None:
    """When the job has ended the signal does what it did before."""
    before = signal.getsignal(TERM)
    j = Job[Any]()
    j.add_task(signal_listener(TERM))
    with trio.move_on_after(1):
        await j.run()
    assert signal.getsignal(TERM) is before


async def test_listener_of_a_job_that_fails(autojump_clock: MockClock) -> None:
    """It makes no error of its own."""
    j = Job[Any]()
    j.add_task(signal_listener(TERM))
    j.add_task(failing(OSError(), after=1))
    with pytest.raises(OSError):
        await j.run()
    assert len(j.errors) == 1


def test_name_of_a_signal() -> None:
    """One that has no name of its own is told by its number."""
    assert name_of(signal.SIGTERM) == "SIGTERM"
    assert name_of(signal.SIGRTMIN + 3) == f"signal {signal.SIGRTMIN + 3}"


# -- in a process of its own


class Program:
    """A program that says on stdout how far it has come."""

    def __init__(self, body: str) -> None:
        head = "import signal, sys, job, trio\nfrom job.tasks import *\ndef say(*words): print(*words, flush=True)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(body)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

    def says(self, line: str) -> None:
        """Wait until it has said `line`."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line

    def ends(self) -> int:
        """Wait for its end, and return its exit code."""
        assert self.process.communicate(timeout=20)[0] == ""
        return self.process.returncode


SERVER = """
    async def init(task): say("init")
    async def run(task):
        say("run")
        await trio.sleep_forever()
    async def finalize(task): say("finalize")

    j = job.Job(grace=30)
    j.add_task(signal_listener(signal.SIGTERM, signal.SIGINT))
    j.add_task(reload_on_signal(lambda j: (init, run, finalize), signal.SIGHUP))
    try:
        trio.run(j.run)
    except job.JobCancelledError as error:
        say(error)
"""


def test_process_that_reloads_and_is_cut() -> None:
    """SIGHUP reloads, a SIGTERM finishes, and the next signal cancels."""
    program = Program(SERVER)
    for _ in range(3):
        program.says("init")
        program.says("run")
        program.process.send_signal(HUP)
        program.says("finalize")
    program.says("init")
    program.says("run")
    program.process.send_signal(TERM)
    program.process.send_signal(signal.SIGINT)
    program.says("finalize")
    assert program.process.stdout is not None
    assert program.process.stdout.readline().startswith("cut by a second signal, SIG")
    assert program.ends() == 0


def test_process_that_drains() -> None:
    """One signal is a good end."""
    program = Program(
        """
        async def serve(task):
            say("up")
            await task.job.wait_stopping()
            say("draining")
            task.done()

        j = job.Job(grace=30)
        j.add_task(signal_listener(signal.SIGTERM))
        j.add_task(serve)
        say(trio.run(j.run).value)
        """
    )
    program.says("up")
    program.process.send_signal(TERM)
    program.says("draining")
    program.says("done")
    assert program.ends() == 0


async def test_one_signal_reloads_all_who_hear_it(autojump_clock: MockClock) -> None:
    """Several tasks may reload on the same signal, and those that end first take it from nobody."""
    journal, before = Journal(), signal.getsignal(HUP)
    j = Job[Any](keep_open=True)
    tasks = [
        j.add_task(
            reload_on_signal(journal.task(name, run=run, finalize=None), HUP), policy=StopPolicy.CONTAIN, transient=True
        )
        for name, run in (("first", lasting(2)), ("second", forever), ("third", lasting(2)))
    ]
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        signal.raise_signal(HUP)
        await trio.sleep(5)
        assert sorted(journal) == sorted([f"{task.name}.{part}" for task in tasks for part in ("init", "run")] * 2)
        journal.clear()
        signal.raise_signal(HUP)
        await trio.sleep(1)
        assert journal == ["second.init", "second.run"]
        j.finish()
    assert signal.getsignal(HUP) is before


@pytest.mark.parametrize("repeat", range(4))
def test_listener_beside_that_of_the_program(repeat: int) -> None:
    """Where `job.run` hears a signal and a listener does too, they agree: the second cuts, and the exit code says so."""
    before = signal.getsignal(TERM)

    async def signals(task: Task) -> None:
        for _ in range(2):
            signal.raise_signal(TERM)
            await trio.sleep(0.01)
        await trio.sleep_forever()

    j = Job[Any](grace=60)
    j.add_task(signal_listener(TERM))
    j.add_task(signals)
    assert run_as_program(j) == 128 + TERM
    assert signal.getsignal(TERM) is before


def test_not_in_the_main_thread() -> None:
    """Signals are heard in the main thread alone: elsewhere the job fails."""
    j = Job[Any]()
    j.add_task(signal_listener(TERM))

    async def main() -> None:
        await trio.to_thread.run_sync(trio.run, j.run)

    with pytest.raises(RuntimeError):
        trio.run(main)
    assert j.errors[0].phase is Phase.INIT


async def test_signal_before_the_init_of_the_listener(autojump_clock: MockClock) -> None:
    """A signal in an earlier init ends the job as well; no task is named, since none listened yet."""

    async def init(task: Task) -> None:
        signal.raise_signal(TERM)
        await trio.sleep(1)

    j = Job[None]()
    j.add_task(lambda j: Routines(init, forever, None))
    j.add_task(signal_listener(TERM))
    assert await j.run() is JobState.DONE
    assert j.verdict is not None
    assert (j.verdict.cause.kind, j.verdict.cause.task) == (CauseKind.SIGNAL, None)
