"""A cut looks like a cut: `abort` closes so that the peer does not take what it has for the whole."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from job import net
from job.net._streams import delivery
from job.net._streams.abort import abort, wait_stream_delivered
from job.testing import MemoryTransport
from tests.net.certificates import client_context, server_context
from tests.net.pairs import connected

TLS = {
    "server": {"ssl_context": server_context()},
    "client": {"ssl_context": client_context(), "server_hostname": "localhost"},
}
NETWORKS: dict[str, Callable[[], dict[str, Any]]] = {
    "tcp": dict,
    "tls": lambda: TLS,
    "memory": lambda: {"transport": MemoryTransport()},
    "tls in memory": lambda: {"transport": MemoryTransport(), **TLS},
}
every_network = pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)


@asynccontextmanager
async def sockets() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Give the two ends of a TCP connection, as streams of trio's."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
    async with listener, near, await listener.accept() as far:
        yield near, far


@every_network
async def test_the_peer_sees_a_cut(options: Callable[[], dict[str, Any]]) -> None:
    """Receiving and sending, the peer is told that the connection is broken, and never that it has ended."""
    async with connected(**options()) as (near, far):
        await near.send_all(b"half")
        assert await far.receive_some() == b"half"
        near.abort()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                assert await far.receive_some(), "an end"
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await far.send_all(b"x")
        assert near.closed


@every_network
async def test_trio_closes_forcefully(options: Callable[[], dict[str, Any]]) -> None:
    """`trio.aclose_forcefully`, and a block that is left by a cancellation, abort."""
    async with connected(**options()) as (near, far):
        await trio.aclose_forcefully(near)
        with pytest.raises(trio.BrokenResourceError):
            assert await far.receive_some(), "an end"
    async with connected(**options()) as (near, far):
        with trio.move_on_after(0.01):
            async with near:
                await trio.sleep_forever()
        with pytest.raises(trio.BrokenResourceError):
            assert await far.receive_some(), "an end"


async def test_over_a_unix_socket(tmp_path: Any) -> None:
    """A unix socket has no reset: what was sent arrives, and then the end."""
    async with connected(address=f"unix:{tmp_path}/s") as (near, far):
        await near.send_all(b"half")
        near.abort()
        assert await far.receive_some() == b"half"
        assert await far.receive_some() == b""


@every_network
async def test_it_is_the_end_for_those_who_use_the_stream(options: Callable[[], dict[str, Any]]) -> None:
    """A task that waits to receive gets ClosedResourceError, and so does each later use; a second abort does nothing."""
    async with connected(**options()) as (near, _):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await near.receive_some()

            await wait_all_tasks_blocked(0.01)
            near.abort()
        near.abort()
        await near.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"x")
        assert near.endpoint.statistics().outbound == 0


async def test_it_ends_a_close_that_lingers() -> None:
    """A close waits for a peer that does not end; an abort meanwhile ends the wait."""
    async with connected(close_timeout=60) as (near, far), trio.open_nursery() as nursery:
        await near.send_all(b"x")
        nursery.start_soon(near.aclose)
        await wait_all_tasks_blocked(0.01)
        near.abort()
        far.abort()
    assert near.endpoint.statistics().outbound == 0


async def test_a_released_stream_is_not_its_own_any_more() -> None:
    """The connection of a stream that was released is the next dial's, and an abort leaves it alone."""
    async with connected(codec=net.frames.Codec(), client={"max_idle": 1}) as (near, far):
        await near.release()
        near.abort()
        async with await near.endpoint.dial() as again:
            assert await again.send(b"hello")
            async with far.received() as payload:
                assert payload == b"hello"


# --- streams of another make


async def test_a_socket_of_trios_is_reset() -> None:
    """A trio.SocketStream, under TLS too, is cut by a reset."""
    async with sockets() as (near, far):
        await abort(near)
        with pytest.raises(trio.BrokenResourceError):
            assert await far.receive_some(), "an end"
    async with sockets() as (near, far):
        await abort(trio.SSLStream(near, client_context(), server_hostname="localhost"))
        with pytest.raises(trio.BrokenResourceError):
            assert await far.receive_some(), "an end"
        await wait_stream_delivered(far)


class Rude(trio.abc.Stream):
    """A stream that fails to close."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive nothing."""
        return b""

    async def send_all(self, data: object) -> None:
        """Send nothing."""

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing."""

    async def aclose(self) -> None:
        """Fail."""
        raise RuntimeError("it does not close")


async def test_any_other_is_closed_forcefully(autojump_clock: MockClock) -> None:
    """A stream without a way to cut is closed as trio does it by force; one that fails at that has no say."""
    near, far = memory_stream_pair()
    await abort(near)
    assert await far.receive_some() == b""
    await abort(Rude())
    await wait_stream_delivered(far)


class Foreign:
    """A network of streams of another make."""

    def __init__(self) -> None:
        self.far: trio.abc.Stream | None = None

    async def dial(self, address: str) -> trio.abc.Stream:
        """Connect."""
        near, self.far = memory_stream_pair()
        return near

    async def listen(self, address: str) -> Any:
        """Refuse."""
        raise NotImplementedError


async def test_a_stream_over_one_is_closed_soon(autojump_clock: MockClock) -> None:
    """A `Stream` over a stream of another make is aborted from a plain function all the same."""
    network = Foreign()
    near = await net.Endpoint("server:1", transport=network).dial()
    assert network.far is not None
    near.abort()
    assert await network.far.receive_some() == b""


# --- delivered


async def test_delivered_is_what_the_peers_system_has() -> None:
    """To wait until all is delivered takes until the peer has read what found no room; then a cut takes nothing back."""
    async with connected() as (near, far):
        with trio.move_on_after(0.1):
            while True:
                await near.send_all(bytes(65536))
        with trio.move_on_after(0.1) as patience:
            await near._link.wire.wait_delivered()
        assert patience.cancelled_caught
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                await near._link.wire.wait_delivered()
                near.abort()

            with pytest.raises(trio.BrokenResourceError):
                while await far.receive_some():
                    pass
        assert far.bytes_received == near.bytes_sent


async def test_to_one_who_is_gone_nothing_is_delivered() -> None:
    """A peer that has reset, and a socket that was closed, are not waited for."""
    async with connected() as (near, far):
        with trio.move_on_after(0.1):
            while True:
                await near.send_all(bytes(65536))
        far.abort()
        with trio.fail_after(1):
            await near._link.wire.wait_delivered()
        near.abort()
        await near._link.wire.wait_delivered()


async def test_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a way to ask, all passes for delivered."""
    monkeypatch.setattr(delivery, "_ASK", False)
    with socket.socket() as sock:
        await delivery.wait_delivered(sock)


@every_network
async def test_all_networks_deliver(options: Callable[[], dict[str, Any]]) -> None:
    """What was sent is soon there."""
    async with connected(**options()) as (near, far):
        await near.send_all(b"x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near._link.wire.wait_delivered)
            assert await far.receive_some() == b"x"


# --- what the kernel says once


async def test_after_a_reset_there_is_no_end() -> None:
    """The kernel tells a reset once, to a sender too, and says EOF from then on: that is none."""
    async with connected() as (near, far):
        await near.send_all(b"half")
        await trio.sleep(0.01)
        near.abort()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await far.send_all(b"x")
        assert await far.receive_some() == b"half"
        with pytest.raises(trio.BrokenResourceError):
            assert await far.receive_some(), "an end"


async def test_an_end_that_a_reset_followed_is_an_end() -> None:
    """A peer that has said all and closed resets what is still sent to it; its end came before that, and is one."""
    async with connected() as (near, far):
        await near.send_all(b"all of it")
        await near.aclose()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await far.send_all(b"x")
        assert await far.receive_some() == b"all of it"
        assert await far.receive_some() == b""
