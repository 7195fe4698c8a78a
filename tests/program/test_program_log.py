"""The log of a program: what `job.run` writes where no logger is registered."""

import io
import json
import os
import pty
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

import job
from job import Job, Task
from job._program.run import run_program as run_with
from job.log import has_default_logger
from job.tasks import once
from tests.programs import run_program


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Said:
    """What a job has written to its stderr."""

    def __init__(self, stream: io.StringIO) -> None:
        self.text = stream.getvalue()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines, by a reader that takes nothing but JSON."""
        return [json.loads(line, parse_constant=_refuse) for line in self.text.splitlines()]


def _refuse(constant: str) -> None:
    raise ValueError(f"not JSON: {constant}")


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a job of one step as a program."""

    def run_job(step: Callable[[Task], object], *, stream: Any = None, **fields: Any) -> Said:
        target = stream or io.StringIO()
        monkeypatch.setattr(sys, "stderr", target)
        j = Job[None](name="careful", fields=fields)
        j.add_task(once(step), name="step")
        job.run(j)
        return Said(target)

    return run_job


def hello(task: Task) -> None:
    """Write a line with two fields, in no order of the alphabet."""
    task.log.warning("hello", zebra=1, apple=2)


# -- the record


def test_order(run: Run) -> None:
    """Event, level and timestamp come first, then the fields in the order they were put in."""
    said = run(hello, server="s")
    assert list(said.records[0]) == [
        *("event", "level", "timestamp", "server"),
        *("job", "job_id", "task", "task_index", "zebra", "apple"),
    ]


def test_order_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """There as well."""
    monkeypatch.setenv("NO_COLOR", "1")
    line = run(hello, stream=Terminal()).text.splitlines()[0]
    assert line.index("[warning") < line.index("hello") < line.index("zebra=1") < line.index("apple=2")
    assert "\x1b" not in line


def test_colours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal has colours, unless NO_COLOR is set."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33mwarning" in run(hello, stream=Terminal()).text


def test_context_variables(run: Run) -> None:
    """What is bound with structlog's contextvars is in the record; what the record says itself stands."""
    with structlog.contextvars.bound_contextvars(request="r1", event="mine", exc_info=True, apple=9):
        record = run(hello).records[0]
    assert (record["request"], record["event_"], record["exc_info_"], record["apple"]) == ("r1", "mine", True, 2)
    assert (record["event"], "exception" in record) == ("hello", False)


@pytest.mark.parametrize(
    "exc_info",
    [True, ValueError("mine"), (ValueError, ValueError("mine"), None), "yes"],
    ids=["True", "error", "triple", "text"],
)
def test_traceback(exc_info: Any, run: Run) -> None:
    """Whatever names the error, its traceback is in the record; a field of that name has a _ behind it."""

    def fail(task: Task) -> None:
        try:
            raise ValueError("mine")
        except ValueError:
            task.log.error("failed", exc_info=exc_info, exception="field")

    record = run(fail).records[0]
    assert (record["exception"][0]["exc_type"], record["exception_"]) == ("ValueError", "field")


@pytest.mark.parametrize("exc_info", [None, False, (), (1, 2, 3), True, 7])
def test_no_traceback(exc_info: Any, run: Run) -> None:
    """Where there is no error there is none."""
    assert "exception" not in run(lambda task: task.log.error("failed", exc_info=exc_info)).records[0]


def nested(depth: int) -> BaseException:
    """Make a group of groups."""
    error: Exception = ValueError("mine")
    for _ in range(depth):
        error = ExceptionGroup("deep", [error])
    return error


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("depth", [1, 200, 3000])
def test_traceback_of_groups(depth: int, stream: type[io.StringIO], run: Run) -> None:
    """However deep an error is, its record is written."""
    error = nested(depth)
    said = run(lambda task: task.log.error("failed", exc_info=error), stream=stream())
    assert "failed" in said.text.splitlines()[0]
    assert len(said.text) < 1_000_000


def test_traceback_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands below the line; the message of an error does not drive the terminal either."""
    monkeypatch.setenv("NO_COLOR", "1")
    text = run(lambda task: task.log.error("failed", exc_info=ValueError("\x1b[2J\nmine")), stream=Terminal()).text
    assert "\x1b" not in text
    assert r"ValueError: \x1b[2J" in text.splitlines()[1]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_error_that_cannot_be_told(stream: type[io.StringIO], run: Run) -> None:
    """Of an error that will not be looked into its repr is shown."""

    class NotesError(Exception):
        @property
        def __notes__(self) -> Any:
            raise ValueError("none of yours")

    said = run(lambda task: task.log.error("failed", exc_info=NotesError("mine")), stream=stream())
    assert "NotesError('mine')" in said.text


@pytest.mark.parametrize("name", ["event", "key", "value", "inside", "spaced", "job"])
def test_terminal_is_not_driven(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a peer's text may stand in a line, it moves nothing."""
    monkeypatch.setenv("NO_COLOR", "1")
    bad = "\x1b[2Jowned\x07"
    lines: dict[str, Callable[[Task], object]] = {
        "event": lambda task: task.log.warning(bad),
        "key": lambda task: task.log.warning("hello", **{bad: 1}),
        "value": lambda task: task.log.warning("hello", client=bad),
        "inside": lambda task: task.log.warning("hello", client={bad: [bad]}),
        "spaced": lambda task: task.log.warning("hello", client=f"{bad} = {bad}"),
        "job": lambda task: Job[None](name=bad).log.warning("hello"),
    }
    text = run(lines[name], stream=Terminal()).text
    assert "owned" in text
    assert text.replace("\n", "").isprintable()


class Faulty:
    """Raises where its repr is asked for."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


@pytest.mark.parametrize("value", [float("nan"), {("up", 1): 2}, {7}, Faulty(ValueError()), "\udcff"])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_no_value_loses_a_record(value: object, stream: type[io.StringIO], run: Run) -> None:
    """Whatever is in the fields, each line of the job is there."""
    text = run(hello, stream=stream(), odd=value).text
    assert all(event in text for event in ("hello", "job.ended"))
    assert "a logger failed" not in text


def test_value_that_gives_an_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SystemExit out of a value's repr goes on, and the record is written."""
    stream = io.StringIO()
    with pytest.raises(SystemExit):
        run(lambda task: task.log.warning("hello", odd=Faulty(SystemExit(3))), stream=stream)
    assert '"hello"' in stream.getvalue()


# -- stderr


def test_stderr_of_the_moment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """stderr is looked up at each write, and what it is with it: lines there may be JSON, and colours here."""
    other = Terminal()

    def change(task: Task) -> None:
        task.log.warning("first")
        monkeypatch.setattr(sys, "stderr", other)

    said = run(change)
    assert [record["event"] for record in said.records] == ["first"]
    assert "job.ended" in other.getvalue()
    assert not other.getvalue().startswith("{")


def test_registration_is_taken_back(run: Run) -> None:
    """After the run the logger that was registered for it is none any more."""
    run(hello)
    assert not has_default_logger()


def test_registration_of_a_task_stays(run: Run) -> None:
    """One that the program registers while it runs is the program's."""
    heard: list[str] = []
    said = run(lambda task: job.register_default_logger({0: lambda event, fields: heard.append(event)}, level=1))
    assert (said.text, heard, has_default_logger()) == ("", ["job.ended"], True)


def test_registration_of_before_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    """What the command line asks for takes the place of a program's own logger while it runs."""
    heard: list[str] = []
    job.register_default_logger({0: lambda event, fields: heard.append(event)}, level=1)
    run_with(Job[None](), "json")
    assert json.loads(capsys.readouterr().err)["event"] == "job.ended"
    Job[None]().log.warning("after")
    assert heard == ["after"]


def test_thread_ends_with_the_program(run: Run) -> None:
    """Nothing of the log is left behind."""
    run(hello)
    assert "job log" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("stderr", [None, object()])
def test_no_stderr(stderr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stderr, or with an odd one, the program does its work."""
    monkeypatch.setattr(sys, "stderr", stderr)
    j = Job[None]()
    j.add_task(once(hello))
    assert job.run(j) == 0


def test_closed_file_2() -> None:
    """A daemon that was started without a file 2 runs, and writes to no file that has come in its place."""
    ended = run_program(
        """
        here = os.open("/dev/null", os.O_RDWR)
        async def run(task):
            task.log.warning("hello")
            task.done(print("worked", here, flush=True))
        j = job.Job()
        j.add_task(run)
        sys.exit(job.run(j))
        """,
        stderr=None,
        preexec_fn=lambda: os.close(2),
    )
    assert (ended.code, ended.out) == (0, "worked 2\n")


def test_terminal_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real terminal gets readable lines."""
    ours, theirs = pty.openpty()
    ended = run_program("sys.exit(job.run(job.Job(name='seen')))", stderr=theirs)
    os.close(theirs)
    line = os.read(ours, 65536).decode()
    os.close(ours)
    assert ended.code == 0
    assert "job.ended" in line
    assert not line.startswith("{")


# -- a reader that stops


BUSY = """
    async def run(task):
        for _ in range(5000):
            task.log.warning("hello", text="x" * 1000)
        task.done()
    j = job.Job()
    j.add_task(run)
    sys.exit(job.run(j))
"""


def test_reader_that_has_stopped() -> None:
    """It costs lines, never the program."""
    unread, full = os.pipe()
    ended = run_program(BUSY, stderr=full)
    os.close(unread)
    os.close(full)
    assert ended.code == 0


def test_reader_that_has_stopped_beside_a_faulty_logger() -> None:
    """Nor do the words of a logger of the program's that fails, and those for which there is none."""
    unread, full = os.pipe()
    ended = run_program(
        """
        os.set_blocking(2, False)
        try:
            while True:
                os.write(2, b"x" * 1000)
        except BlockingIOError:
            os.set_blocking(2, True)
        def fail(event, fields):
            raise ValueError
        async def run(task):
            for _ in range(3):
                job.register_default_logger({0: fail})
                task.log.warning("hello")
            job.register_default_logger(None)
            task.log.warning("hello")
            task.done()
        job.register_default_logger({0: fail})
        j = job.Job()
        j.add_task(run)
        sys.exit(job.run(j))
        """,
        stderr=full,
    )
    os.close(unread)
    os.close(full)
    assert ended.code == 0


def test_reader_that_has_gone() -> None:
    """Nor does one that has closed its end."""
    unread, full = os.pipe()
    os.close(unread)
    ended = run_program(BUSY, stderr=full)
    os.close(full)
    assert ended.code == 0


def test_full_disk() -> None:
    """Nor does a disk without room."""
    with Path("/dev/full").open("w") as full:
        assert run_program(BUSY, stderr=full).code == 0


def test_each_line_is_written_or_counted() -> None:
    """Of more lines at once than can wait those that are missing are counted."""
    ended = run_program(BUSY)
    assert sum(record.get("lines", 1) for record in ended.records()) == 5001


def test_nothing_is_lost_at_a_normal_end() -> None:
    """What waits to be written when the job has ended is written: each line, in its order."""
    ended = run_program(BUSY.replace("5000", "500"))
    assert [record["event"] for record in ended.records()] == [*["hello"] * 500, "job.ended"]


def test_reader_that_comes_back() -> None:
    """One that sleeps and then reads on is told how many lines it has missed."""
    ended = run_program(
        """
        read, write = os.pipe()
        sys.stderr = open(write, "w")
        def reader():
            time.sleep(0.3)
            for line in open(read):
                print(line, end="")
        thread = threading.Thread(target=reader)
        thread.start()
        async def run(task):
            for _ in range(3000):
                task.log.warning("hello", text="x" * 1000)
            await trio.sleep(1)
            for _ in range(10):
                task.log.warning("again")
            task.done()
        j = job.Job()
        j.add_task(run)
        code = job.run(j)
        sys.stderr.close()
        thread.join()
        """
    )
    ended.err, ended.out = ended.out, ended.err
    events = [record["event"] for record in ended.records()]
    dropped = ended.record("log.dropped")
    assert (dropped["level"], events.count("hello") + dropped["lines"]) == ("warning", 3000)
    assert events[-12:] == ["log.dropped", *["again"] * 10, "job.ended"]


def test_lines_are_counted_where_they_are_missing(run: Run) -> None:
    """The record says how many lines there would have been."""

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            read.wait(10)
            return super().write(text)

    def talk(task: Task) -> None:
        for _ in range(3000):
            task.log.warning("hello", text="x" * 1000)
        read.set()

    read = threading.Event()
    records = run(talk, stream=Slow()).records
    (dropped,) = [record for record in records if record["event"] == "log.dropped"]
    assert (dropped["level"], len(records) - 1 + dropped["lines"]) == ("warning", 3001)


def test_signal_beside_a_reader_that_has_stopped() -> None:
    """SIGTERM ends a program whose log is not read."""
    unread, full = os.pipe()
    ended = run_program(
        """
        async def run(task):
            threading.Timer(0.3, strike, [signal.SIGTERM]).start()
            while True:
                task.log.warning("hello", text="x" * 1000)
                await trio.sleep(0)
        j = job.Job()
        j.add_task(run)
        sys.exit(job.run(j))
        """,
        stderr=full,
    )
    os.close(unread)
    os.close(full)
    assert ended.code == 0


# -- a process forked from it


def test_lines_of_a_forked_process() -> None:
    """They are written, each once, though its writer has stayed behind; so are those of the program itself."""
    ended = run_program(
        """
        async def run(task):
            task.log.warning("before")
            child = os.fork()
            if child == 0:
                task.log.warning("child")
                os._exit(0)
            os.waitpid(child, 0)
            task.log.warning("after")
            task.done()
        j = job.Job()
        j.add_task(run)
        sys.exit(job.run(j))
        """
    )
    events = [record["event"] for record in ended.records()]
    assert sorted(events) == ["after", "before", "child", "job.ended"]
    assert ended.code == 0
