"""`job.run` with an inspector and a window, and the commands, in this process."""

import os
import socket
import sys
from pathlib import Path

import pytest

import job
from job import Job, JobState
from job._program.cli import main
from tests.journal import done


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the user a runtime directory of its own."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_run_shows_itself(runtime: Path) -> None:
    """The windows open before the job begins, and are closed when it has ended."""
    found: list[list[str]] = []
    j = Job[None]()
    j.add_task(lambda _: (lambda _: found.append(os.listdir(runtime / "job")), done, None))  # noqa: PTH208
    assert job.run(j, inspect=True, admin="127.0.0.1:0") == 0
    assert (found, list((runtime / "job").iterdir())) == ([[f"{os.getpid()}.sock"]], [])


def test_run_at_a_taken_address() -> None:
    """Nothing is begun."""
    j = Job[None]()
    j.add_task(done)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert job.run(j, admin=f"127.0.0.1:{taken.getsockname()[1]}") == 1
    assert j.state is JobState.NEW


def test_run_at_no_address() -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="address"):
        job.run(Job[None](), admin="nonsense")


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`job ps` and `job top` are there."""
    assert (main(["ps"]), main(["top", "1"])) == (0, 2)
    assert capsys.readouterr().err == "job top: there is no program 1 to look into\n"


def test_commands_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing extra is one line; a program that is not asked to show itself does not miss it."""
    monkeypatch.setitem(sys.modules, "job.admin._commands", None)
    monkeypatch.setitem(sys.modules, "job.admin._windows", None)
    assert (main(["ps"]), main(["top"])) == (2, 2)
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["run", "job:Job"]) == 0
    assert main(["run", "job:Job", "--admin", "127.0.0.1:0"]) == 2
