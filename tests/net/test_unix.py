"""Unix sockets: the file comes with the listener and goes with it; a stale one is replaced, any other is left alone."""

import errno
import socket
from pathlib import Path

import pytest
import trio

import job
from job import net
from job.net._dial import connect
from tests.net.pairs import connected


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
