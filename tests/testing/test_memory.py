"""The network in memory behaves as trio streams and listeners do."""

import errno
from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, check_half_closeable_stream, wait_all_tasks_blocked

from job.testing import MemoryStream, MemoryTransport


async def connect(network: MemoryTransport) -> tuple[MemoryStream, MemoryStream]:
    """Return the two ends of a connection."""
    [listener] = await network.listen("server:0")
    near = await network.dial(listener.address)
    far = await listener.accept()
    await listener.aclose()
    return near, far


async def test_streams_conform(autojump_clock: MockClock) -> None:
    """They pass trio's own checks."""

    async def make() -> Any:
        return await connect(MemoryTransport())

    async def make_clogged() -> Any:
        near, far = await connect(MemoryTransport())
        for stream in (near, far):
            while stream._out.room:
                await stream.send_some(bytes(stream._out.room))
        return near, far

    await check_half_closeable_stream(make, make_clogged)


async def test_bounded(autojump_clock: MockClock) -> None:
    """A sender waits when the buffer is full."""
    near, far = await connect(MemoryTransport(buffer=3))
    assert await near.send_some(b"abcd") == 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send_all, b"d")
        await wait_all_tasks_blocked()
        assert await far.receive_some(2) == b"ab"
    assert await far.receive_some() == b"cd"


async def test_addresses(autojump_clock: MockClock) -> None:
    """Each end knows the other's address; port 0 finds a free one."""
    network = MemoryTransport()
    near, far = await connect(network)
    assert near.local == far.peer == "client:1"
    assert near.peer == far.local == "server:49152"
    assert repr(near) == "<MemoryStream client:1 -> server:49152>"
    assert repr(network) == "<MemoryTransport with listeners at []>"


async def test_any_interface(autojump_clock: MockClock) -> None:
    """A listener without a host is reached by every name."""
    network = MemoryTransport()
    [listener] = await network.listen(":80")
    await network.dial("anything:80")
    assert (await listener.accept()).local == ":80"


async def test_refused(autojump_clock: MockClock) -> None:
    """Where nobody listens a dial is refused."""
    with pytest.raises(ConnectionRefusedError, match="nothing listens at server:80"):
        await MemoryTransport().dial("server:80")


async def test_taken(autojump_clock: MockClock) -> None:
    """An address has one listener."""
    network = MemoryTransport()
    await network.listen("server:80")
    with pytest.raises(OSError, match="in use already") as caught:
        await network.listen("server:80")
    assert caught.value.errno == errno.EADDRINUSE


async def test_listener_closed(autojump_clock: MockClock) -> None:
    """A listener that closes turns away who is in its queue, and who waits to be."""
    network = MemoryTransport(backlog=1)
    [listener] = await network.listen("server:80")
    near = await network.dial("server:80")

    async def be_refused() -> None:
        with pytest.raises(ConnectionRefusedError):
            await network.dial("server:80")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_refused)
        await wait_all_tasks_blocked()
        with assert_checkpoints():
            await listener.aclose()
    assert await near.receive_some() == b""
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    await listener.aclose()


@pytest.mark.parametrize("name", ["buffer", "backlog"])
def test_arguments(name: str) -> None:
    """Nothing goes through a network without room."""
    with pytest.raises(TypeError, match=f"{name} must be an int, got '1'"):
        MemoryTransport(**{name: "1"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} must be 1 or more, got 0"):
        MemoryTransport(**{name: 0})


async def test_delivery_is_waited_for(autojump_clock: MockClock) -> None:
    """What was sent is delivered when the peer has received it."""
    near, far = await connect(MemoryTransport())
    await near.send_all(b"abc")
    with trio.move_on_after(1) as patience:
        await near.wait_delivered()
    assert patience.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.wait_delivered)
        await wait_all_tasks_blocked()
        assert await far.receive_some() == b"abc"


async def test_abort_of_what_was_closed() -> None:
    """It changes nothing: the peer has had its EOF."""
    near, far = await connect(MemoryTransport())
    await near.aclose()
    near.abort()
    assert await far.receive_some() == b""
