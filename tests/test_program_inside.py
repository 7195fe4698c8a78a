"""`job.run` in this process, with real signals to it and a real terminal."""

import io
import os
import pty
import signal
import sys
import threading

import pytest
import trio

import job
from job import CauseKind, Job, JobState, Task


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


def test_third_signal() -> None:
    """It changes nothing: the first that cut the job counts."""
    assert job.run(signalling(signal.SIGTERM, signal.SIGINT, signal.SIGTERM)) == 130


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
