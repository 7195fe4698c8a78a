"""Unix sockets: the file comes with the listener and goes with it; a stale one is replaced, any other is left alone."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import job
from job import net
from job.net._endpoints.dial import connect
from job.net._endpoints.unix import _is_stale, _lock
from tests.net.pairs import connected

ROOT = Path(__file__).parents[2]


class File:
    """A file, looked at and changed for a test: ruff wants no blocking calls in async functions, and these are quick."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def there(self) -> bool:
        """Whether there is such a file."""
        return self.path.exists()

    @property
    def text(self) -> str:
        """What is in it."""
        return self.path.read_text()

    def replace(self) -> None:
        """Put another in its place."""
        self.remove()
        self.path.write_text("another's")

    def remove(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)


@pytest.fixture
def path(tmp_path: Path) -> File:
    """Give a path that is not too long for a socket."""
    return File(tmp_path / "s")


async def test_roundtrip(path: File) -> None:
    """A dial reaches the listener; both ends know the path."""
    async with connected(address=f"unix:{path}") as (near, far):
        assert far.endpoint.addresses == (f"unix:{path}",)
        assert near.peer == far.local == f"unix:{path}"
        assert near.local == far.peer == "unix:"
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        assert path.there
    assert not path.there


async def test_stale_file(path: File) -> None:
    """A file that nobody listens on any more is replaced."""
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    async with connected(address=f"unix:{path}"):
        pass


async def test_gone_meanwhile(path: File) -> None:
    """A file whose owner removes it just now is in nobody's way."""
    assert _is_stale(str(path))


SERVER = """
import socket, sys, time, job
from job import net
listen = socket.socket.listen
def late(sock, *backlog):
    print("bound", flush=True)
    time.sleep(0.5)
    listen(sock, *backlog)
    print("listens", flush=True)
socket.socket.listen = late
server = job.Job(name="server")
server.add_task(net.serve(net.Endpoint(sys.argv[1]), lambda stream: job.Job()))
sys.exit(job.run(server))
"""


def start(path: File) -> "subprocess.Popen[str]":
    """Start a server that takes its time between bind and listen."""
    command = [sys.executable, "-c", SERVER, f"unix:{path}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("stale", [True, False])
def test_two_at_once(stale: bool, path: File) -> None:
    """Of two that start at once exactly one listens, and the other is told that the address is in use."""
    if stale:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
    with start(path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "bound\n"
        with start(path) as second:
            try:
                assert first.stdout.readline() == "listens\n"
                assert second.wait(10) == 1
                assert second.stderr is not None
                assert "Address already in use" in second.stderr.read()
                assert first.poll() is None
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
            finally:
                second.kill()
                first.terminate()
    assert not path.there


@contextmanager
def locked(path: File) -> Iterator[None]:
    """Be another that starts in the same folder."""
    folder = os.open(path.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


async def test_another_that_starts(path: File, autojump_clock: MockClock) -> None:
    """While another starts in the same folder a server waits for it."""
    endpoint = net.Endpoint(f"unix:{path}")
    with locked(path):
        with trio.move_on_after(1):
            async with endpoint._binding.listening():
                raise AssertionError("it did not wait")
        assert not path.there
    async with endpoint._binding.listening():
        assert path.there


async def test_lock_for_ever(path: File, autojump_clock: MockClock) -> None:
    """What keeps the folder locked for another reason holds it up for five seconds, and no longer."""
    with locked(path):
        async with net.Endpoint(f"unix:{path}")._binding.listening():
            assert path.there
            assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_folder_that_cannot_be_locked(path: File, autojump_clock: MockClock) -> None:
    """A file system without such locks stops nobody."""
    folder = os.open(path.path.parent, os.O_PATH)
    try:
        await _lock(folder)
    finally:
        os.close(folder)
    assert trio.current_time() == 0


async def bind_error(path: File) -> OSError:
    """Return why the path cannot be had."""
    j = job.Job[net.Stream]()
    j.add_oneshot_task(net.Endpoint(f"unix:{path}").accept_task)
    with pytest.raises(OSError, match=str(path)) as caught:
        await j.run()
    return caught.value


async def test_taken(path: File) -> None:
    """A path on which somebody listens is not taken over, also where the backlog is full."""
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen(0)
        assert (await bind_error(path)).errno == errno.EADDRINUSE
        other.accept()[0].close()
        client.connect(str(path))
        assert (await bind_error(path)).errno == errno.EADDRINUSE
    assert path.there


async def test_other_file(path: File) -> None:
    """A file that is no socket is left alone."""
    path.replace()
    assert (await bind_error(path)).errno == errno.EADDRINUSE
    assert path.text == "another's"


async def test_no_directory(path: File) -> None:
    """A path in no directory is an error that names it."""
    assert (await bind_error(File(path.path / "deeper"))).errno == errno.ENOENT


async def test_replaced_file(path: File) -> None:
    """A file that has become somebody else's is left alone at the end."""
    async with connected(address=f"unix:{path}"):
        path.replace()
    assert path.text == "another's"


async def test_removed_file(path: File) -> None:
    """A file that is gone at the end is no error."""
    async with connected(address=f"unix:{path}"):
        path.remove()


async def test_refused(path: File) -> None:
    """A dial where nobody listens is an error that names the path."""
    with pytest.raises(FileNotFoundError, match=str(path)):
        await net.Endpoint(f"unix:{path}").dial()


async def test_full_backlog(path: File) -> None:
    """A dial waits while the backlog is full, within its timeout."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        wires = []
        with trio.move_on_after(0.1):
            while True:
                wires.append(await connect(net.Endpoint(f"unix:{path}")._target))  # type: ignore[arg-type]
        endpoint = net.Endpoint(f"unix:{path}", connect_timeout=0.05)
        with pytest.raises(net.ConnectTimeoutError):
            await endpoint.dial()
        server.accept()[0].close()
        await (await endpoint.dial()).aclose()
        for wire in wires:
            wire.abandon()


async def test_name_without_a_file(tmp_path: Path) -> None:
    """A name that begins with NUL is in no folder: nothing to make, to replace or to remove. No other may have one."""
    address = f"unix:\0{tmp_path}"
    async with connected(address=address) as (near, far):
        await near.send_all(b"x")
        assert await far.receive_some() == b"x"
        assert far.endpoint.addresses == (address,)
    with pytest.raises(ValueError, match="NUL"):
        net.Endpoint("unix:s\0s")
