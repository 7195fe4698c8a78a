"""`job.run` in this process, with real signals to it and a real terminal."""

import contextlib
import copy
import io
import os
import pty
import signal
import sys
import threading
from functools import partial
from typing import Any

import pytest
import trio

import job
from job import CauseKind, Job, JobState, JobStateChanged, StopPolicy, Task
from job._core.run.held_signals import hold_signals
from job._core.trio.signals import _before_fork, _in_forked_process, signal_source
from job.instrumentation import tree
from job.instrumentation._where import running
from job.tasks import once, reload_on_signal, signal_listener
from tests.journal import done, failing, forever


def signalling(*numbers: signal.Signals) -> Job[None]:
    """Return a job that sends these signals to its own process, one after another, and will not end by itself."""

    async def run(task: Task) -> None:
        for number in numbers:
            await trio.sleep(0.01)
            signal.raise_signal(number)
        with trio.CancelScope(shield=len(numbers) > 2):
            await trio.sleep(0.1)
        await trio.sleep_forever()

    j = Job[None](grace=60 if len(numbers) > 1 else 0)
    j.add_task(run)
    return j


def test_one_signal() -> None:
    """It finishes the job: exit code 0, and the verdict says that it was a signal."""
    j = signalling(signal.SIGTERM)
    assert job.run(j) == 0
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.SIGNAL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_second_signal(number: signal.Signals, code: int) -> None:
    """It cuts the job, and the exit code tells which it was."""
    assert job.run(signalling(signal.SIGTERM, number)) == code


@pytest.mark.parametrize("shielded", [False, True])
def test_third_signal(shielded: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """It ends the process with the code of the second, from within its handler: whether or not the loop still turns."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    async def run(task: Task) -> None:
        async with Job[None](name="child") as child:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(number)
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.01 * shielded)
            child.cancel()

    monkeypatch.setattr(os, "_exit", leave)
    j = Job[None](name="stuck", grace=60)
    j.add_task(run)
    with pytest.raises(SystemExit, match="130"):
        job.run(j)
    said = capfd.readouterr().err
    assert "job: SIGTERM, the third signal, ends the process" in said
    assert "test_program_inside.py:" in said
    names = [line.split("'")[1] for line in said.splitlines() if line.lstrip(" └├│─").startswith(("job '", "task "))]
    assert names == [
        "stuck",
        "run",
        *["child"] * (not shielded),
    ]  # which has ended where the loop has heard of the second


def test_a_page_is_enough() -> None:
    """Of two hundred tasks there are the first, and one line for the others."""
    j = Job[None](name="wide")
    for number in range(200):
        j.add_task(failing(OSError()), name=f"task {number}")
    lines = tree(jobs=[j]).splitlines()
    assert (len(lines), lines[0], lines[-1][:24]) == (22, "job 'wide' new", "└─ … 180 more tasks: 180")


def test_nowhere() -> None:
    """Where no frame of the user's runs there is no place to tell."""
    assert running(None, test_nowhere.__code__) is None


def test_place_of_a_call() -> None:
    """A frame of the standard library stands where the user's code has called it."""

    class Copied:
        def __deepcopy__(self, memo: object) -> str:
            return str(running(sys._getframe(1), forever.__code__))

    assert copy.deepcopy(Copied()).startswith("test_place_of_a_call at ")


def test_signal_while_trio_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes before the job has begun is obeyed when it does: nothing of it is entered."""

    class Early(trio.abc.Instrument):
        def before_run(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(trio, "run", partial(trio.run, instruments=[Early()]))
    j = Job[None]()
    j.add_task(failing(OSError()))
    assert job.run(j) == 0
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.SIGNAL


def test_second_signal_too_late() -> None:
    """During the finalizers a second signal changes nothing: the job is DONE."""

    async def finalize(task: Task) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(0.1)

    async def run(task: Task) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()

    j = Job[None]()
    j.add_task(lambda _: (None, run, finalize))
    assert job.run(j) == 0


def test_not_within_trio() -> None:
    """Within a trio run it says what to use there, and the job is as it was."""
    j = Job[None]()

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"within a trio run use await j\.run\(\)"):
            job.run(j)
        assert await j.run() is JobState.DONE

    trio.run(main)


def test_not_in_a_thread() -> None:
    """Outside of the main thread no signal can be obeyed: it says what to use there."""

    def work() -> None:
        with pytest.raises(RuntimeError, match=r"the main thread; elsewhere use trio\.run\(j\.run\)"):
            job.run(Job[None]())
        told.append("refused")

    told: list[str] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == ["refused"]


def test_exit_goes_on() -> None:
    """A SystemExit of a task is the program's."""

    async def leave(task: Task) -> None:
        sys.exit(7)

    j = Job[None]()
    j.add_task(leave)
    with pytest.raises(SystemExit, match="7"):
        job.run(j)


def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the verdict is a readable line, not JSON."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        job.run(Job[None](name="seen"))
        terminal.flush()
        line = os.read(ours, 65536).decode()
    os.close(ours)
    assert "job.ended" in line
    assert not line.startswith("{")


def test_closed_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that fails with nowhere to say so does no harm."""

    def fail(*_: object) -> None:
        raise ValueError("broken logger")

    closed = io.StringIO()
    closed.close()
    for stderr in (closed, None):
        monkeypatch.setattr(sys, "stderr", stderr)
        j = Job[None]()
        j.register_logger({0: fail}, level=1)
        j.finish()
        assert j.verdict is not None


def test_hangup_with_a_listener() -> None:
    """A SIGHUP that a task listens to is none of the program's."""

    async def run(task: Task) -> None:
        await trio.sleep(0.01)
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(0.01)
        task.finish_job()

    j = Job[None]()
    j.add_task(reload_on_signal(forever, signal.SIGHUP))
    j.add_task(run)
    assert job.run(j) == 0
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.FINISHED


def test_hangup_that_is_handled() -> None:
    """Nor is one for which the program has a handler."""
    heard: list[int] = []

    async def run(task: Task) -> None:
        signal.raise_signal(signal.SIGHUP)
        await trio.sleep(0.01)
        task.done()

    before = signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    try:
        j = Job[None]()
        j.add_task(run)
        assert job.run(j) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == [signal.SIGHUP]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ignored_signal(number: signal.Signals) -> None:
    """What is ignored stays so, within and afterwards."""

    async def run(task: Task) -> None:
        signal.raise_signal(number)
        await trio.sleep(0.01)
        task.done(signal.getsignal(number))

    before = signal.signal(number, signal.SIG_IGN)
    try:
        j = Job[None]()
        j.add_task(signal_listener(number))
        task = j.add_task(run, policy=StopPolicy.STOP_GROUP)
        assert job.run(j) == 0
        assert task.result is signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("before", [signal.SIG_DFL, "mine"])
def test_signal_of_a_handler_that_outlives_the_run(before: Any) -> None:
    """A handler of ours that another has put back after the run does what was done before it."""
    heard: list[int] = []
    held: list[Any] = []

    async def run(task: Task) -> None:
        held.append(signal.signal(signal.SIGWINCH, signal.SIG_IGN))
        task.done()

    found = signal.signal(
        signal.SIGWINCH, signal.SIG_DFL if before != "mine" else lambda number, _: heard.append(number)
    )
    try:
        j = Job[None]()
        j.add_task(signal_listener(signal.SIGWINCH))
        j.add_task(run, policy=StopPolicy.STOP_GROUP)
        assert trio.run(j.run) is JobState.DONE
        assert signal.getsignal(signal.SIGWINCH) is signal.SIG_IGN
        signal.signal(signal.SIGWINCH, held[0])
        signal.raise_signal(signal.SIGWINCH)  # which does nothing by default
        assert heard == [signal.SIGWINCH] * (before == "mine")
        again = Job[None]()
        again.add_task(signal_listener(signal.SIGWINCH))
        again.add_task(once(lambda task: signal.raise_signal(signal.SIGWINCH)))
        assert trio.run(again.run) is JobState.DONE
    finally:
        signal.signal(signal.SIGWINCH, found)


def test_forked_process() -> None:
    """What is done in a process forked from one that listens, done here: its signals do what they did before."""
    heard: list[int] = []

    async def run(task: Task) -> None:
        _before_fork()
        _in_forked_process()
        signal.raise_signal(signal.SIGUSR1)
        task.done(await trio.sleep(0.01))

    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        j = Job[None]()
        j.add_task(signal_listener(signal.SIGUSR1))
        j.add_task(run, policy=StopPolicy.STOP_GROUP)
        assert trio.run(j.run) is JobState.DONE
        assert j.verdict is not None
        assert (j.verdict.cause.kind, heard) == (CauseKind.FINISHED, [signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_signal_after_the_loop() -> None:
    """One that comes when trio's loop has ended, and the log is being written, is caught and does nothing."""

    class Late(io.StringIO):
        def write(self, text: str) -> int:
            if "job.ended" in text:
                ended.wait(5)
                os.kill(os.getpid(), signal.SIGTERM)
            return super().write(text)

    class End(trio.abc.Instrument):
        def after_run(self) -> None:
            ended.set()

    ended = threading.Event()
    j = Job[None]()

    async def run(task: Task) -> None:
        trio.lowlevel.add_instrument(End())
        task.done()

    j.add_task(run)
    with contextlib.redirect_stderr(Late()):
        assert job.run(j) == 0


def test_logger_that_fails_at_a_signal() -> None:
    """What a logger raises at the first signal that is no Exception is the job's end, and the process'."""

    def handler(event: str, _: object) -> None:
        if event == "program.stopping":
            raise SystemExit(5)

    j = signalling(signal.SIGTERM)
    j.register_logger({0: handler}, level=1)
    with pytest.raises(SystemExit, match="5"):
        job.run(j)


def test_listener_added_later() -> None:
    """Its signals are held from then on, and it is obeyed at once."""

    async def run(task: Task) -> None:
        task.job.add_task(signal_listener(signal.SIGUSR1))
        signal.raise_signal(signal.SIGUSR1)
        await trio.sleep_forever()

    j = Job[None]()
    j.add_task(run)
    assert trio.run(j.run) is JobState.DONE
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_observer_that_fails_at_a_signal() -> None:
    """What an observer raises when a listener finishes the job is the job's end."""

    class Leaving:
        def on_event(self, event: object) -> None:
            if isinstance(event, JobStateChanged) and event.new is JobState.STOPPING:
                raise SystemExit(5)

    j = Job[None](observers=[Leaving()])
    j.add_task(signal_listener(signal.SIGUSR1))
    j.add_task(once(lambda task: signal.raise_signal(signal.SIGUSR1)))
    with pytest.raises(SystemExit, match="5"):
        trio.run(j.run)


def test_many_who_reload() -> None:
    """Tasks of one job that reload on the same signal hold it once."""

    async def add(task: Task) -> None:
        for _ in range(50):
            task.job.add_task(reload_on_signal(done, signal.SIGUSR1), policy=StopPolicy.CONTAIN, transient=True)
        await trio.sleep(0.01)
        task.done(len(signal_source(signal.SIGUSR1)._listeners))

    j = Job[None]()
    task = j.add_task(add)
    assert trio.run(j.run) is JobState.DONE
    assert task.result == 1


def test_fault_of_what_is_done_about_a_signal() -> None:
    """It ends the job, and not the trio run around it."""

    def fail(j: Job[Any], number: int) -> None:
        raise ZeroDivisionError

    j = Job[None]()
    hold_signals(j, (signal.SIGUSR1,), fail)
    j.add_task(once(lambda task: signal.raise_signal(signal.SIGUSR1)))
    j.add_task(forever)
    with pytest.raises(ZeroDivisionError):
        trio.run(j.run)


def test_words_about_a_faulty_logger(capfd: pytest.CaptureFixture[str]) -> None:
    """They are written, once, with the rest of what a program has to say."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    j = Job[None]()
    j.register_logger({0: fail}, level=1)
    j.add_task(once(lambda task: task.log.warning("hello")))
    assert job.run(j) == 0
    assert capfd.readouterr().err == "job: a logger failed: ZeroDivisionError()\n"
