"""`job run` with its inspector and `--admin`, `job ps` and `job top`: real processes, and a real terminal."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import ROOT

APP = """
import job, trio
from job import net

async def reads(task):
    await trio.sleep_forever()

def connection(stream):
    async def echo(task):
        await stream.send_all(await stream.receive_exactly(1))
        task.tick()
    j = job.Job(name=f"conn {stream.peer}")
    j.add_task(echo)
    return j

def main():
    j = job.Job(name="shown \\x1b[2J")
    j.add_task(net.serve(net.Endpoint("127.0.0.1:0"), connection))
    j.add_task(reads)
    return j
"""


class Shell:
    """Runs commands in an environment of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.runtime = tmp_path / "run"
        self.runtime.mkdir(mode=0o700)
        (tmp_path / "shown_app.py").write_text(APP)
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}

    def command(self, *arguments: str) -> list[str]:
        """Return a command line of `job`."""
        return [sys.executable, "-m", "job", *arguments]

    def job(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )

    def start(self, *options: str, first: str = "listening") -> subprocess.Popen[str]:
        """Start the program, and wait for its first record."""
        process = subprocess.Popen(
            self.command("run", "shown_app:main", *options),
            cwd=self.folder,
            env=self.env,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert first in process.stderr.readline()
        return process


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell with a runtime directory of its own."""
    return Shell(tmp_path)


@pytest.fixture
def program(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """Return a program that runs."""
    process = shell.start()
    yield process
    end(process)


def end(process: subprocess.Popen[str]) -> int:
    """Stop a program and return its exit code."""
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=20)
    return process.returncode


def test_inspector(shell: Shell) -> None:
    """`job run` opens a socket for its user alone, and removes it at the end; `--no-inspect` does not."""
    process = shell.start()
    socket = shell.runtime / "job" / f"{process.pid}.sock"
    assert socket.stat().st_mode & 0o777 == 0o600
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert (end(process), socket.exists()) == (0, False)
    process = shell.start("--no-inspect")
    assert list(socket.parent.iterdir()) == []
    assert end(process) == 0


def test_no_inspector_to_be_had(shell: Shell) -> None:
    """A directory that is not ours alone is no reason not to run: one debug line says so."""
    (shell.runtime / "job").mkdir(mode=0o755)
    process = shell.start("--log-level", "2", first="inspector.failed")
    assert end(process) == 0


def test_admin(shell: Shell) -> None:
    """`--admin` serves with metrics; an address that is taken begins nothing (1), one that is none neither (2)."""
    process = shell.start("--admin", f"unix:{shell.runtime}/admin.sock")
    found = shell.job("top", "--json", f"unix:{shell.runtime}/admin.sock")
    assert json.loads(found.stdout)["program"]["pid"] == process.pid
    taken = shell.job("run", "shown_app:main", "--admin", f"unix:{shell.runtime}/admin.sock")
    assert (taken.returncode, json.loads(taken.stderr)["event"]) == (1, "admin.failed")
    assert end(process) == 0
    none = shell.job("run", "shown_app:main", "--admin", "nonsense")
    assert (none.returncode, len(none.stderr.splitlines())) == (2, 1)


def test_ps(shell: Shell, program: subprocess.Popen[str]) -> None:
    """It lists what answers, and passes over what is dead or not ours."""
    (shell.runtime / "job" / "1.sock").touch()
    (shell.runtime / "job" / "x").touch()
    listed = shell.job("ps")
    assert f"{program.pid}  recurrent running" in listed.stdout
    assert r"shown \x1b[2J" in listed.stdout
    (found,) = json.loads(shell.job("ps", "--json").stdout)
    assert (found["pid"], found["job"]) == (program.pid, "shown \x1b[2J")


def test_top_without_a_terminal(shell: Shell, program: subprocess.Popen[str]) -> None:
    """It prints once: connections, and the tree with the place where each task waits; `--json` as data."""
    shown = shell.job("top")
    assert (shown.returncode, "\x1b" in shown.stdout) == (0, False)
    assert "task 2 'reads' running, 0 steps, in reads at" in shown.stdout
    data = json.loads(shell.job("top", str(program.pid), "--json").stdout)
    assert (data["total"], data["jobs"][0]["name"]) == (0, "shown \x1b[2J")


@pytest.mark.parametrize("target", [(), ("4242424",), ("127.0.0.1:1",), ("nonsense",)])
def test_nothing_to_look_into(shell: Shell, target: tuple[str, ...]) -> None:
    """No program, or one that does not answer, is one line and 2."""
    shown = shell.job("top", *target)
    assert (shown.returncode, shown.stdout, len(shown.stderr.splitlines())) == (2, "", 1)
    assert shown.stderr.startswith("job top: ")


def test_which_of_two(shell: Shell, program: subprocess.Popen[str]) -> None:
    """Of several programs one has to be named."""
    other = shell.start()
    try:
        shown = shell.job("top")
        assert shown.returncode == 2
        assert str(program.pid) in shown.stderr
    finally:
        end(other)


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, shell: Shell, *arguments: str, width: int = 100) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(shell.folder)
            # The size is the terminal's own, not that of the test runner, which it tells its workers by these.
            env = {name: value for name, value in shell.env.items() if name not in ("COLUMNS", "LINES")}
            os.execvpe(sys.executable, shell.command(*arguments), {**env, "TERM": "xterm"})
        self.resize(width)
        self.text = ""

    def resize(self, width: int) -> None:
        """Give the terminal a width."""
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))

    def until(self, text: str, seconds: float = 15) -> None:
        """Read until a text has come."""
        limit = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < limit, self.text[-2000:]
            if select.select([self.file], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.file, 65536).decode(errors="replace")
                except OSError:  # it has closed
                    assert text in self.text, self.text[-2000:]

    def press(self, keys: str) -> None:
        """Press keys, and forget what was shown so far."""
        self.text = ""
        os.write(self.file, keys.encode())

    def code(self) -> int:
        """Wait for the end, and return the exit code."""
        limit = time.monotonic() + 15
        while time.monotonic() < limit:
            if select.select([self.file], [], [], 0.05)[0]:
                try:
                    self.text += os.read(self.file, 65536).decode(errors="replace")
                except OSError:
                    break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_top_on_a_terminal(shell: Shell, program: subprocess.Popen[str]) -> None:
    """Keys sort, filter, show where tasks wait, and quit; a narrow terminal has fewer columns."""
    terminal = Terminal(shell, "top")
    terminal.until("sorted by age")
    terminal.until("in reads at")
    terminal.press("s")
    terminal.until("sorted by bytes")
    terminal.press("/abc\x7f")
    terminal.until("filter: ab_")
    terminal.press("\r")
    terminal.until("filter: ab")
    terminal.press("w")
    terminal.until("'reads' running, 0 steps")
    terminal.press("")
    terminal.resize(50)
    terminal.until("UP")
    terminal.press("q")
    assert terminal.code() == 0


def test_the_program_ends_meanwhile(shell: Shell, program: subprocess.Popen[str]) -> None:
    """It says so, and leaves the terminal as it was."""
    terminal = Terminal(shell, "top")
    terminal.until("sorted by age")
    program.send_signal(signal.SIGTERM)
    terminal.until("the program has ended")
    assert terminal.code() == 0


def test_ctrl_c(shell: Shell, program: subprocess.Popen[str]) -> None:
    """Ctrl-C quits, too."""
    terminal = Terminal(shell, "top")
    terminal.until("sorted by age")
    terminal.press("\x03")
    assert terminal.code() == 0
