"""TLS on both sides: the handshake is part of the dial and of the connection, EOF is close_notify, a cut is a fault."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import job
from job import net
from job.net import frames
from job.net._streams.stream import connection_of
from job.net._streams.tls_wire import TlsWire
from job.testing import MemoryTransport
from tests.net.certificates import client_context, server_context
from tests.net.pairs import connected


@asynccontextmanager
async def over_tls(transport: Any = None, **options: Any) -> AsyncIterator[tuple[net.Stream, net.Stream]]:
    """Give the two ends of a connection."""
    server = {"ssl_context": server_context()}
    client = {"ssl_context": client_context(), "server_hostname": "localhost"}
    async with connected(transport, server=server, client=client, **options) as streams:
        yield streams


@pytest.fixture(params=["socket", "memory"])
def transport(request: pytest.FixtureRequest) -> MemoryTransport | None:
    """Give both kinds of network."""
    return MemoryTransport() if request.param == "memory" else None


async def test_roundtrip(transport: MemoryTransport | None) -> None:
    """Bytes go both ways, and are counted as they are inside."""
    async with over_tls(transport) as (near, far):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, bytes(10_000_000))
            await wait_all_tasks_blocked()
            assert await far.receive_exactly(10_000_000) == bytes(10_000_000)
        await far.send(b"y")
        async with near.received() as data:
            assert data == b"y"
        assert near.bytes_sent == far.bytes_received == 10_000_000
        assert connection_of(near).half_closes
        assert connection_of(near).plain is None
        assert near.key.split(" -> ") == far.key.split(" -> ")[::-1]


async def test_eof(transport: MemoryTransport | None) -> None:
    """EOF arrives at once, and what the peer still sends is received."""
    async with over_tls(transport) as (near, far):
        await near.send_all(b"question")
        await near.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"more")
        assert await far.receive_some() == b"question"
        assert await far.receive_some() == b""
        await far.send_all(b"answer")
        await far.send_eof()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.aclose)
            assert await near.receive_some() == b"answer"
            assert await near.receive_some() == b""
            assert await near.receive_some() == b""
            with pytest.raises(trio.EndOfChannel), near.received_nowait():
                pass
            await near.aclose()


async def test_eof_after_eof(transport: MemoryTransport | None) -> None:
    """Where the other direction has ended it takes effect at once."""
    async with over_tls(transport) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(near.aclose)
        assert await far.receive_some() == b""
        await far.send_eof()
        await far.send_eof()
        await far.aclose()


async def test_close_arrives(transport: MemoryTransport | None) -> None:
    """Closing says close_notify: the peer sees EOF, and no truncation."""
    async with over_tls(transport) as (near, far), trio.open_nursery() as nursery:
        await near.send_all(b"last words")
        nursery.start_soon(near.aclose)
        assert await far.receive_some() == b"last words"
        assert await far.receive_some() == b""
        await far.aclose()


async def test_truncation() -> None:
    """A connection that ends without close_notify is a fault, not EOF."""
    async with over_tls() as (near, far):
        assert isinstance(near._link.wire, TlsWire)
        await near._link.wire._below.send_eof()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError) as caught:
                await far.receive_some()
            assert isinstance(caught.value.__cause__, ssl.SSLEOFError)


async def test_eof_into_nothing(autojump_clock: MockClock) -> None:
    """An EOF that comes due when nobody is listening any more is no error."""
    async with over_tls(MemoryTransport()) as (near, far), trio.open_nursery() as nursery:
        await near.send_eof()
        nursery.start_soon(far.aclose)
        await wait_all_tasks_blocked()
        assert await near.receive_some() == b""


async def test_foreign_stream_without_half_close(autojump_clock: MockClock) -> None:
    """A program's own stream that cannot half-close is closed when both directions have ended."""
    far, below = trio.testing.memory_stream_pair()

    class Whole(trio.abc.Stream):
        receive_some = staticmethod(below.receive_some)
        send_all = staticmethod(below.send_all)
        wait_send_all_might_not_block = staticmethod(below.wait_send_all_might_not_block)
        aclose = staticmethod(below.aclose)

    class Transport:
        async def dial(self, address: str) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return Whole()

        async def listen(self, address: str) -> Any:
            raise AssertionError(address)

    near = await net.Endpoint("any:1", transport=Transport()).dial()
    await near.wait_send_all_might_not_block()
    await near.send_eof()
    await far.send_all(b"x")
    await far.send_eof()
    assert await near.receive_some() == b"x"
    assert await near.receive_some() == b""
    assert await far.receive_some() == b""
    near._link.wire.abandon()
    await near.aclose()


async def test_untrusted() -> None:
    """A certificate that the dialer does not trust is the ssl module's own error."""
    endpoint = net.Endpoint("localhost:0", ssl_context=server_context())
    server = job.Job[None]()
    server.add_task(net.serve(endpoint, job.Job))
    async with server:
        address = endpoint.addresses[0].replace("127.0.0.1", "localhost")
        upstream = net.Endpoint(address, ssl_context=client_context(trusting=False))
        with pytest.raises(ssl.SSLCertVerificationError):
            await upstream.dial()
        assert upstream.statistics().dial_failures == 1
        assert upstream.statistics().outbound == 0


async def test_peer_hangs_up(autojump_clock: MockClock) -> None:
    """A peer that breaks off the handshake is an OSError of the dial."""
    network = MemoryTransport()
    [listener] = await network.listen("server:80")
    upstream = net.Endpoint("server:80", transport=network, ssl_context=client_context())

    async def fail() -> None:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await upstream.dial()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        peer = await listener.accept()
        await wait_all_tasks_blocked()
        await peer.aclose()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await (await listener.accept()).aclose()
    assert upstream.statistics().dial_failures == 2


async def test_dial_timeout(autojump_clock: MockClock) -> None:
    """The handshake counts in the time of the dial; when that is over the peer sees the end."""
    network = MemoryTransport()
    [listener] = await network.listen("server:80")
    with pytest.raises(net.ConnectTimeoutError):
        await net.Endpoint("server:80", transport=network, ssl_context=client_context(), connect_timeout=4).dial()
    assert trio.current_time() == 4
    peer = await listener.accept()
    while await peer.receive_some():
        pass


def build(stream: net.Stream) -> job.Job[net.Stream]:
    """Return a job that stays until its peer has ended."""
    j = job.Job(stream)
    j.add_task(net.read_task)
    return j


@pytest.mark.parametrize("limit", [1, None])
async def test_handshake_timeout(limit: int | None, autojump_clock: MockClock) -> None:
    """A client that does not shake hands is closed after `connect_timeout`, without a job, and gives its place back."""
    network = MemoryTransport()
    endpoint = net.Endpoint(
        "server:80", transport=network, ssl_context=server_context(), connect_timeout=4, limit=limit
    )
    server = job.Job[None]()
    server.add_task(net.serve(endpoint, build))
    async with server:
        silent = await network.dial("server:80")
        assert await silent.receive_some() == b""
        assert trio.current_time() == 4
        assert endpoint.statistics().inbound == 0
        client = net.Endpoint("server:80", transport=network, ssl_context=client_context(), server_hostname="localhost")
        async with await client.dial():
            await wait_all_tasks_blocked()
            assert endpoint.statistics().inbound == 1


async def test_handshake_ends_with_the_grace(autojump_clock: MockClock) -> None:
    """A handshake does not outlive the grace of the server."""
    network = MemoryTransport()
    endpoint = net.Endpoint("server:80", transport=network, ssl_context=server_context())
    server = job.Job[None](grace=3)
    server.add_task(net.serve(endpoint, build))
    async with trio.open_nursery() as nursery:
        await server.run_in_background(nursery)
        silent = await network.dial("server:80")
        await wait_all_tasks_blocked()
        server.finish()
    assert trio.current_time() == 3
    assert await silent.receive_some() == b""
    assert endpoint._slots.taken == 0


async def test_no_handshake(autojump_clock: MockClock) -> None:
    """A client that speaks no TLS is one quiet line, which says why it went."""
    network = MemoryTransport()
    endpoint = net.Endpoint("server:80", transport=network, ssl_context=server_context())
    lines: list[tuple[str, str]] = []
    server = job.Job[None]()
    server.register_logger({1: lambda event, fields: lines.append((event, fields["reason"]))}, level=1)
    server.add_task(net.serve(endpoint, build))
    async with server:
        client = await network.dial("server:80")
        await client.send_all(b"GET / HTTP/1.0\r\n\r\n")
        while await client.receive_some():
            pass
        await wait_all_tasks_blocked()
        assert lines == [("handshake.failed", "protocol_error")]
        assert endpoint.statistics().accepted == 1


async def test_accept_task_timeout(autojump_clock: MockClock) -> None:
    """For a task that accepts one client it is an error of the job."""
    network = MemoryTransport()
    endpoint = net.Endpoint("server:80", transport=network, ssl_context=server_context(), connect_timeout=4)
    j = job.Job[net.Stream]()
    j.add_oneshot_task(endpoint.accept_task)

    async def fail() -> None:
        with pytest.raises(net.ConnectTimeoutError, match="client:1: no TLS handshake within 4 s"):
            await j.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        await network.dial("server:80")


async def test_reuse() -> None:
    """A released connection keeps its TLS; one that is left in the pool is closed with its endpoint."""
    async with over_tls(codec=frames.Codec(), max_idle=1, close_timeout=0.05) as (near, far):
        await far.send(b"x")
        async with near.received():
            pass
        upstream = near.endpoint
        await near.release()
        again = await upstream.dial()
        await again.send(b"y")
        async with far.received() as data:
            assert data == b"y"
        await again.release()
        assert upstream.statistics().idle == 1
        del near, again, upstream
