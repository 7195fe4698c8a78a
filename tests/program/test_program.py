"""`job.run`: a job as a whole program, in a process of its own, with real signals."""

import errno
import json
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import job
from job import Job, JobStateError, Task

ROOT = Path(__file__).parents[2]

HEAD = """
import signal, sys, job, trio

async def forever(task):
    print("up", flush=True)
    await trio.sleep_forever()

async def draining(task):
    print("up", flush=True)
    await task.job.wait_stopping()
    print("stopping", flush=True)
    await trio.sleep_forever()

async def fail(task):
    raise ValueError("broken")
"""


class Program:
    """A program under test, that says on stdout how far it has come."""

    def __init__(self, body: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD + textwrap.dedent(body)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, line: str) -> None:
        """Wait until the program has said `line`."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ends(self) -> tuple[int, list[str]]:
        """Return the exit code and what it wrote to stderr, line by line."""
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err.splitlines()


@pytest.fixture
def start() -> Iterator[Any]:
    """Start programs, and leave none behind."""
    programs: list[Program] = []

    def start_program(body: str) -> Program:
        programs.append(Program(body))
        return programs[-1]

    yield start_program
    for program in programs:
        program.process.kill()
        program.process.communicate()


def test_done(start: Any) -> None:
    """A job that is done gives exit code 0, and its verdict as one JSON line on stderr."""
    code, lines = start(
        """
        j = job.Job(name="quick")
        j.add_task(lambda j: (None, lambda task: task.done(), None))
        sys.exit(job.run(j))
        """
    ).ends()
    assert code == 0
    (record,) = map(json.loads, lines)
    assert (record["event"], record["job"], record["code"], record["level"]) == (
        "job.ended",
        "quick",
        "finished",
        "info",
    )


def test_failed(start: Any) -> None:
    """A job that failed gives exit code 1; the verdict, a JSON line with the traceback, is logged as a warning."""
    code, lines = start(
        """
        j = job.Job(name="broken", fields={"site": "here"})
        j.add_task(fail)
        sys.exit(job.run(j))
        """
    ).ends()
    assert code == 1
    (record,) = map(json.loads, lines)
    assert (record["event"], record["level"], record["code"]) == ("job.ended", "warning", "error@fail:run")
    assert record["site"] == "here"
    assert "ValueError" in json.dumps(record["exception"])


SERVER = """
from job import net

def nobody(stream):
    raise NotImplementedError

def serve(address):
    j = job.Job(name="server")
    j.add_task(net.serve(net.Endpoint(address), nobody))
    sys.exit(job.run(j))
"""


def refused_start(program: Program) -> dict[str, Any]:
    """Return the one line of a program that could not start: exit code 1, and no traceback."""
    code, lines = program.ends()
    assert code == 1
    record: dict[str, Any]
    (record,) = map(json.loads, lines)
    assert (record["event"], record["job"], record["level"]) == ("job.ended", "server", "warning")
    assert "exception" not in record
    return record


def test_port_in_use(start: Any) -> None:
    """A server whose port is taken ends with one line that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        record = refused_start(start(f"{SERVER}\nserve({address!r})"))
    assert record["code"] == "error@serve:init"
    assert record["error"] == f"OSError({errno.EADDRINUSE}, 'Address already in use', {address!r})"


def test_no_such_host(start: Any) -> None:
    """A host that nobody knows is named, too."""
    record = refused_start(start(f"{SERVER}\nserve('no.such.host.invalid:80')"))
    assert record["error"].startswith("gaierror(")
    assert "no.such.host.invalid:80" in record["error"]


def test_no_permission(start: Any, tmp_path: Path) -> None:
    """A unix socket where the program may not write is named by its path."""
    tmp_path.chmod(0o500)
    address = f"unix:{tmp_path}/socket"
    program = f"""
import os
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere
serve({address!r})
"""
    record = refused_start(start(SERVER + program))
    assert record["error"] == f"PermissionError({errno.EACCES}, 'Permission denied', {address!r})"


def test_nobody_to_connect_to(start: Any) -> None:
    """A oneshot that finds nobody at its address ends the program with one line, too."""
    record = refused_start(
        start(
            """
            from job import net
            j = job.Job(name="server")
            j.add_oneshot_task(net.Endpoint("unix:/no/such/socket").connect_task)
            sys.exit(job.run(j))
            """
        )
    )
    assert record["code"] == "error@connect:run"
    assert record["error"] == "FileNotFoundError(2, 'No such file or directory', 'unix:/no/such/socket')"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal(number: signal.Signals, start: Any) -> None:
    """One signal finishes the job: exit code 0, finalizers included, and the verdict says SIGNAL."""
    program = start(
        """
        def finalize(task):
            print("finalized", flush=True)

        j = job.Job()
        j.add_task(lambda j: (None, forever, finalize))
        code = job.run(j)
        print(j.verdict.cause.kind.name, flush=True)
        sys.exit(code)
        """
    )
    program.says("up")
    program.signal(number)
    program.says("finalized")
    program.says("SIGNAL")
    assert program.ends()[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_second_signal(number: signal.Signals, code: int, start: Any) -> None:
    """A second signal cuts the job that is still in its grace: 130 or 143."""
    program = start(
        """
        j = job.Job(grace=1000)
        j.add_task(draining)
        sys.exit(job.run(j))
        """
    )
    program.says("up")
    program.signal(signal.SIGTERM)
    program.says("stopping")
    program.signal(number)
    assert program.ends()[0] == code


def test_first_signal_to_a_job_that_is_finishing(start: Any) -> None:
    """The first signal only finishes, also where the job was finishing on its own: no second one, no cut."""
    program = start(
        """
        async def last_words(task):
            task.job.finish(grace=1000)
            print("stopping", flush=True)
            with trio.open_signal_receiver(signal.SIGUSR1) as more:
                print("ready", flush=True)
                async for _ in more:
                    return task.done()

        j = job.Job(grace=1000)
        j.add_task(last_words)
        sys.exit(job.run(j))
        """
    )
    program.says("stopping")
    program.says("ready")
    program.signal(signal.SIGTERM)
    program.signal(signal.SIGUSR1)
    assert program.ends()[0] == 0


def test_second_signal_during_finalizers(start: Any) -> None:
    """A second signal that comes when the finalizers run cuts nothing: the job is DONE, and says 0."""
    program = start(
        """
        async def finalize(task):
            with trio.open_signal_receiver(signal.SIGUSR1) as more:
                print("finalizing", flush=True)
                async for _ in more:
                    return

        j = job.Job()
        j.add_task(lambda j: (None, forever, finalize))
        sys.exit(job.run(j))
        """
    )
    program.says("up")
    program.signal(signal.SIGTERM)
    program.says("finalizing")
    program.signal(signal.SIGTERM)
    program.signal(signal.SIGUSR1)
    assert program.ends()[0] == 0


def test_failure_after_a_signal(start: Any) -> None:
    """A job that fails while it drains after a signal has failed: exit code 1."""
    program = start(
        """
        async def run(task):
            print("up", flush=True)
            await task.job.wait_stopping()
            raise ValueError("cannot drain")

        j = job.Job(grace=1000)
        j.add_task(run)
        sys.exit(job.run(j))
        """
    )
    program.says("up")
    program.signal(signal.SIGTERM)
    assert program.ends()[0] == 1


def test_registered_default_logger_is_kept(start: Any) -> None:
    """Where a default logger is registered job.run adds none of its own."""
    program = start(
        """
        job.register_default_logger({0: lambda event, fields: print(event, flush=True)}, level=1)
        sys.exit(job.run(job.Job()))
        """
    )
    program.says("job.ended")
    assert program.ends() == (0, [])


def test_system_exit_goes_on(start: Any) -> None:
    """A SystemExit that a task raises goes on unchanged, after the finalizers."""
    program = start(
        """
        def finalize(task):
            print("finalized", flush=True)

        j = job.Job()
        j.add_task(lambda j: (None, lambda task: sys.exit(7), finalize))
        job.run(j)
        """
    )
    program.says("finalized")
    assert program.ends()[0] == 7


def test_in_process() -> None:
    """job.run works in the main thread of any program, for a job built outside of trio."""
    j = Job("value")
    task = j.add_task(lambda j: (None, lambda task: task.done(j.value), None))
    assert (job.run(j), task.result) == (0, "value")


def test_a_job_runs_once() -> None:
    """A second run of the same job is refused."""
    j = Job[None]()
    job.run(j)
    with pytest.raises(JobStateError):
        job.run(j)


def test_job_cancelled_before() -> None:
    """A job cancelled before its run has failed; one finished before is done."""
    cancelled, finished = Job[None](), Job[None]()
    cancelled.cancel()
    finished.finish()
    assert (job.run(cancelled), job.run(finished)) == (1, 0)


def test_no_job() -> None:
    """What is no job is refused by name and value."""
    with pytest.raises(TypeError, match=r"job.*5"):
        job.run(5)  # type: ignore[arg-type]


def test_signals_are_given_back() -> None:
    """After the run the signal handlers are what they were before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def run(task: Task) -> None:
        await trio.lowlevel.checkpoint()
        task.done([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)])

    j = Job[None]()
    task = j.add_task(run)
    job.run(j)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert task.result != before
