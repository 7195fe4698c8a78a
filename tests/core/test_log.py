"""Registered loggers, their levels, and what a job writes by itself."""

from collections.abc import Mapping
from typing import Any

import pytest
import structlog
import trio
from structlog.testing import CapturingLogger
from trio.testing import MockClock

import job
from job import AssertFailedError, Job, JobState, JobTimeoutError, Routines, StopPolicy, Task
from tests.journal import done, failing, forever, lasting

Record = tuple[int, str, Mapping[str, Any]]


class Heard:
    """A mapping of handlers that notes which of them heard what."""

    def __init__(self, *levels: int) -> None:
        self.records: list[Record] = []
        self.handlers = {level: self.handler(level) for level in levels or (0, 1, 2)}

    def handler(self, level: int) -> Any:
        """Make the handler of one level."""
        return lambda event, fields: self.records.append((level, event, dict(fields)))

    def of(self, event: str) -> list[tuple[int, Mapping[str, Any]]]:
        """Return handler and fields of the records of one event."""
        return [(level, fields) for level, name, fields in self.records if name == event]


class Unshowable:
    """Has no repr."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


class UnshowableError(Exception):
    """Has none either."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("\x1b[2J")


def plain_structlog(target: CapturingLogger) -> Any:
    """Return a structlog logger that hands its calls to `target` as they are."""
    return structlog.wrap_logger(target, processors=[], wrapper_class=structlog.BoundLogger)


def write_all(log: Any) -> None:
    """Write one record in each way there is."""
    for level in range(4):
        log(level, f"level {level}")
    for severity in ("debug", "info", "warning", "error", "exception"):
        getattr(log, severity)(severity)


# -- levels


@pytest.mark.parametrize(
    ("level", "events"),
    [
        (0, "level 0, warning, error, exception"),
        (1, "level 0, level 1, info, warning, error, exception"),
        (2, "level 0, level 1, level 2, debug, info, warning, error, exception"),
        (3, "level 0, level 1, level 2, level 3, debug, info, warning, error, exception"),
    ],
)
def test_levels(level: int, events: str) -> None:
    """A logger hears what is not above its level; warning, error and exception are 0, info 1, debug 2."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers, level=level)
    write_all(j.log)
    assert ", ".join(event for _, event, _ in heard.records) == events


def test_handlers_of_a_mapping() -> None:
    """Level n goes to handler n, or to the nearest registered below it, else to the lowest."""
    heard = Heard(1, 3)
    j = Job[None]()
    j.register_logger(heard.handlers, level=9)
    for level in range(6):
        j.log(level, str(level))
    assert [(level, event) for level, event, _ in heard.records] == [
        (1, "0"),
        (1, "1"),
        (1, "2"),
        (3, "3"),
        (3, "4"),
        (3, "5"),
    ]


def test_severities_in_a_mapping() -> None:
    """error, exception and warning go to handler 0, info to 1, debug to 2."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers, level=2)
    for severity in ("error", "exception", "warning", "info", "debug"):
        getattr(j.log, severity)(severity)
    assert [level for level, _, _ in heard.records] == [0, 0, 0, 1, 2]


def test_levels_in_structlog() -> None:
    """In structlog levels 0 and 1 are info, 2 and more debug; severities keep their names."""
    target = CapturingLogger()
    j = Job[None]()
    j.register_logger(plain_structlog(target), level=3)
    write_all(j.log)
    assert [call.method_name for call in target.calls] == [
        *("info", "info", "debug", "debug"),
        *("debug", "info", "warning", "error", "error"),
    ]


def test_capture_logs() -> None:
    """A configured structlog logger works as any, under structlog's own test helpers too."""
    j = Job[None](name="captured")
    j.register_logger(structlog.get_logger(), level=1)
    with structlog.testing.capture_logs() as lines:
        j.log.info("hello", answer=42)
    assert lines == [{"event": "hello", "answer": 42, "job": "captured", "job_id": j.id, "log_level": "info"}]


# -- which logger


def test_default_logger() -> None:
    """A job without a logger writes to the default one, at its level."""
    heard = Heard()
    job.register_default_logger(heard.handlers, level=1)
    write_all(Job[None]().log)
    assert len(heard.records) == 6


def test_default_level() -> None:
    """The default logger's level is 0 by default."""
    heard = Heard()
    job.register_default_logger(heard.handlers)
    write_all(Job[None]().log)
    assert len(heard.records) == 4


def test_own_logger_comes_first() -> None:
    """A job's own logger takes the default one's place."""
    default, own = Heard(), Heard()
    job.register_default_logger(default.handlers)
    j = Job[None]()
    j.register_logger(own.handlers)
    j.log(0, "hello")
    assert (len(default.records), len(own.records)) == (0, 1)


def test_own_logger_takes_the_default_level() -> None:
    """Without a level of its own a registered logger takes that of the default logger."""
    default, own = Heard(), Heard()
    job.register_default_logger(default.handlers, level=2)
    j = Job[None]()
    j.register_logger(own.handlers)
    j.log.debug("hello")
    assert len(own.records) == 1


def test_logger_registered_later() -> None:
    """A log that was taken before writes to a logger that is registered later."""
    heard = Heard()
    j = Job[None]()
    log = j.log.bind(client="a")
    j.register_logger(heard.handlers)
    log(0, "hello")
    assert len(heard.records) == 1


def test_logger_of_the_parent() -> None:
    """A job without a logger takes its parent's, not the default one."""
    default, parents = Heard(), Heard()
    job.register_default_logger(default.handlers)
    parent = Job[None]()
    parent.register_logger(parents.handlers, level=1)
    child = Job[None](parent=Job[None](parent=parent))
    child.log.info("hello")
    assert (len(default.records), parents.records[0][2]["job"]) == (0, child.name)


def test_detached_child() -> None:
    """A job without a parent has the default logger only."""
    heard = Heard()
    j = Job[None](parent=None)
    job.register_default_logger(heard.handlers)
    j.log(0, "hello")
    assert len(heard.records) == 1


@pytest.mark.parametrize(
    ("logger", "level", "error", "message"),
    [
        (5, 0, TypeError, "logger.*5"),
        (print, 0, TypeError, "logger"),
        ({}, 0, ValueError, "logger"),
        ({0: "no"}, 0, TypeError, "'no'"),
        ({"0": print}, 0, TypeError, "'0'"),
        ({0: print}, "1", TypeError, "level.*'1'"),
        ({0: print}, -1, ValueError, "level.*-1"),
    ],
)
def test_wrong_arguments(logger: object, level: Any, error: type[Exception], message: str) -> None:
    """A wrong logger or level is refused at the call, naming it and its value."""
    with pytest.raises(error, match=message):
        job.register_default_logger(logger, level=level)
    with pytest.raises(error, match=message):
        Job[None]().register_logger(logger, level=level)


# -- what a record carries


def test_fields_of_a_record() -> None:
    """A record carries job, job_id and what was given."""
    heard = Heard()
    j = Job[None](name="server")
    j.register_logger(heard.handlers)
    j.log(0, "hello", client="a")
    assert heard.records == [(0, "hello", {"job": "server", "job_id": j.id, "client": "a"})]


async def test_fields_of_a_task() -> None:
    """Through task.log a record carries task and task_index, too."""
    heard = Heard()
    j = Job[None](name="server")
    j.register_logger(heard.handlers)
    j.add_task(lambda job: (None, lambda task: task.log.error("oops") or task.done(), None), name="read")
    await j.run()
    assert heard.of("oops") == [(0, {"job": "server", "job_id": j.id, "task": "read", "task_index": 1})]


def test_fields_of_the_job() -> None:
    """The job's fields are in every record, as they are when it is written."""
    heard = Heard()
    j = Job[None](fields={"client": "a"})
    j.register_logger(heard.handlers)
    log = j.log
    j.fields["bytes"] = 7
    log(0, "hello")
    assert (heard.records[0][2]["client"], heard.records[0][2]["bytes"]) == ("a", 7)


def test_fields_that_were_replaced() -> None:
    """A new dict in place of the fields is in the records that come after it."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers)
    j.log(0, "before")
    j.fields = {"client": "b"}
    j.log(0, "after")
    assert heard.records[1][2]["client"] == "b"


def test_fields_argument_is_copied() -> None:
    """The dict that a job is made with stays the caller's."""
    given = {"client": "a"}
    j = Job[None](fields=given)
    j.fields["bytes"] = 7
    assert given == {"client": "a"}


def test_bind() -> None:
    """bind gives a log with more fields and leaves the other as it was."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers)
    bound = j.log.bind(client="a").bind(side="up")
    bound(0, "bound")
    j.log(0, "plain")
    assert [set(fields) - {"job", "job_id"} for _, _, fields in heard.records] == [{"client", "side"}, set()]


def test_exception() -> None:
    """exception hands on the exception that is being handled."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers)
    error = ValueError("mine")
    try:
        raise error
    except ValueError:
        j.log.exception("failed")
    assert heard.records[0][2]["exc_info"] is error


# -- faulty handlers


async def test_faulty_handler_is_isolated(capfd: pytest.CaptureFixture[str]) -> None:
    """A handler that raises never harms the job."""

    def handler(event: str, fields: Mapping[str, Any]) -> None:
        raise ZeroDivisionError

    j = Job[None]()
    j.register_logger({0: handler}, level=2)
    task = j.add_task(lambda job: (None, lambda task: task.log(0, "hello") or task.done(), None))
    assert await j.run() is JobState.DONE
    assert task.error is None


async def test_faulty_structlog_is_isolated(capfd: pytest.CaptureFixture[str]) -> None:
    """A structlog logger that raises never harms the job."""

    def broken(logger: object, name: str, event: object) -> Any:
        raise ZeroDivisionError

    j = Job[None]()
    j.register_logger(structlog.wrap_logger(CapturingLogger(), processors=[broken]), level=2)
    j.add_task(lambda job: (None, lambda task: task.log(0, "hello") or task.done(), None))
    assert await j.run() is JobState.DONE


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), UnshowableError()], ids=["error", "unshowable"])
def test_faulty_handler_is_told_once(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    """Its first error is on stderr, in one line; where the logger goes on, so does the job."""

    def handler(event: str, fields: Mapping[str, Any]) -> None:
        raise error

    j = Job[None]()
    j.register_logger({0: handler})
    for _ in range(3):
        j.log(0, "hello")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("job: a logger failed: ")
    assert type(error).__name__ in line


# -- job.ended


async def ended(j: Job[None], heard: Heard, level: int = 1) -> tuple[int, Mapping[str, Any]]:
    """Run a job in the background, and return its one record of the end."""
    j.register_logger(heard.handlers, level=level)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    (record,) = heard.of("job.ended")
    return record


async def test_job_ended(autojump_clock: MockClock) -> None:
    """A job writes one wide record at its end, at level 1: code, duration, steps and the job's fields."""
    j = Job[None](name="server", fields={"client": "a"})
    j.add_task(lasting(2))
    level, fields = await ended(j, Heard())
    assert level == 1
    assert fields["job"] == "server"
    assert (fields["code"], fields["seconds"], fields["steps"], fields["client"]) == ("finished", 2, 1, "a")


async def test_job_ended_is_not_for_level_0() -> None:
    """A logger of level 0 does not hear of a job that ended well."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers, level=0)
    await j.run()
    assert heard.records == []


async def test_raised_failure_is_no_warning() -> None:
    """A failure that run raises is for its caller: job.ended stays level 1."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers, level=1)
    j.add_task(failing(ValueError("mine")))
    with pytest.raises(ValueError, match="mine"):
        await j.run()
    ((level, fields),) = heard.of("job.ended")
    assert (level, fields["code"], "exc_info" in fields) == (1, "error@routine:run", False)


async def test_contained_failure_is_a_warning() -> None:
    """A contained failure is a warning, with the traceback: the fault is our own."""
    error = ValueError("mine")
    j = Job[None]()
    j.add_task(failing(error))
    level, fields = await ended(j, Heard(), level=0)
    assert (level, fields["exc_info"]) == (0, error)


async def test_contained_failure_in_structlog() -> None:
    """In structlog it has the severity warning."""
    target = CapturingLogger()
    j = Job[None]()
    j.register_logger(plain_structlog(target))
    j.add_task(failing(ValueError("mine")))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert [(call.method_name, call.kwargs["event"]) for call in target.calls] == [("warning", "job.ended")]


@pytest.mark.parametrize("options", [{"idle_timeout": 2}, {}])
async def test_limit_has_no_traceback(options: Mapping[str, Any], autojump_clock: MockClock) -> None:
    """A limit that was reached is a warning without a traceback."""
    j = Job[None](timeout=5)
    j.add_task(forever, **options)
    level, fields = await ended(j, Heard(), level=0)
    assert (level, "exc_info" in fields) == (0, False)


@pytest.mark.parametrize(
    ("routines", "oneshot", "level", "traceback"),
    [
        (Routines(failing(OSError(13, "no", "/x")), None, None), False, 1, False),
        (Routines(None, failing(OSError(13, "no", "/x")), None), True, 1, False),
        (Routines(None, failing(OSError(13, "no", "/x")), None), False, 1, True),
        (Routines(failing(OSError(13, "no", "/x")), None, None), False, 2, True),
        (Routines(failing(ValueError("mine")), None, None), False, 1, True),
    ],
    ids=["init", "oneshot", "later", "at level 2", "fault of ours"],
)
async def test_refused_start_has_no_traceback(routines: Routines, oneshot: bool, level: int, traceback: bool) -> None:
    """What the system refuses to an init or to the oneshot is told in one line; level 2 has the traceback all the same."""
    j = Job[None]()
    add = j.add_oneshot_task if oneshot else j.add_task
    add(lambda _: routines)
    _, fields = await ended(j, Heard(), level=level)
    assert ("exc_info" in fields) == traceback


async def test_error_with_a_file() -> None:
    """An error of the system is logged with the file that it is about, which its repr leaves out."""
    j = Job[None]()
    j.add_task(failing(FileNotFoundError(2, "no such file", "/x")))
    _, fields = await ended(j, Heard())
    assert fields["error"] == "FileNotFoundError(2, 'no such file', '/x')"


async def test_quiet() -> None:
    """Errors in the job's quiet are no news: job.ended stays level 1, without a traceback."""
    j = Job[None](quiet=(OSError,))
    j.add_task(failing(ConnectionResetError("peer")))
    level, fields = await ended(j, Heard())
    assert (level, "exc_info" in fields) == (1, False)


async def test_quiet_at_level_0() -> None:
    """A logger of level 0 does not hear of a quiet failure."""
    heard = Heard()
    j = Job[None](quiet=[OSError])
    j.register_logger(heard.handlers, level=0)
    j.add_task(failing(ConnectionResetError("peer")))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert heard.records == []


async def test_errors_that_run_does_not_raise() -> None:
    """Where errors holds an error that run does not raise, job.ended is a warning."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers, level=0)
    j.add_task(lambda job: (None, failing(ValueError("mine")), failing(OSError("close"))))
    with pytest.raises(ValueError, match="mine"):
        await j.run()
    ((level, fields),) = heard.of("job.ended")
    assert level == 0
    assert "close" in repr(fields)


async def test_outer_cancellation_is_no_warning(autojump_clock: MockClock) -> None:
    """The outer scope's JobCancelledError is no error that run does not raise."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers, level=1)
    j.add_task(forever)
    with trio.move_on_after(1):
        await j.run()
    assert [level for level, _ in heard.of("job.ended")] == [1]


async def test_cancel_of_a_parent_is_no_warning(autojump_clock: MockClock) -> None:
    """A child that its parent's cancel ended writes no warning."""
    heard = Heard()

    async def run_child(task: Task) -> None:
        child = Job[None](name="child")
        child.add_task(forever)
        await child.run()

    parent = Job[None](name="parent", timeout=2)
    parent.register_logger(heard.handlers, level=1)
    parent.add_task(run_child)
    with pytest.raises(JobTimeoutError):
        await parent.run()
    assert [(level, fields["job"]) for level, fields in heard.of("job.ended")] == [(1, "child"), (1, "parent")]


async def test_survived_failure_is_logged() -> None:
    """The error of a transient task, which no one else would see, goes to the log with its task."""
    heard = Heard()
    j = Job[None]()
    j.register_logger(heard.handlers, level=0)
    j.add_task(failing(ValueError("mine")), name="brief", policy=StopPolicy.CONTAIN, transient=True)
    await j.run()
    ((level, _, fields),) = heard.records
    assert (level, fields["task"]) == (0, "brief")
    assert "mine" in repr(fields)


async def test_quiet_survived_failure() -> None:
    """The contained failure of a task is level 1 where its error is one of the quiet ones."""
    heard = Heard()
    j = Job[None](quiet=(OSError,))
    j.register_logger(heard.handlers, level=0)
    j.add_task(failing(OSError("peer")), policy=StopPolicy.CONTAIN)
    await j.run()
    assert heard.records == []


# -- nothing registered


async def test_nothing_registered_and_all_well(capfd: pytest.CaptureFixture[str]) -> None:
    """With nothing registered a job that ends well writes nothing, nor do info and debug."""
    j = Job[None]()
    j.log.info("hello")
    j.log(0, "hello")
    j.add_task(done)
    await j.run()
    assert capfd.readouterr() == ("", "")


async def test_nothing_registered_and_a_raised_failure(capfd: pytest.CaptureFixture[str]) -> None:
    """An error that run raises is written by nobody but its caller."""
    j = Job[None]()
    j.add_task(lambda job: (None, lambda task: task.assert_("bad"), None))
    with pytest.raises(AssertFailedError):
        await j.run()
    assert capfd.readouterr() == ("", "")


async def test_nothing_registered_and_a_contained_failure(capfd: pytest.CaptureFixture[str]) -> None:
    """With nothing registered a contained failure is one line on stderr, without a traceback."""
    j = Job[None](name="broken")
    j.add_task(failing(ValueError("mine\nof two lines")))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert all(word in line for word in ("broken", "job.ended", "ValueError", "mine"))


async def test_nothing_registered_and_an_error_that_nobody_would_see(capfd: pytest.CaptureFixture[str]) -> None:
    """An error that run does not raise is one line on stderr, too."""
    j = Job[None]()
    j.add_task(lambda job: (None, failing(ValueError("mine")), failing(OSError("close"))))
    with pytest.raises(ValueError, match="mine"):
        await j.run()
    (line,) = capfd.readouterr().err.splitlines()
    assert "close" in line


async def test_nothing_registered_and_a_quiet_failure(capfd: pytest.CaptureFixture[str]) -> None:
    """A quiet failure is no warning, so nothing is written."""
    j = Job[None](quiet=(OSError,))
    j.add_task(failing(OSError("peer")))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert capfd.readouterr() == ("", "")


def test_nothing_registered_and_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    """A warning of the user's own is written, one line."""
    Job[None]().log.warning("look", detail="a\nb")
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("stderr", [None, object()])
def test_nothing_registered_and_nowhere_to_write(
    stderr: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a stderr, or with an odd one, a warning is lost, and nothing else; it is no output of the program."""
    monkeypatch.setattr("sys.stderr", stderr)
    Job[None]().log.warning("look")
    assert capfd.readouterr() == ("", "")


def test_nothing_registered_and_structlog_configured() -> None:
    """A program that has configured structlog has said where its lines go."""
    with structlog.testing.capture_logs() as lines:
        Job[None]().log.warning("look")
    assert [line["event"] for line in lines] == ["look"]


def test_nothing_registered_and_an_odd_value(capfd: pytest.CaptureFixture[str]) -> None:
    """No value loses a warning, nor drives the terminal."""
    Job[None]().log.warning("look", odd=Unshowable(), key={Unshowable(): "\x1b[2J"}, ratio=float("nan"))
    (line,) = capfd.readouterr().err.splitlines()
    assert "look" in line
    assert line.isprintable()


# -- the names of fields


RESERVED = ["event", "level", "timestamp", "method_name", "self"]


def capturing() -> tuple[Any, list[Any]]:
    """Return a structlog logger, and the list of what is written to it."""
    capture = structlog.testing.LogCapture()
    return structlog.wrap_logger(CapturingLogger(), processors=[capture]), capture.entries


@pytest.mark.parametrize("name", [*RESERVED, "exc_info"])
def test_reserved_name_of_a_field(name: str) -> None:
    """In the job's fields, and bound, a name that a record needs for itself has a _ behind it."""
    logger, records = capturing()
    j = Job[None](fields={name: "mine"})
    j.register_logger(logger, level=1)
    j.log.info("hello")
    j.fields.clear()
    j.log.bind(**{name: "bound"}).info("hello")
    assert [(record["event"], record[f"{name}_"]) for record in records] == [("hello", "mine"), ("hello", "bound")]


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_name_in_a_line(name: str) -> None:
    """In one line, too; a handler of a mapping gets the same."""
    logger, records = capturing()
    heard = Heard()
    for registered in (logger, heard.handlers):
        j = Job[None]()
        j.register_logger(registered, level=1)
        j.log.info("hello", **{name: "mine"})
        j.log(1, "hello", **{name: "mine"})
    assert [record[f"{name}_"] for record in records] == ["mine"] * 2
    assert [fields[f"{name}_"] for _, fields in heard.of("hello")] == ["mine"] * 2


def test_reserved_name_beside_its_other_name() -> None:
    """Neither of `event` and `event_` is lost."""
    logger, records = capturing()
    j = Job[None](fields={"event": 1, "event_": 2})
    j.register_logger(logger)
    j.log(0, "hello")
    assert (records[0]["event"], records[0]["event__"], records[0]["event_"]) == ("hello", 1, 2)


@pytest.mark.parametrize(("key", "name"), [(7, "7"), (None, "None"), (Unshowable(), "<Unshowable>")])
def test_key_that_is_no_name(key: Any, name: str) -> None:
    """What is put into the fields under another key than a str goes by its repr."""
    logger, records = capturing()
    j = Job[None]()
    j.register_logger(logger)
    j.fields[key] = "mine"
    j.log(0, "hello")
    assert records[0][name] == "mine"


async def test_fields_named_like_those_of_the_end() -> None:
    """A job's fields are no part of what its end is: a field called error is no error."""
    logger, records = capturing()
    mine = dict.fromkeys(("state", "code", "seconds", "steps", "error"), "mine")
    j = Job[None](fields=mine)
    j.register_logger(logger, level=1)
    j.add_task(done)
    await j.run()
    assert (records[-1]["state"], "error" in records[-1]) == ("done", False)
    assert [records[-1][f"{name}_"] for name in mine] == ["mine"] * 5


async def test_fields_named_like_those_of_a_failure() -> None:
    """Nor of what a task's failure is."""
    logger, records = capturing()
    j = Job[None](fields={"phase": "moon", "client": "a"})
    j.register_logger(logger, level=1)
    j.add_task(failing(ValueError("mine")), policy=StopPolicy.CONTAIN)
    await j.run()
    assert (records[0]["event"], records[0]["phase"], records[0]["phase_"]) == ("task.failed", "run", "moon")


def test_line_says_more_than_the_job() -> None:
    """In a line of one's own a field takes the place of the job's of that name."""
    logger, records = capturing()
    j = Job[None](fields={"client": "a"})
    j.register_logger(logger)
    j.log(0, "hello", client="b")
    assert records[0]["client"] == "b"
