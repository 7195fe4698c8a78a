"""Relays with TLS on either side, or on both, on sockets: the engine moves their bytes, and ends are what they were."""

import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from job import net
from job.net import EndReason, RelayResult, Side, relay
from job.net._relays.engine_pump import EnginePump
from job.net._relays.leg import Leg
from job.net._relays.limits import checked_limits
from job.net._relays.session import RelaySession
from job.net._relays.tls_pump import TlsPump
from job.net._streams.socket_wire import SocketWire
from job.net._streams.tls import Tls
from job.net._streams.tls_socket import TlsSocket
from job.net._streams.tls_wire import TlsWire
from tests.net.certificates import client_context, server_context
from tests.net.pairs import connected

MIB = 1 << 20
SERVER = {"ssl_context": server_context()}
CLIENT = {"ssl_context": client_context(), "server_hostname": "localhost"}


@asynccontextmanager
async def pair(*, tls: bool) -> AsyncIterator[tuple[net.Stream, net.Stream]]:
    """Give the two ends of a connection, dialed and accepted."""
    async with connected(server=SERVER if tls else {}, client=CLIENT if tls else {}, close_timeout=1) as streams:
        yield streams


class Run:
    """A relay that runs: the client's end, the upstream's end, and what came of it."""

    def __init__(self, client: net.Stream, upstream: net.Stream) -> None:
        self.client = client
        self.upstream = upstream
        self.result: RelayResult | None = None


@asynccontextmanager
async def relaying(*, tls_in: bool = True, tls_out: bool = True, **options: Any) -> AsyncIterator[Run]:
    """Relay between two connections."""
    async with pair(tls=tls_in) as (client, near), pair(tls=tls_out) as (far, upstream), trio.open_nursery() as nursery:
        run = Run(client, upstream)

        async def work() -> None:
            run.result = await relay(near, far, **options)

        nursery.start_soon(work)
        yield run


both_ways = pytest.mark.parametrize(("tls_in", "tls_out"), [(True, True), (True, False), (False, True)])


async def pour(stream: net.Stream, data: bytes) -> None:
    """Send bytes in pieces of all sizes, and say EOF."""
    dice, sent = random.Random(len(data)), 0
    while sent < len(data):
        piece = dice.choice((1, 100, 4096, 16384, 65536, MIB))
        await stream.send_all(data[sent : sent + piece])
        sent += piece
    await stream.send_eof()


async def drain(stream: net.Stream, into: list[bytes], pause: float = 0) -> None:
    """Receive to EOF; with a pause, let the sender wait first."""
    await trio.sleep(pause)
    found = bytearray()
    while data := await stream.receive_some():
        found += data
    into.append(bytes(found))


@both_ways
async def test_bytes_both_ways(tls_in: bool, tls_out: bool) -> None:
    """Each byte arrives, in order, in both directions at once, also where a reader comes late; and both EOFs."""
    up, down = random.Random(1).randbytes(3 * MIB), random.Random(2).randbytes(2 * MIB)
    got_up: list[bytes] = []
    got_down: list[bytes] = []
    async with relaying(tls_in=tls_in, tls_out=tls_out) as run, trio.open_nursery() as nursery:
        nursery.start_soon(pour, run.client, up)
        nursery.start_soon(pour, run.upstream, down)
        nursery.start_soon(drain, run.upstream, got_up, 0.2)
        nursery.start_soon(drain, run.client, got_down, 0.1)
    assert (got_up, got_down) == ([up], [down])
    assert run.result is not None
    assert run.result.reason is EndReason.EOF
    assert (run.result.bytes_up, run.result.bytes_down) == (len(up), len(down))


@both_ways
async def test_half_close(tls_in: bool, tls_out: bool) -> None:
    """An EOF is passed on at once, and what comes after it in the other direction arrives."""
    async with relaying(tls_in=tls_in, tls_out=tls_out) as run:
        await run.client.send_all(b"question")
        await run.client.send_eof()
        assert await run.upstream.receive_exactly(8) == b"question"
        assert await run.upstream.receive_some() == b""
        await run.upstream.send_all(b"answer")
        assert await run.client.receive_exactly(6) == b"answer"
        await run.upstream.send_eof()
        assert await run.client.receive_some() == b""
    assert run.result is not None
    assert (run.result.reason, run.result.closed_by) == (EndReason.EOF, Side.CLIENT)


async def test_first_bytes_with_the_handshake() -> None:
    """What has come in one segment with the end of the handshake, an EOF as well, is seen though no event tells of it."""
    listening = net.Endpoint("127.0.0.1:0", **SERVER, close_timeout=1)
    async with pair(tls=False) as (far, upstream), listening._binding.listening() as doors:
        with socket.create_connection(address_of(listening)) as sock:
            client = Tls(client_context(), server_side=False, server_hostname="localhost")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, greet, sock, client)
                await doors[0].wait()
                wire = await doors[0].accept()
                assert wire is not None
                near = await listening._handshake(wire)
            with trio.move_on_after(0.2):
                await relay(near, far)
            assert await upstream.receive_exactly(5) == b"hello"
        await near.aclose()


def address_of(endpoint: net.Endpoint) -> tuple[str, int]:
    """Return where an endpoint listens."""
    host, _, port = endpoint.addresses[0].rpartition(":")
    return host, int(port)


def greet(sock: socket.socket, client: Tls) -> None:
    """Shake hands, and send a greeting and an EOF in one piece with the last of it."""
    while not client.shake_hands():
        sock.sendall(client.out.take())
        client.feed(sock.recv(65536))
    assert client.write(memoryview(b"hello"))
    client.close_notify()
    sock.sendall(client.out.take())


@pytest.mark.parametrize("tls_in", [True, False])
async def test_truncation(tls_in: bool) -> None:
    """An upstream that ends without a close_notify is no EOF."""
    async with relaying(tls_in=tls_in) as run:
        await run.upstream.send_all(b"half")
        assert await run.client.receive_exactly(4) == b"half"
        assert isinstance(run.upstream._link.wire, TlsWire)
        await run.upstream._link.wire._below.send_eof()
        await ended(run)
    assert run.result is not None
    assert (run.result.reason, run.result.closed_by) == (EndReason.TLS_TRUNCATED, Side.UPSTREAM)


async def ended(run: Run) -> None:
    """Wait for the end of the relay."""
    with trio.fail_after(5):
        while run.result is None:
            await trio.lowlevel.checkpoint()


async def test_bad_record() -> None:
    """Ciphertext that was tampered with ends the relay, and its sender is told by an alert."""
    async with relaying() as run:
        wire = run.client._link.wire
        assert isinstance(wire, TlsWire)
        await run.client.send_all(b"good")
        assert await run.upstream.receive_exactly(4) == b"good"
        await wire._below.send_some(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(trio.BrokenResourceError, match="ALERT_BAD_RECORD_MAC"):
            await run.client.receive_some()
        await ended(run)
    assert run.result is not None
    assert (run.result.reason, run.result.closed_by) == (EndReason.PROTOCOL_ERROR, Side.CLIENT)


async def test_sink_is_gone() -> None:
    """A client that has reset its connection ends the relay by that."""
    async with relaying() as run:
        run.client.abort()
        await ended(run)
    assert run.result is not None
    assert (run.result.reason, run.result.closed_by) == (EndReason.RESET, Side.CLIENT)


@both_ways
async def test_driven_by_the_engine(tls_in: bool, tls_out: bool) -> None:
    """No trio task moves the bytes; over a transport there is no socket, and one does."""
    async with pair(tls=tls_in) as (_, near), pair(tls=tls_out) as (far, _):
        ends = Leg(Side.CLIENT, near), Leg(Side.UPSTREAM, far)
        pumps = RelaySession(*ends, checked_limits(1, 1, None))
        assert isinstance(pumps._up, TlsPump)
        assert isinstance(pumps._down, EnginePump)


def below(stream: net.Stream) -> socket.socket:
    """Return the socket at the bottom."""
    wire = stream._link.wire
    wire = wire._below if isinstance(wire, TlsWire) else wire
    assert isinstance(wire, SocketWire)
    return wire.sock


@both_ways
async def test_slow_reader(tls_in: bool, tls_out: bool) -> None:
    """Where there is little room, each byte arrives nevertheless, and so does the EOF behind the last."""
    data = random.Random(5).randbytes(8 * MIB)
    got: list[bytes] = []
    async with pair(tls=tls_in) as (client, near), pair(tls=tls_out) as (far, upstream):
        below(near).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, near, far)
            nursery.start_soon(pour, upstream, data)
            nursery.start_soon(drain, client, got, 0.1)
            await client.send_eof()
            assert await upstream.receive_some() == b""
    assert got == [data]


async def test_no_room_for_the_end() -> None:
    """A close_notify that finds no room goes out when there is some, and the relay waits for that."""
    async with pair(tls=True) as (client, near), pair(tls=False) as (far, upstream):
        below(near).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        stuffed = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, near, far)
            await trio.testing.wait_all_tasks_blocked()
            with suppress(BlockingIOError):
                while True:
                    stuffed += below(near).send(bytes(65536))
            await upstream.send_eof()
            await client.send_eof()
            assert await upstream.receive_some() == b""
            raw = bytearray()
            while not raw[-24:].startswith(b"\x17\x03\x03"):
                with suppress(BlockingIOError):
                    raw += below(client).recv(65536)
                await trio.lowlevel.checkpoint()
        assert len(raw) > stuffed
        client.abort()


async def test_room_for_less() -> None:
    """Where there is room for a part of what is unsent the rest waits, and the pump holds it."""
    async with pair(tls=True) as (client, near), pair(tls=False) as (far, _):
        course: Any = None
        pump = TlsPump(Leg(Side.UPSTREAM, far), Leg(Side.CLIENT, near), course)
        wire = near._link.wire
        assert isinstance(wire, TlsWire)
        wire._tls.out.collect([bytes(64 * MIB)])
        pump.writable(trio.current_time())
        assert pump.holding
        near.abort()
        client.abort()


# -- the socket by itself


def connected_sockets() -> tuple[TlsSocket, TlsSocket, socket.socket, socket.socket]:
    """Return both ends of a connection that have shaken hands, with little room in between."""
    here, there = socket.socketpair()
    for sock in (here, there):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server = Tls(server_context(), server_side=True)
    client = Tls(client_context(), server_side=False, server_hostname="localhost")
    for _ in range(5):
        client.shake_hands()
        carry(client, server)
        server.shake_hands()
        carry(server, client)
    return TlsSocket(here, server), TlsSocket(there, client), here, there


def carry(source: Tls, sink: Tls) -> None:
    """Carry what is there to the other side."""
    if data := source.out.take():
        sink.feed(data)


def test_no_room() -> None:
    """What was taken and found no room is unsent, nothing more is taken until it is out, and it arrives whole."""
    near, far, *socks = connected_sockets()
    data = memoryview(random.Random(3).randbytes(50_000))
    assert near.send(data) == len(data)
    assert near.unsent
    with pytest.raises(BlockingIOError):
        near.send(data)
    found, buffer = b"", memoryview(bytearray(65536))
    while len(found) < len(data):
        with suppress(BlockingIOError):
            found += buffer[: far.recv_into(buffer, len(buffer))]
        near.flush()
    assert found == data
    assert not near.unsent
    assert not far.more
    for sock in socks:
        sock.close()


def test_more_than_the_descriptor_tells() -> None:
    """What does not fit is there though the socket below has nothing; so is an EOF behind it."""
    near, far, *socks = connected_sockets()
    near.send(memoryview(b"abcdef"))
    near._tls.close_notify()
    near.flush()
    buffer = memoryview(bytearray(4))
    assert far.recv_into(buffer, len(buffer)) == 4
    assert far.more
    assert far.recv_into(buffer, len(buffer)) == 2
    assert far.more
    assert far.recv_into(buffer, len(buffer)) == 0
    for sock in socks:
        sock.close()


def test_handshake_in_the_way() -> None:
    """A peer that has to be heard before anything can be sent breaks a relay, which cannot wait for it."""
    here, there = socket.socketpair()
    with here, there:
        client = TlsSocket(here, Tls(client_context(), server_side=False, server_hostname="localhost"))
        with pytest.raises(trio.BrokenResourceError, match="shakes hands anew"):
            client.send(memoryview(b"x"))


def test_broken_inside() -> None:
    """A connection that is broken takes nothing."""
    near, far, here, there = connected_sockets()
    there.send(b"this is no record, and long enough for one")
    buffer = memoryview(bytearray(65536))
    with pytest.raises(trio.BrokenResourceError) as caught:
        near.recv_into(buffer, len(buffer))
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    with pytest.raises(trio.BrokenResourceError):
        near.send(memoryview(b"x"))
    with pytest.raises(trio.BrokenResourceError, match="ALERT"):
        far.recv_into(buffer, len(buffer))
    here.close()
    there.close()


def test_answer_of_the_protocol() -> None:
    """What TLS itself has to say when it hears something is said at once."""
    near, far, here, there = connected_sockets()
    near.send(memoryview(b"x"))
    far._tls.out.bio.write(b"an answer")
    assert far.recv_into(memoryview(bytearray(10)), 10) == 1
    assert here.recv(100) == b"an answer"
    here.close()
    there.close()
