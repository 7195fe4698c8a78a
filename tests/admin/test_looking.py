"""The commands that look into a program, in this process: what they ask, and what they show."""

import importlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import job.admin
from job import Job
from job.admin._ask import Asked, AskError, _is_programs, program, programs
from job.admin._commands import duration, ps, top
from job.admin._sockets import inspector_directory
from job.admin._top import Top, _size
from job.admin._windows import Windows
from job.net import Endpoint, serve
from tests.admin.test_serve import connect, echo
from tests.journal import forever


@asynccontextmanager
async def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, admin: str | None = None) -> AsyncIterator[Job[None]]:
    """Run a program that can be looked into, with one connection."""
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 - quick
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    j = Job[None](name="shown \x1b", keep_open=True)
    j.add_task(forever)
    inbound = Endpoint("127.0.0.1:0")
    j.add_task(serve(inbound, echo))
    windows = Windows(inspect=True, admin=admin)
    with trio.fail_after(20), windows.observing():
        async with windows.open(j), j, await connect(inbound.addresses[0]) as stream:
            await stream.send_all(b"x" * 1500)
            yield j


async def called(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call what blocks, beside the loop."""
    return await trio.to_thread.run_sync(lambda: function(*args, **options))


async def test_ps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists the programs that answer, for people and as data."""
    async with shown(monkeypatch, tmp_path):
        (tmp_path / "job" / "1.sock").touch()
        (tmp_path / "job" / "other").touch()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / "job" / "2.sock"))
        assert await called(ps, as_json=False) == 0
        assert await called(ps, as_json=True) == 0
    out = capsys.readouterr().out
    assert r"recurrent running" in out
    assert json.loads(out.splitlines()[-1])[0]["pid"] == os.getpid()


async def test_top(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The only program is shown, once or as data; by its PID, too."""
    async with shown(monkeypatch, tmp_path):
        assert await called(top, None, once=True, as_json=False) == 0
        assert await called(top, str(os.getpid()), once=True, as_json=True) == 0
    out = capsys.readouterr().out
    assert "in forever at" in out
    assert json.loads(out.splitlines()[-1])["connections"][0]["bytes_up"] == 1500


@pytest.mark.parametrize("target", [None, "1", "127.0.0.1:1", "nonsense", "unix:/nowhere"])
def test_no_program(
    target: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told in one line."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert top(target, once=True, as_json=False) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_two_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them has to be named."""
    monkeypatch.setattr("job.admin._ask.programs", lambda: [(1, Asked("unix:a"), {}), (2, Asked("unix:b"), {})])
    with pytest.raises(AskError, match="which of 1, 2"):
        program(None)


async def test_odd_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What does not answer well is an error in one line."""
    async with shown(monkeypatch, tmp_path):
        asked = programs_here()
        with pytest.raises(AskError, match="answers 404"):
            await called(asked.get, "/nothing")
        with pytest.raises(AskError, match="with JSON"):
            await called(asked.json, "/livez")


def programs_here() -> Asked:
    """Return this program."""
    return Asked(f"unix:{inspector_directory() / str(os.getpid())}.sock")


async def test_over_tcp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address of TCP is as good; the metrics of the process are there."""
    async with shown(monkeypatch, tmp_path, admin="127.0.0.1:28471"):
        asked = Asked("127.0.0.1:28471")
        assert (await called(asked.json, "/overview.json"))["job"] == "shown \x1b"
        assert b"job_jobs_running" in await called(asked.get, "/metrics")


async def test_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each key does what it is for."""
    main, other = os.openpty()
    async with shown(monkeypatch, tmp_path):
        with open(other, encoding="utf-8") as stdin:  # noqa: ASYNC230, PTH123 - a descriptor
            monkeypatch.setattr(sys, "stdin", stdin)
            live = Top(programs_here())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(called, live.run)
                await trio.sleep(1.5)  # what was typed before it reads single keys is dropped
                os.write(main, b"swx/ab\x7f\x00\r/\x1bq")
    os.close(main)
    assert (live._sorts[0], live._where, live._filter) == ("bytes", False, "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), AskError("gone")])
async def test_the_end(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, and the end of the program, end it."""

    def fail(_: object) -> None:
        raise error

    async with shown(monkeypatch, tmp_path):
        live = Top(programs_here())
        await called(live._look)
    monkeypatch.setattr(Top, "_look", fail)
    live.run()
    assert ("has ended" in capsys.readouterr().out) is isinstance(error, AskError)
    if isinstance(error, AskError):
        with pytest.raises(AskError):
            Top(Asked("unix:/nowhere")).run()


def test_numbers() -> None:
    """Times and sizes are as people read them."""
    assert [duration(each) for each in (None, 1.25, 61, 3700)] == ["-", "1.2s", "1m01s", "1h01m"]
    assert [_size(each) for each in (1, 1500, 2e6, 3e9, 4e12, 5e15)] == [
        "1 B",
        "1.5 kB",
        "2.0 MB",
        "3.0 GB",
        "4.0 TB",
        "5000.0 TB",
    ]


async def test_no_inspector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where its directory is not ours alone there is none, and nothing is found there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "job").mkdir(mode=0o755)
    records: list[str] = []
    j = Job[None]()
    j.register_logger({2: lambda event, _: records.append(event)}, level=2)
    async with Windows(inspect=True, admin=None).open(j):
        assert await called(programs) == []
    assert records == ["inspector.failed"]
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert inspector_directory() == Path(f"/tmp/job-{os.getuid()}")


async def test_nothing_to_show() -> None:
    """A program that shows nothing opens nothing."""
    async with Windows(inspect=False, admin=None).open(Job[None]()):
        pass


def test_metrics_of_the_programs_own() -> None:
    """Where the names are taken in prometheus-client's registry, that is served as it is."""
    first, second = Windows(inspect=False, admin="127.0.0.1:0"), Windows(inspect=False, admin="127.0.0.1:0")
    with first.observing(), second.observing():
        assert second.address == "127.0.0.1:0"
    assert Windows(inspect=True, admin=None).address is None


def test_a_socket_that_has_just_gone(tmp_path: Path) -> None:
    """A program may end at any moment."""
    assert not _is_programs(tmp_path / "3.sock")


def test_without_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is one line that names it."""
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(ImportError, match=r"job.admin needs h11: pip install 'trio-job\[admin\]'"):
        importlib.reload(job.admin)


def test_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """So it is for `job top`."""
    monkeypatch.setitem(sys.modules, "job.admin._top", None)
    assert top("unix:/nowhere", once=True, as_json=False) == 2
    assert capsys.readouterr().err == "job top: job top needs rich: pip install 'trio-job[top]'\n"


def test_live_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a terminal it goes on until a key says so."""
    ran: list[bool] = []
    monkeypatch.setattr(Top, "run", lambda _: ran.append(True))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert top("unix:/nowhere", once=False, as_json=False) == 0
    assert ran == [True]
