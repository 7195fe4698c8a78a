"""The command line: `job run`, in this process and in one of its own, with real signals."""

import json
import os
import pty
import runpy
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from job._program.cli import main

Write = Callable[[str], str]
Say = pytest.CaptureFixture[str]

PROGRAM = """
import job, trio

async def work(task):
    print("up", flush=True)
    await task.job.wait_stopping()
    print("stopping", flush=True)
    await trio.sleep_forever()

def server():
    j = job.Job(name="server", grace=GRACE)
    j.add_task(work)
    return j
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules to the current directory; nothing of them is left behind."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write_module(text: str) -> str:
        name = f"program{len(list(tmp_path.iterdir()))}_of_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text("import job, sys\n" + textwrap.dedent(text))
        return name

    yield write_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


# -- what is run


@pytest.mark.parametrize("target", ["made", "ready", "Programs.main"])
def test_what_is_run(target: str, write: Write, capsys: Say) -> None:
    """A function that returns a Job, a Job, or either of them inside of something; the verdict is a JSON line."""
    module = write(
        """
        def made():
            return job.Job(name="quick")
        ready = made()
        class Programs:
            main = made
        """
    )
    assert main(["run", f"{module}:{target}"]) == 0
    record = json.loads(capsys.readouterr().err)
    assert (record["event"], record["job"], record["code"]) == ("job.ended", "quick", "finished")


def test_exit_code_of_a_failure(write: Write, capsys: Say) -> None:
    """A job that fails gives 1, as with `job.run`."""
    module = write(
        """
        async def fail(task):
            raise ValueError("broken")
        j = job.Job()
        j.add_task(fail)
        """
    )
    assert main(["run", f"{module}:j"]) == 1
    assert json.loads(capsys.readouterr().err)["code"] == "error@fail:run"


def test_a_callable_that_tells_no_signature(write: Write) -> None:
    """Where nobody knows what a callable takes it is called."""
    module = write(
        """
        class Made:
            __signature__ = "unknown"
            def __call__(self):
                return job.Job()
        made = Made()
        """
    )
    assert main(["run", f"{module}:made"]) == 0


# -- what cannot be run


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("five", "{}:five must be a Job or a function that returns one, it is 5"),
        ("greedy", "{}:greedy must be callable without arguments, it takes (config, *, debug)"),
        ("sleepy", "{}:sleepy must be a plain function that returns a Job, it is async"),
        ("nothing", "{}:nothing must return a Job, it returned None"),
        ("absent", "module '{}' has no 'absent'"),
        ("five.absent", "module '{}' has no 'five.absent'"),
        ("broken", "{0}:broken failed: ValueError: two lines, at {0}.py:14 (--traceback shows more)"),
        ("silent", "{0}:silent failed: KeyError, at {0}.py:16 (--traceback shows more)"),
        ("far", "{}:far failed: JSONDecodeError: Expecting value: line 1 column 1 (char 0), at " + json.__path__[0]),
    ],
)
def test_what_cannot_be_run(target: str, complaint: str, write: Write, capsys: Say) -> None:
    """What is no factory, or is one that fails, is told in one line, with exit code 2."""
    module = write(
        """
        import json
        five = 5
        def greedy(config, *, debug):
            pass
        async def sleepy():
            pass
        def nothing():
            pass
        def far():
            json.loads("")
        def broken():
            raise ValueError("two\\nlines")
        def silent():
            raise KeyError
        """
    )
    assert main(["run", f"{module}:{target}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"job run: {complaint.format(module)}")


@pytest.mark.parametrize("more", [[], ["--traceback"]])
def test_refusal_without_a_stderr(more: list[str], monkeypatch: pytest.MonkeyPatch, write: Write, capsys: Say) -> None:
    """Where there is no stderr the exit code has to do: stdout is the program's."""
    module = write("raise ValueError")
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["run", f"{module}:main", *more]) == 2
    assert capsys.readouterr().out == ""


def test_no_such_module(write: Write, capsys: Say) -> None:
    """A module that is not there is told by its name."""
    assert main(["run", "nowhere_at_all.inner:main"]) == 2
    assert capsys.readouterr().err == "job run: there is no module 'nowhere_at_all', here or where Python looks\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all', at {}.py:2"),
        (
            "from sys import nothing",
            "ImportError: cannot import name 'nothing' from 'sys' (unknown location), at {}.py:2",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero, at {}.py:2"),
        ("def", "SyntaxError: invalid syntax ({}.py, line 2)"),
    ],
)
def test_a_module_that_fails(text: str, complaint: str, write: Write, capsys: Say) -> None:
    """An error inside of the module is told with its place: it is not the module that is missing."""
    module = write(text)
    assert main(["run", f"{module}:main"]) == 2
    told = complaint.format(module)
    assert capsys.readouterr().err == f"job run: importing {module!r} failed: {told} (--traceback shows more)\n"


def test_traceback(write: Write, capsys: Say) -> None:
    """With --traceback the same line comes after the whole traceback."""
    module = write("def main(): return int('x')")
    assert main(["run", f"{module}:main", "--traceback"]) == 2
    first, *_, line, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert line == "ValueError: invalid literal for int() with base 10: 'x'"
    assert last.startswith(f"job run: {module}:main failed: ValueError")


def test_no_traceback_where_there_is_none(write: Write, capsys: Say) -> None:
    """With --traceback a mistake that has no error behind it stays one line."""
    module = write("")
    assert main(["run", f"{module}:main", "--traceback"]) == 2
    assert capsys.readouterr().err == f"job run: module {module!r} has no 'main'\n"


def test_a_job_that_has_been_run(write: Write, capsys: Say) -> None:
    """A module that runs its job when it is imported is told of the usual slip."""
    module = write("j = job.Job()\njob.run(j)\njob.register_default_logger(None)")
    assert main(["run", f"{module}:j"]) == 2
    assert f"job run: {module}:j has been run already" in capsys.readouterr().err


def test_interrupted_import(write: Write, capsys: Say) -> None:
    """Ctrl-C while the module is being imported ends the command without a traceback."""
    module = write("raise KeyboardInterrupt")
    assert main(["run", f"{module}:main"]) == 130
    assert capsys.readouterr().err == ""


def test_exit_of_a_module(write: Write) -> None:
    """A module that leaves has its way."""
    with pytest.raises(SystemExit, match="7"):
        main(["run", f"{write('sys.exit(7)')}:main"])


# -- arguments


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "job: the following arguments are required: COMMAND (see job --help)"),
        (["run"], "job run: the following arguments are required: MODULE:FACTORY (see job run --help)"),
        (["run", "app"], "argument MODULE:FACTORY: must be module:factory, got 'app'"),
        (["run", "app.py:main"], "must name a module as an import does (app:main), not a file, got 'app.py:main'"),
        (["run", "./app:main"], "must name a module as an import does (app:main), not a file, got './app:main'"),
        (["run", "app:main", "--log-level", "3"], "argument --log-level: invalid choice: '3'"),
        (["run", "app:main", "--log-format", "xml"], "argument --log-format: invalid choice: 'xml'"),
        (["walk"], "argument COMMAND: invalid choice: 'walk'"),
    ],
)
def test_wrong_arguments(arguments: list[str], complaint: str, capsys: Say) -> None:
    """They are told in one line, with exit code 2."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help(arguments: list[str], capsys: Say) -> None:
    """It says what there is, on stdout."""
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert "usage: job" in capsys.readouterr().out


def test_version(capsys: Say) -> None:
    """It is that of the distribution."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("job 0.")


# -- the log


TALK = """
async def talk(task):
    task.log(0, "always")
    task.log.debug("details")
    task.done()

def main():
    j = job.Job()
    j.add_task(talk)
    return j
"""


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ([], ["always", "job.ended"]),
        (["--log-level", "0"], ["always"]),
        (["--log-level=2"], ["always", "details", "job.ended"]),
        (["--log-level", "warning"], ["always"]),
        (["--log-level", "debug"], ["always", "details", "job.ended"]),
    ],
)
def test_log_level(level: list[str], events: list[str], write: Write, capsys: Say) -> None:
    """It is a verbosity: 0 what is always said, 1 how jobs ended, 2 everything."""
    assert main(["run", f"{write(TALK)}:main", *level]) == 0
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == events


@pytest.mark.parametrize(("level", "shown"), [([], False), (["--log-level=2"], True)])
def test_refused_start(level: list[str], shown: bool, write: Write, capsys: Say) -> None:
    """What the system refuses at the start is one record, with a traceback only for those who debug."""
    module = write(
        """
        def init(task):
            raise OSError("port in use")
        j = job.Job()
        j.add_task(lambda j: (init, None, None))
        """
    )
    assert main(["run", f"{module}:j", *level]) == 1
    record = json.loads(capsys.readouterr().err)
    assert (record["error"], "exception" in record) == ("OSError('port in use')", shown)


def test_console(write: Write, capsys: Say) -> None:
    """The readable format has no colours where there is no terminal, and shows tracebacks without the locals."""
    module = write(
        """
        async def fail(task):
            secret = 1
            raise ValueError("broken")
        j = job.Job()
        j.add_task(fail)
        """
    )
    assert main(["run", f"{module}:j", "--log-format", "console"]) == 1
    said = capsys.readouterr().err
    assert "[warning  ] job.ended" in said
    assert said.splitlines()[-1] == "ValueError: broken"
    assert "\x1b" not in said
    assert "secret =" not in said.replace("secret = 1\n", "")


@pytest.mark.parametrize(
    ("arguments", "no_colour", "form"),
    [
        ([], "", "\x1b["),
        ([], "1", "20"),
        (["--log-format", "console"], "", "\x1b["),
        (["--log-format", "json"], "", "{"),
    ],
)
def test_on_a_terminal(
    arguments: list[str], no_colour: str, form: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the log is readable, in colours unless NO_COLOR is set, or JSON where that is asked for."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("NO_COLOR", no_colour)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        main(["run", f"{write('j = job.Job()')}:j", *arguments])
        terminal.flush()
        line = os.read(ours, 65536).decode()
    os.close(ours)
    assert line.startswith(form)


def test_own_logger(write: Write, capsys: Say) -> None:
    """A default logger that the program registers stays, unless an option asks for another."""
    module = write(
        "job.register_default_logger({0: lambda event, fields: print('own', event)}, level=1)\nmain = job.Job"
    )
    assert main(["run", f"{module}:main"]) == 0
    assert capsys.readouterr() == ("own job.ended\n", "")
    assert main(["run", f"{module}:main", "--log-format", "json"]) == 0
    assert capsys.readouterr().out == ""


# -- as a process


def test_module_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: Say) -> None:
    """`python -m job` is the same command."""
    monkeypatch.setattr(sys, "argv", ["job", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("job", run_name="__main__")
    assert capsys.readouterr().out.startswith("job 0.")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command in a folder with a program, and leave no process behind."""
    processes: list[subprocess.Popen[str]] = []

    def start_process(*command: object, grace: float = 0) -> "subprocess.Popen[str]":
        (tmp_path / "served.py").write_text(PROGRAM.replace("GRACE", str(grace)))
        process = subprocess.Popen(
            [*map(str, command)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.kill()
        process.communicate()


COMMANDS = {"script": [Path(sys.executable).with_name("job")], "module": [sys.executable, "-m", "job"]}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal(command: list[object], number: signal.Signals, start: Start) -> None:
    """One signal finishes the job: exit code 0; the program is found in the current directory."""
    process = start(*command, "run", "served:server")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    stopping, ended = map(json.loads, said.splitlines())
    assert (stopping["event"], stopping["signal"]) == ("program.stopping", number.name)
    assert ended["code"] == "signal-cut@work:run"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_second_signal(number: signal.Signals, code: int, start: Start) -> None:
    """A second signal cuts the job that is in its grace, and the exit code tells which it was."""
    process = start(*COMMANDS["script"], "run", "served:server", grace=1000)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code


def test_mistake_as_a_process(start: Start) -> None:
    """One line on stderr, nothing on stdout, exit code 2."""
    process = start(*COMMANDS["module"], "run", "served:sever")
    assert process.communicate(timeout=20) == ("", "job run: module 'served' has no 'sever'\n")
    assert process.returncode == 2
