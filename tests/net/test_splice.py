"""Pipes to splice through: what is in them, who has them, and what is left of them."""

import resource
import socket
from collections.abc import Iterator

import pytest

from job.net._relays.splice import SIZE, Pipe, Pipes
from tests.net.servers import descriptors


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """Give pipes that nobody has, and close them."""
    pipes = Pipes()
    yield pipes
    pipes.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give two sockets that talk to each other and do not block."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


def borrowed(pipes: Pipes) -> Pipe:
    """Borrow one that there must be."""
    pipe = pipes.borrow()
    assert pipe is not None
    return pipe


def test_through(pipes: Pipes, pair: tuple[socket.socket, socket.socket]) -> None:
    """Bytes go in at one end and out at the other; what the sink does not take stays."""
    near, far = pair
    pipe = borrowed(pipes)
    far.send(b"hello")
    assert pipe.fill(near.fileno()) == pipe.held == 5
    assert pipe.empty(near.fileno()) == 5
    assert (far.recv(10), pipe.held) == (b"hello", 0)
    pipes.give_back(pipe)


def test_nothing_there(pipes: Pipes, pair: tuple[socket.socket, socket.socket]) -> None:
    """A source that has nothing says so, and one that has ended too."""
    near, far = pair
    pipe = borrowed(pipes)
    with pytest.raises(BlockingIOError):
        pipe.fill(near.fileno())
    far.close()
    assert pipe.fill(near.fileno()) == 0
    pipes.give_back(pipe)


def test_used_again(pipes: Pipes) -> None:
    """An empty pipe that was given back is the next one lent."""
    pipe = borrowed(pipes)
    pipes.give_back(pipe)
    assert pipes.borrow() is pipe
    pipes.give_back(pipe)


def test_not_empty(pipes: Pipes, pair: tuple[socket.socket, socket.socket]) -> None:
    """One that is not empty is closed: its bytes must not reach anybody else."""
    near, far = pair
    before = descriptors()
    pipe = borrowed(pipes)
    far.send(b"secret")
    pipe.fill(near.fileno())
    pipes.give_back(pipe)
    assert descriptors() == before


@pytest.mark.parametrize(("files", "most"), [(1024, 64), (128, 8)])
def test_limit(files: int, most: int) -> None:
    """There is an end to what is lent at once; most descriptors are for connections. At last nothing is left."""
    before = descriptors()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, limits[1]))
    pipes = Pipes()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    lent = []
    while (pipe := pipes.borrow()) is not None:
        lent.append(pipe)
    assert len(lent) == most
    for each in lent:
        pipes.give_back(each)
    pipes.close()
    assert descriptors() == before


def test_no_descriptors(pipes: Pipes) -> None:
    """Where there are no descriptors left there is no pipe, and no error."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        assert pipes.borrow() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_size(pipes: Pipes, pair: tuple[socket.socket, socket.socket]) -> None:
    """A pipe takes no more than it should, and no less where the kernel gives it that much."""
    near, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SIZE)
    pipe = borrowed(pipes)
    far.send(bytes(SIZE + 1))
    assert 0 < pipe.fill(near.fileno()) <= SIZE
    pipes.give_back(pipe)
