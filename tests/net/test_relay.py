"""The relay: every byte, both ways, until both sides have said all; and why it ended where they had not."""

import errno
import hashlib
import os
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.abc import Stream
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

import job
from job import net
from job.net import EndReason, ProtocolError, RelayResult, Side, relay
from job.net._streams.stream import connection_of
from job.testing import MemoryTransport
from tests.net.pairs import connected

MIB = 1 << 20


class Running:
    """A relay that runs: the far ends of its two streams, and its result once it has one."""

    def __init__(self, client: Any, upstream: Any) -> None:
        self.client = client
        self.upstream = upstream
        self.result: RelayResult | None = None
        self.error: Exception | None = None
        self.ended = trio.Event()
        self.scope = trio.CancelScope()


@asynccontextmanager
async def running(near: Any = None, far: Any = None, **options: float) -> AsyncIterator[Running]:
    """Relay between two streams in memory, or others given as (near the relay, far from it); wait for its end."""
    near, client = near or memory_stream_pair()
    far, upstream = far or memory_stream_pair()
    run = Running(client, upstream)

    async def go() -> None:
        with run.scope:
            try:
                run.result = await relay(near, far, **options)
            except Exception as error:
                run.error = error
        run.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        yield run
    if run.error is not None:
        raise run.error


async def all_of(stream: Stream) -> bytes:
    """Receive until EOF."""
    return b"".join([bytes(data) async for data in stream])


def summary(result: RelayResult | None) -> tuple[EndReason, Side]:
    """Return who ended it, and why."""
    assert result is not None
    return result.reason, result.closed_by


class Plain(trio.abc.Stream):
    """A stream that cannot half-close, as those of TLS cannot; `error`s come out of the calls where they are set."""

    def __init__(self, below: Any) -> None:
        self.below = below
        self.receive_error: BaseException | None = None
        self.send_error: BaseException | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive, or fail."""
        if self.receive_error is not None:
            await trio.lowlevel.checkpoint()
            raise self.receive_error
        data: bytes = await self.below.receive_some(max_bytes)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or fail."""
        if self.send_error is not None:
            raise self.send_error
        await self.below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Do nothing: nobody asks."""

    async def aclose(self) -> None:
        """Close."""
        await self.below.aclose()


def plain_pair() -> tuple[Plain, Any]:
    """Return a stream that cannot half-close, and its far end."""
    near, far = memory_stream_pair()
    return Plain(near), far


# -- every byte


@settings(max_examples=50)
@given(up=st.lists(st.binary(max_size=300)), down=st.lists(st.binary(max_size=300)), size=st.integers(1, 100))
def test_byte_exact(up: list[bytes], down: list[bytes], size: int) -> None:
    """Whatever is written on one side, in whatever pieces, comes out at the other, and the counts are exact."""

    async def talk(stream: Any, pieces: list[bytes], heard: bytearray) -> None:
        async def hear() -> None:
            while data := await stream.receive_some(size):
                heard.extend(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            for piece in pieces:
                await stream.send_all(piece)
            await stream.send_eof()

    async def main() -> None:
        at_client, at_upstream = bytearray(), bytearray()
        async with running() as run, trio.open_nursery() as nursery:
            nursery.start_soon(talk, run.client, up, at_client)
            nursery.start_soon(talk, run.upstream, down, at_upstream)
        assert (at_upstream, at_client) == (b"".join(up), b"".join(down))
        assert run.result is not None
        assert (run.result.bytes_up, run.result.bytes_down) == (len(at_upstream), len(at_client))
        assert run.result.reason is EndReason.EOF

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_one_chunk_in_memory(autojump_clock: MockClock) -> None:
    """A relay takes the next chunk only when the last one was taken from it: a slow reader slows the writer down."""
    async with running(lockstep_stream_pair(), lockstep_stream_pair()) as run:
        await run.client.send_all(b"one")
        with trio.move_on_after(60) as scope:
            await run.client.send_all(b"two")
        assert scope.cancelled_caught
        run.scope.cancel()


async def test_closes_neither_stream(autojump_clock: MockClock) -> None:
    """Both streams are still open after a relay that ended well: they are the caller's to close."""
    async with connected(MemoryTransport()) as near, connected(MemoryTransport()) as far:
        async with running(near[::-1], far) as run:
            await run.client.send_eof()
            await run.upstream.send_eof()
        assert run.result is not None
        assert run.result.reason is EndReason.EOF
        assert not near[1].closed
        assert not far[0].closed


# -- half-close


async def test_eof_is_data(autojump_clock: MockClock) -> None:
    """The EOF of one side is passed on, and the other direction goes on until its own."""
    async with running() as run:
        await run.client.send_all(b"question")
        await run.client.send_eof()
        assert await all_of(run.upstream) == b"question"
        await trio.sleep(20)
        await run.upstream.send_all(b"answer")
        await run.upstream.send_eof()
        assert await all_of(run.client) == b"answer"
    assert run.result == RelayResult(EndReason.EOF, Side.CLIENT, 8, 6, 20, None)


async def test_first_eof_closes(autojump_clock: MockClock) -> None:
    """At EOF it was the side whose EOF came first."""
    async with running() as run:
        await run.upstream.send_eof()
        await trio.sleep(1)
        await run.client.send_eof()
    assert summary(run.result) == (EndReason.EOF, Side.UPSTREAM)


async def test_half_close_timeout(autojump_clock: MockClock) -> None:
    """A direction that is silent after the other's EOF is cut by the proxy."""
    async with running(half_close_timeout=7) as run:
        await trio.sleep(3)
        await run.client.send_eof()
    assert summary(run.result) == (EndReason.TIMEOUT_HALF_CLOSE, Side.PROXY)
    assert trio.current_time() == 10


async def test_trickle_extends_half_close(autojump_clock: MockClock) -> None:
    """Bytes that move, however few, put the half-close timeout off."""
    async with running(half_close_timeout=7) as run:
        await run.upstream.send_eof()
        for _ in range(10):
            await trio.sleep(6)
            await run.client.send_all(b".")
    assert summary(run.result) == (EndReason.TIMEOUT_HALF_CLOSE, Side.PROXY)
    assert trio.current_time() == 67


async def test_receiver_that_cannot_half_close(autojump_clock: MockClock) -> None:
    """Who cannot be told of an EOF goes on within the half-close timeout; then it was that EOF that ended the relay."""
    async with running(None, plain_pair()) as run:
        await run.client.send_eof()
        for _ in range(3):
            await trio.sleep(4)
            await run.upstream.send_all(b".")
    assert summary(run.result) == (EndReason.EOF, Side.CLIENT)
    assert trio.current_time() == 42


async def test_receiver_that_cannot_half_close_and_is_slow(autojump_clock: MockClock) -> None:
    """Where bytes are on their way to a reader that takes none, it is the half-close timeout that ended it."""
    async with (
        running(lockstep_stream_pair(), plain_pair(), half_close_timeout=2) as run,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(run.client.send_eof)
        await run.upstream.send_all(b"for nobody")
    assert summary(run.result) == (EndReason.TIMEOUT_HALF_CLOSE, Side.PROXY)


async def test_both_eofs_where_none_can_half_close(autojump_clock: MockClock) -> None:
    """The second EOF ends the relay at once."""
    async with running(plain_pair(), plain_pair()) as run:
        await run.client.send_eof()
        await trio.sleep(1)
        await run.upstream.send_eof()
    assert run.result == RelayResult(EndReason.EOF, Side.CLIENT, 0, 0, 1)


# -- idle


async def test_idle_timeout(autojump_clock: MockClock) -> None:
    """Silence in both directions ends the relay."""
    async with running(idle_timeout=60) as run:
        await trio.sleep(30)
        await run.client.send_all(b"x")
    assert summary(run.result) == (EndReason.TIMEOUT_IDLE, Side.PROXY)
    assert trio.current_time() == 90


async def test_one_direction_keeps_both(autojump_clock: MockClock) -> None:
    """Bytes in one direction keep the other from being idle."""
    async with running(idle_timeout=60) as run:
        for _ in range(5):
            await trio.sleep(50)
            await run.upstream.send_all(b"x")
    assert trio.current_time() == 310


async def test_idle_while_the_sink_is_stuck(autojump_clock: MockClock) -> None:
    """A receiver that takes nothing does not count as life."""
    async with running(lockstep_stream_pair(), lockstep_stream_pair(), idle_timeout=60) as run:
        await run.client.send_all(b"x")
    assert summary(run.result) == (EndReason.TIMEOUT_IDLE, Side.PROXY)
    assert run.result is not None
    assert run.result.bytes_up == 0


async def test_idle_shorter_than_half_close(autojump_clock: MockClock) -> None:
    """The idle timeout goes on after an EOF, and strikes first where it is shorter."""
    async with running(idle_timeout=3) as run:
        await run.client.send_eof()
    assert summary(run.result) == (EndReason.TIMEOUT_IDLE, Side.PROXY)


@pytest.mark.parametrize("turns", range(12))
async def test_data_in_the_moment_of_expiry(turns: int, autojump_clock: MockClock) -> None:
    """What is taken in the very moment that the time is up is passed on; else its sender sees that it was cut."""
    async with (
        connected(MemoryTransport()) as near,
        connected(MemoryTransport()) as far,
        running(near[::-1], far, idle_timeout=10) as run,
    ):
        await trio.sleep_until(10)
        for _ in range(turns // 2):
            await trio.lowlevel.checkpoint()
        with suppress(trio.BrokenResourceError):
            await run.client.send_all(b"late")
        await trio.sleep(1)
        passed_on = near[1].bytes_received
        if passed_on:
            assert await run.upstream.receive_some() == b"late"
        else:
            with pytest.raises(trio.BrokenResourceError):
                await run.client.receive_some()
        run.scope.cancel()


class Late(Plain):
    """A stream on which a chunk comes in the same moment as the first cancellation of a receive, and wins."""

    late = b"late"

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive."""
        try:
            return await super().receive_some(max_bytes)
        except trio.Cancelled:
            if not self.late:
                raise
            late, self.late = self.late, b""
            return late


async def test_data_outruns_expiry(autojump_clock: MockClock) -> None:
    """A chunk that comes in the very moment that the time is up starts it anew."""
    near, client = memory_stream_pair()
    async with running((Late(near), client), idle_timeout=10) as run:
        assert await run.upstream.receive_some() == b"late"
        assert trio.current_time() == 10
    assert summary(run.result) == (EndReason.TIMEOUT_IDLE, Side.PROXY)
    assert trio.current_time() == 20


async def test_heartbeat(autojump_clock: MockClock) -> None:
    """Each chunk restarts the idle clock of the task that the relay runs in."""
    near, client = memory_stream_pair()
    far, _upstream = memory_stream_pair()

    async def run(task: job.Task) -> None:
        await relay(near, far)
        task.done()

    async def chat() -> None:
        for _ in range(5):
            await trio.sleep(4)
            await client.send_all(b"x")

    j: job.Job[None] = job.Job()
    j.add_task(run, idle_timeout=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat)
        with pytest.raises(job.IdleTimeoutError):
            await j.run()
    assert trio.current_time() == 25


async def test_relay_is_no_step(autojump_clock: MockClock) -> None:
    """A run that takes no step after its relay is told so, whatever was relayed."""
    near, client = memory_stream_pair()
    far, upstream = memory_stream_pair()
    await client.send_all(b"x")
    await client.aclose()
    await upstream.aclose()

    async def run(task: job.Task) -> None:
        await relay(near, far)

    j: job.Job[None] = job.Job()
    j.add_task(run)
    with pytest.raises(job.MissingStepError):
        await j.run()


# -- faults


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), EndReason.RESET),
        (trio.BrokenResourceError(), EndReason.RESET),
        (ProtocolError("?"), EndReason.PROTOCOL_ERROR),
        (ssl.SSLError("bad record"), EndReason.PROTOCOL_ERROR),
    ],
)
async def test_fault_of_the_sender(error: Exception, reason: EndReason, autojump_clock: MockClock) -> None:
    """A side that breaks while it is read from ends the relay at once; that is a reason and no exception."""
    stream, far = plain_pair()
    stream.receive_error = error
    async with running(None, (stream, far)) as run:
        pass
    assert summary(run.result) == (reason, Side.UPSTREAM)
    assert run.result is not None
    assert run.result.error is error
    assert run.result.seconds == 0


async def test_fault_of_the_receiver(autojump_clock: MockClock) -> None:
    """A side that breaks while it is written to ended the relay, also if the other side breaks later."""
    stream, far = plain_pair()
    stream.send_error = trio.BrokenResourceError()
    async with running((stream, far)) as run:
        await run.upstream.send_all(b"x")
        await wait_all_tasks_blocked()
        stream.receive_error = trio.BrokenResourceError()
        await run.client.send_all(b"y")
    assert summary(run.result) == (EndReason.RESET, Side.CLIENT)
    assert run.result is not None
    assert run.result.error is stream.send_error


async def test_last_words_of_a_receiver_that_broke(autojump_clock: MockClock) -> None:
    """What a side has said before it refused to listen is passed on: the reply to a request not read in full."""
    stream, far = plain_pair()
    stream.send_error = trio.BrokenResourceError()
    async with running(None, (stream, far)) as run:
        await run.client.send_all(b"long request")
        await wait_all_tasks_blocked()
        await run.upstream.send_all(b"413")
        await run.upstream.send_eof()
        assert await all_of(run.client) == b"413"
    assert run.result is not None
    assert summary(run.result) == (EndReason.RESET, Side.UPSTREAM)
    assert run.result.bytes_down == 3


async def test_broken_receiver_that_stays_silent(autojump_clock: MockClock) -> None:
    """It has the close timeout to say something, no longer."""
    stream, far = plain_pair()
    stream.send_error = trio.BrokenResourceError()
    async with running(None, (stream, far)) as run:
        await run.client.send_all(b"x")
    assert summary(run.result) == (EndReason.RESET, Side.UPSTREAM)
    assert trio.current_time() == 5


async def test_peer_that_closed_both_ways(autojump_clock: MockClock) -> None:
    """A client that is gone broke the connection, as soon as there is something that it does not get."""
    async with running() as run:
        await run.client.aclose()
        await trio.sleep(1)
        await run.upstream.send_all(b"x")
    assert summary(run.result) == (EndReason.RESET, Side.CLIENT)
    assert trio.current_time() == 1


class NoEof(Plain):
    """A stream whose peer is gone when it is told of the EOF."""

    async def send_eof(self) -> None:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError


async def test_last_eof_that_nobody_hears(autojump_clock: MockClock) -> None:
    """Where both have said all, it does no harm if one of them is gone before it hears the other's EOF."""
    near, far = memory_stream_pair()
    async with running(None, (NoEof(near), far)) as run:
        await run.upstream.send_eof()
        await wait_all_tasks_blocked()
        await run.client.send_eof()
    assert summary(run.result) == (EndReason.EOF, Side.UPSTREAM)


async def test_first_eof_that_nobody_hears(autojump_clock: MockClock) -> None:
    """Where the one who is gone had more to say, it broke the connection."""
    near, far = memory_stream_pair()
    async with running(None, (NoEof(near), far)) as run:
        await run.client.send_eof()
    assert summary(run.result) == (EndReason.RESET, Side.UPSTREAM)


@pytest.mark.parametrize("error", [trio.ClosedResourceError(), ValueError("ours"), KeyboardInterrupt()])
async def test_own_fault(error: BaseException, autojump_clock: MockClock) -> None:
    """A fault of our own is raised, bare."""
    stream, _far = plain_pair()
    stream.receive_error = error
    near, _client = memory_stream_pair()
    with pytest.raises(type(error)) as caught:
        await relay(near, stream)
    assert caught.value is error


async def test_tls(autojump_clock: MockClock) -> None:
    """Over TLS bytes go both ways, and close_notify is an EOF."""
    async with tls_pair() as (near, client), running((near, client)) as run:
        await run.client.send_all(b"question")
        assert await run.upstream.receive_some() == b"question"
        await run.upstream.send_all(b"answer")
        assert await run.client.receive_some() == b"answer"
        await run.upstream.send_eof()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.client.aclose)
    assert summary(run.result) == (EndReason.EOF, Side.UPSTREAM)


async def test_tls_truncated(autojump_clock: MockClock) -> None:
    """A TLS connection that ends without close_notify may have lost its end: that is no EOF."""
    async with tls_pair() as (near, client), running((near, client)) as run:
        await run.client.send_all(b"x")
        await run.upstream.receive_some()
        await run.client.transport_stream.aclose()
    assert summary(run.result) == (EndReason.TLS_TRUNCATED, Side.CLIENT)


@asynccontextmanager
async def tls_pair() -> AsyncIterator[tuple[Any, Any]]:
    """Shake hands in memory."""
    below_near, below_far = memory_stream_pair()
    server = trio.SSLStream(below_near, SERVER, server_side=True)
    client = trio.SSLStream(below_far, CLIENT, server_hostname="test.example")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(client.do_handshake)
    yield server, client


CA = trustme.CA()
SERVER = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
CLIENT = ssl.create_default_context()
CA.issue_cert("test.example").configure_cert(SERVER)
CA.configure_trust(CLIENT)


# -- cancellation


async def test_cancelled(autojump_clock: MockClock) -> None:
    """A cancellation goes through at once, and both peers see the cut."""
    async with connected(MemoryTransport()) as near, connected(MemoryTransport()) as far:
        async with running(near[::-1], far) as run:
            await wait_all_tasks_blocked()
            run.scope.cancel()
        assert run.scope.cancelled_caught
        for peer in (run.client, run.upstream):
            with pytest.raises(trio.BrokenResourceError):
                await peer.receive_some()


async def test_cancelled_before_it_began(autojump_clock: MockClock) -> None:
    """A relay in a scope that is cancelled already takes nothing."""
    near, client = memory_stream_pair()
    await client.send_all(b"x")
    async with running((near, client)) as run:
        run.scope.cancel()
    assert await near.receive_some() == b"x"


async def test_cancelled_while_the_sink_is_stuck(autojump_clock: MockClock) -> None:
    """A receiver that takes nothing does not hold a cancellation up."""
    async with running(lockstep_stream_pair(), lockstep_stream_pair()) as run:
        await run.client.send_all(b"x")
        await wait_all_tasks_blocked()
        run.scope.cancel()
    assert trio.current_time() == 0


async def test_own_fault_during_cancellation(autojump_clock: MockClock) -> None:
    """A fault of our own is never lost, not even to a cancellation."""

    class Faulty(Plain):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            try:
                return await super().receive_some(max_bytes)
            except trio.Cancelled as cancelled:
                raise ValueError("in cleanup") from cancelled

    near, client = memory_stream_pair()
    with pytest.raises(ValueError, match="in cleanup"):
        async with running((Faulty(near), client)) as run:
            await wait_all_tasks_blocked()
            run.scope.cancel()


# -- arguments


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"idle_timeout": 0}, ValueError),
        ({"idle_timeout": None}, TypeError),
        ({"half_close_timeout": -1}, ValueError),
        ({"half_close_timeout": "30"}, TypeError),
    ],
)
async def test_wrong_timeouts(options: dict[str, Any], error: type[Exception]) -> None:
    """A timeout that is none is refused at the call, by name."""
    near, far = memory_stream_pair()
    with pytest.raises(error, match=next(iter(options))):
        await relay(near, far, **options)


async def test_wrong_streams() -> None:
    """What is no stream is refused at the call, by name and value; what behaves like one will do."""
    near, far = memory_stream_pair()
    for wrong in (5, None, object()):
        with pytest.raises(TypeError, match="client must be a stream, got "):
            await relay(wrong, far)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="upstream must be a stream, got "):
            await relay(near, wrong)  # type: ignore[arg-type]
    await far.send_eof()
    with trio.move_on_after(0):
        await relay(near, SimpleNamespace(receive_some=far.receive_some, send_all=far.send_all))  # type: ignore[arg-type]


# -- real sockets


async def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Connect over TCP."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname())
        return await listener.accept(), client


async def unix_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Connect within the process."""
    near, far = trio.socket.socketpair()
    return trio.SocketStream(near), trio.SocketStream(far)


async def engine_pair() -> tuple[net.Stream, trio.SocketStream]:
    """Connect over TCP, with a stream of our own at the near end: the engine moves its bytes."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await net.Endpoint(f"127.0.0.1:{listener.socket.getsockname()[1]}").dial()
        return near, await listener.accept()


Pair = Callable[[], Awaitable[tuple[Any, trio.SocketStream]]]
REAL = pytest.mark.parametrize("pair", [tcp_pair, unix_pair, engine_pair])
TCP = pytest.mark.parametrize("pair", [tcp_pair, engine_pair])


@asynccontextmanager
async def real(pair: Pair, **options: float) -> AsyncIterator[Running]:
    """Relay between two pairs of sockets, and close all of them."""
    near, far = await pair(), await pair()
    async with near[0], near[1], far[0], far[1], running(near, far, **options) as run:
        yield run


async def send_pieces(stream: trio.SocketStream, data: bytes, seed: int) -> None:
    """Send in pieces of 1 to 4096 bytes, then EOF."""
    sizes = random.Random(seed)
    rest = memoryview(data)
    while rest:
        size = sizes.randint(1, 4096)
        await stream.send_all(rest[:size])
        rest = rest[size:]
    await stream.send_eof()


@REAL
async def test_integrity(pair: Pair) -> None:
    """Twenty connections, a random MiB both ways at once in small pieces: each comes out as it went in."""
    results = []

    async def talk(stream: trio.SocketStream, other: int, own: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_pieces, stream, random.Random(own).randbytes(MIB), own)
            heard = hashlib.sha256(await all_of(stream)).digest()
        assert heard == hashlib.sha256(random.Random(other).randbytes(MIB)).digest()

    async def connection(number: int) -> None:
        async with real(pair) as run, trio.open_nursery() as nursery:
            nursery.start_soon(talk, run.client, number, -number)
            nursery.start_soon(talk, run.upstream, -number, number)
        results.append(run.result)

    async with trio.open_nursery() as nursery:
        for number in range(1, 21):
            nursery.start_soon(connection, number)
    assert {(result.reason, result.bytes_up, result.bytes_down) for result in results if result} == {
        (EndReason.EOF, MIB, MIB)
    }


@REAL
async def test_sockets_half_close(pair: Pair) -> None:
    """A reply that comes after the request's EOF, and fills every buffer on its way, comes whole."""
    reply = random.Random(7).randbytes(8 * MIB)
    async with real(pair) as run, trio.open_nursery() as nursery:
        await run.client.send_all(b"GET")
        await run.client.send_eof()
        assert await all_of(run.upstream) == b"GET"
        nursery.start_soon(send_pieces, run.upstream, reply, 7)
        assert await all_of(run.client) == reply
    assert summary(run.result) == (EndReason.EOF, Side.CLIENT)


@REAL
async def test_sockets_one_large_write(pair: Pair) -> None:
    """Writes that are larger than the relay's buffer fill it again and again."""
    data = random.Random(8).randbytes(8 * MIB)
    async with real(pair) as run, trio.open_nursery() as nursery:
        nursery.start_soon(run.client.send_all, data)
        received = bytearray()
        while len(received) < len(data):
            received += await run.upstream.receive_some(MIB)
        assert received == data
        run.scope.cancel()


@TCP
async def test_reset_by_client(pair: Pair) -> None:
    """A client that resets its connection ended it."""
    async with real(pair) as run:
        await run.client.send_all(b"x")
        await run.upstream.receive_some()
        run.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await run.client.aclose()
    assert summary(run.result) == (EndReason.RESET, Side.CLIENT)


@TCP
async def test_last_words_before_a_reset(pair: Pair) -> None:
    """A reply that the upstream sent before it closed on an unread request is passed on."""
    async with real(pair) as run:
        await run.client.send_all(bytes(100_000))
        await run.upstream.receive_some(10)
        await run.upstream.send_all(b"413")
        await run.upstream.aclose()  # with unread input: the kernel resets
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            assert await run.client.receive_some() == b"413"
            await run.client.receive_some()
    assert run.result is not None
    assert run.result.bytes_down == 3


async def test_last_words_of_a_deaf_socket() -> None:
    """So is the reply of an upstream that has closed its reading side only."""
    async with real(unix_pair) as run:
        run.upstream.socket.shutdown(socket.SHUT_RD)
        await run.client.send_all(b"request")
        await wait_all_tasks_blocked()
        await run.upstream.send_all(b"no")
        await run.upstream.send_eof()
        assert await all_of(run.client) == b"no"
    assert summary(run.result) == (EndReason.RESET, Side.UPSTREAM)


@REAL
async def test_sockets_idle(pair: Pair) -> None:
    """Sockets that stay silent are looked at once more, and then they are idle."""
    async with real(pair, idle_timeout=0.02) as run:
        pass
    assert summary(run.result) == (EndReason.TIMEOUT_IDLE, Side.PROXY)


@REAL
async def test_sockets_cancelled_while_stuck(pair: Pair) -> None:
    """A receiver that takes nothing does not hold a cancellation up."""
    async with real(pair) as run:
        with trio.move_on_after(0.05):
            await run.client.send_all(bytes(64 * MIB))
        run.scope.cancel()
    assert run.scope.cancelled_caught


async def fill(stream: Any) -> int:
    """Send zeros until there is no more room; return how many."""
    below = connection_of(stream).plain if isinstance(stream, net.Stream) else stream.socket
    sent = 0
    with trio.socket.from_stdlib_socket(socket.socket(fileno=os.dup(below.fileno()))) as sock:
        with trio.move_on_after(0.05):
            while True:
                sent += await sock.send(bytes(MIB))
    return sent


@REAL
async def test_sink_that_is_full(pair: Pair) -> None:
    """A chunk for which the sink has no place at all waits, and comes after what was there before."""
    near, far = await pair(), await pair()
    async with near[0], near[1], far[0], far[1]:
        before = await fill(far[0])
        async with running(near, far) as run:
            await run.client.send_all(b"after")
            await wait_all_tasks_blocked()
            assert await read(run.upstream, before + 5) == bytes(before) + b"after"
            run.scope.cancel()


@REAL
async def test_socket_closed_under_the_relay(pair: Pair) -> None:
    """Who closes a stream that is being relayed made a mistake, and is told."""
    near, far = await pair(), await pair()
    async with near[1], far[0], far[1]:
        with pytest.raises(trio.ClosedResourceError):
            async with running(near, far):
                await wait_all_tasks_blocked()
                await near[0].aclose()


async def test_socket_that_said_eof_already() -> None:
    """A stream that we have half-closed before takes no more, which is our fault."""
    near, far = await unix_pair(), await unix_pair()
    async with near[0], near[1], far[0], far[1]:
        await far[0].send_eof()
        await near[1].send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await relay(near[0], far[0])


async def test_socket_and_memory() -> None:
    """Streams of different kinds go together."""
    near = await unix_pair()
    async with near[0], near[1], running(near) as run:
        await run.client.send_all(b"x")
        assert await run.upstream.receive_some() == b"x"
        await run.upstream.aclose()
        await run.client.aclose()
    assert summary(run.result) == (EndReason.EOF, Side.UPSTREAM)


# -- our own streams


@asynccontextmanager
async def own_pair() -> AsyncIterator[tuple[Stream, trio.SocketStream]]:
    """Dial; close both ends at last."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await net.Endpoint(f"127.0.0.1:{listener.socket.getsockname()[1]}").dial()
        far = await listener.accept()
    async with near, far:
        yield near, far


@asynccontextmanager
async def own(**options: float) -> AsyncIterator[tuple[net.Stream, net.Stream, Running]]:
    """Relay between two of our own streams."""
    async with own_pair() as client, own_pair() as upstream, running(client, upstream, **options) as run:
        yield client[0], upstream[0], run


@asynccontextmanager
async def foreign_pair() -> AsyncIterator[tuple[Stream, trio.SocketStream]]:
    """Connect with streams of trio's."""
    near, far = await tcp_pair()
    async with near, far:
        yield near, far


OWN = pytest.mark.parametrize("second", [own_pair, foreign_pair])
"""The first stream is ours, and the second one is too, or is not."""


async def test_ours_is_lent_beside_a_foreign_one() -> None:
    """Beside a socket of trio's ours is lent, too: nobody else may receive, and who closes it is told."""
    async with own_pair() as (client, client_far), foreign_pair() as (upstream, _):
        with pytest.raises(trio.ClosedResourceError):
            async with running((client, client_far), (upstream, upstream)):
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await client.receive_some()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client_far.aclose)
                    await client.aclose()


@OWN
async def test_unread_first(second: Any) -> None:
    """What was put back into a stream, or came with a handshake, is relayed first."""
    async with own_pair() as client, second() as upstream:
        await client[1].send_all(b"PROXY\r\nhello")
        assert await client[0].receive_until(b"\r\n", limit=100) == b"PROXY\r\n"
        client[0].unread(b"PROXY again\r\n")
        async with running(client, upstream) as run:
            received = b""
            while len(received) < 18:
                received += await run.upstream.receive_some()
            assert received == b"PROXY again\r\nhello"[: len(received)]
            run.scope.cancel()


async def test_unread_first_beside_a_foreign_stream() -> None:
    """So it is where the other end is no plain socket."""
    async with own_pair() as client:
        client[0].unread(b"first")
        async with running(client) as run:
            assert await run.upstream.receive_some() == b"first"
            run.scope.cancel()


async def test_stream_counts() -> None:
    """Bytes that went past a stream count as its own, and as its endpoint's."""
    async with own() as (client, upstream, run):
        await run.client.send_all(b"question")
        await run.client.send_eof()
        assert await all_of(run.upstream) == b"question"
        await run.upstream.send_all(b"yes")
        await run.upstream.send_eof()
        assert await all_of(run.client) == b"yes"
    assert (client.bytes_received, client.bytes_sent) == (8, 3)
    assert (upstream.bytes_received, upstream.bytes_sent) == (3, 8)
    assert upstream.endpoint.statistics().bytes_sent == 8
    assert run.result is not None
    assert (run.result.bytes_up, run.result.bytes_down) == (8, 3)


async def test_stream_counts_beside_a_foreign_socket() -> None:
    """So they do where the engine cannot serve."""
    async with own_pair() as client, foreign_pair() as upstream, running(client, upstream) as run:
        await run.upstream.send_all(b"yes")
        assert await run.client.receive_some() == b"yes"
        assert client[0].bytes_sent == 3
        run.scope.cancel()


async def read(stream: Stream, size: int) -> bytes:
    """Receive so many bytes."""
    received = bytearray()
    while len(received) < size:
        received += await stream.receive_some(size - len(received))
    return bytes(received)
