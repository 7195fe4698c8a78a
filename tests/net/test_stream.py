"""A stream is a trio stream, in memory and on a socket alike, and can put bytes back and cut off what a handshake needs."""

import socket
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, assert_checkpoints, check_half_closeable_stream, wait_all_tasks_blocked

from job import net
from job.net._streams.socket_wire import SocketWire
from job.net._streams.stream import connection_of
from job.testing import MemoryTransport
from tests.net.pairs import connected


async def make(transport: Any = None) -> Any:
    """Make a pair that nothing but the checks will close."""
    server = net.Endpoint("127.0.0.1:0", transport=transport, close_timeout=0.05)
    async with server._binding.listening() as doors:
        near = await net.Endpoint(server.addresses[0], transport=transport, close_timeout=0.05).dial()
        wire = None
        while wire is None:
            await doors[0].wait()
            wire = await doors[0].accept()
        return near, await server._handshake(wire)


async def clog(streams: Any) -> Any:
    """Fill both directions to the last byte; what the kernel still moves makes room, so look again until nothing does."""
    before = -1
    while before != (before := sum(stream.bytes_sent for stream in streams)):
        for stream in streams:
            for size in (65536, 1):
                with trio.move_on_after(0.01):
                    while True:
                        await stream._link.send_some(memoryview(bytes(size)))
    return streams


async def test_conforms_on_a_socket() -> None:
    """On a socket it passes trio's own checks."""

    async def make_clogged() -> Any:
        streams = await make()
        for stream in streams:  # of a fixed size, or the kernel would go on to find room
            connection_of(stream).plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
            connection_of(stream).plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        return await clog(streams)

    await check_half_closeable_stream(make, make_clogged)


async def test_conforms_in_memory(autojump_clock: MockClock) -> None:
    """In memory it passes trio's own checks."""

    async def make_in_memory() -> Any:
        return await make(MemoryTransport())

    async def make_clogged() -> Any:
        return await clog(await make_in_memory())

    await check_half_closeable_stream(make_in_memory, make_clogged)


# -- bytes


async def test_unread(autojump_clock: MockClock) -> None:
    """Bytes put back are received next, and counted once."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(b"cde")
        assert await far.receive_some() == b"cde"
        far.unread(b"cde")
        far.unread(memoryview(b"ab"))
        assert await far.receive_some(1) == b"a"
        assert await far.receive_some() == b"bcde"
        assert far.bytes_received == near.bytes_sent == 3


async def test_unread_is_a_checkpoint(autojump_clock: MockClock) -> None:
    """To receive what is there already is a checkpoint, too."""
    async with connected(MemoryTransport()) as (near, _):
        near.unread(b"abcd")
        with assert_checkpoints():
            assert await near.receive_some(1) == b"a"
        with assert_checkpoints():
            assert await near.receive_exactly(1) == b"b"
        with assert_checkpoints():
            assert await near.receive_until(b"c", limit=1) == b"c"
        with assert_checkpoints():
            assert await near.receive_exactly(0) == b""
        with pytest.raises(TypeError, match="data must be bytes"):
            near.unread("text")  # type: ignore[arg-type]


async def test_cancelled_receive_loses_nothing(autojump_clock: MockClock) -> None:
    """What is put back survives a cancelled receive."""
    async with connected(MemoryTransport()) as (near, _):
        near.unread(b"abc")
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.receive_some()
        assert scope.cancelled_caught
        assert await near.receive_some() == b"abc"


async def test_receive_exactly(autojump_clock: MockClock) -> None:
    """Exactly so many bytes are taken, however they arrive; the rest stays."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(b"ab")
        async with trio.open_nursery() as nursery:

            async def send_rest() -> None:
                await wait_all_tasks_blocked()
                await near.send_all(b"cdef")

            nursery.start_soon(send_rest)
            assert await far.receive_exactly(4) == b"abcd"
        assert await far.receive_some() == b"ef"


async def test_receive_exactly_eof(autojump_clock: MockClock) -> None:
    """An early EOF is a ProtocolError, and what had come stays."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(b"ab")
        await near.send_eof()
        with pytest.raises(net.ProtocolError, match="ended after 2 bytes, before 3 were there"):
            await far.receive_exactly(3)
        assert await far.receive_some() == b"ab"


@pytest.mark.parametrize("n", [-1, True, 1.5])
async def test_receive_exactly_argument(n: Any, autojump_clock: MockClock) -> None:
    """The number of bytes is an int that is not negative."""
    async with connected(MemoryTransport()) as (near, _):
        with pytest.raises((TypeError, ValueError), match="n must be"):
            await near.receive_exactly(n)


async def test_receive_until(autojump_clock: MockClock) -> None:
    """The delimiter comes with the rest, also when it was cut on the way; what follows stays."""
    async with connected(MemoryTransport()) as (near, far):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for piece in (b"GET /\r", b"\nmore"):
                    await near.send_all(piece)
                    await wait_all_tasks_blocked()

            nursery.start_soon(send)
            assert await far.receive_until(b"\r\n", limit=7) == b"GET /\r\n"
        assert await far.receive_some() == b"more"


async def test_receive_until_limit(autojump_clock: MockClock) -> None:
    """A line longer than the limit, delimiter included, is a ProtocolError; the bytes stay."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(b"abc\n")
        with pytest.raises(net.ProtocolError, match=r"no b'\\n' within 3 bytes"):
            await far.receive_until(b"\n", limit=3)
        assert await far.receive_until(b"\n", limit=4) == b"abc\n"


async def test_receive_until_eof(autojump_clock: MockClock) -> None:
    """EOF before the delimiter is a ProtocolError."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_eof()
        with pytest.raises(net.ProtocolError, match="ended after 0 bytes, before b'x'"):
            await far.receive_until(b"x", limit=10)


async def test_receive_until_empty_delimiter(autojump_clock: MockClock) -> None:
    """An empty delimiter is refused, and so is what is no bytes."""
    async with connected(MemoryTransport()) as (near, _):
        with pytest.raises(ValueError, match="delimiter must not be empty"):
            await near.receive_until(b"", limit=10)
        with pytest.raises(TypeError, match=r"delimiter must be bytes.*, got 5"):
            await near.receive_until(5, limit=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["receive_some", "receive_exactly"])
async def test_two_receivers(name: str, autojump_clock: MockClock) -> None:
    """A second task that receives gets BusyResourceError, also where bytes were put back meanwhile."""
    async with connected(MemoryTransport()) as (near, far), trio.open_nursery() as nursery:
        await far.wait_send_all_might_not_block()
        nursery.start_soon(near.receive_some)
        await wait_all_tasks_blocked()
        near.unread(b"xy")
        with pytest.raises(trio.BusyResourceError):
            await getattr(near, name)(1)
        nursery.cancel_scope.cancel()


async def test_counts_what_was_sent_before_a_cancel(autojump_clock: MockClock) -> None:
    """A send_all that is cancelled half way has counted what went out."""
    async with connected(MemoryTransport(buffer=10)) as (near, far):
        with trio.move_on_after(1):
            await near.send_all(bytes(25))
        assert near.bytes_sent == 10
        assert await far.receive_some() == bytes(10)
        assert near.endpoint.statistics().bytes_sent == 10
        assert far.endpoint.statistics().bytes_received == 10


async def test_closed(autojump_clock: MockClock) -> None:
    """On a closed stream everything is a ClosedResourceError, except to close it again."""
    async with connected(MemoryTransport()) as (near, _):
        near.unread(b"gone")
        await near.aclose()
        assert near.closed
        for call in (near.receive_some, near.send_eof, near.wait_send_all_might_not_block):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        for name, argument in (("receive_exactly", 1), ("send_all", b""), ("send", b"x")):
            with pytest.raises(trio.ClosedResourceError):
                await getattr(near, name)(argument)
        with pytest.raises(trio.ClosedResourceError):
            near.unread(b"x")
        with pytest.raises(trio.ClosedResourceError):
            async with near.received():
                pass
        with pytest.raises(trio.ClosedResourceError), near.received_nowait():
            pass
        await near.aclose()


async def test_attributes(autojump_clock: MockClock) -> None:
    """A stream tells where it comes from and what it did."""
    async with connected(MemoryTransport()) as (near, far):
        assert (near.local, near.peer, near.inbound) == ("client:1", "127.0.0.1:49152", False)
        assert (far.local, far.peer, far.inbound) == ("127.0.0.1:49152", "client:1", True)
        assert far.key == "client:1 -> 127.0.0.1:49152"
        assert near.opened_at == trio.current_time()
        assert connection_of(near).half_closes
        assert connection_of(near).plain is None
        assert repr(far) == "<Stream client:1 -> 127.0.0.1:49152 open, 0 bytes received, 0 sent>"
        near.codec = codec = net.frames.Codec()
        assert near.codec is codec
        with pytest.raises(TypeError, match="codec must have the methods encode and decode, or be None, got 5"):
            near.codec = 5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("10.0.0.1:80", "10.0.0.1"),
        ("[::1]:80", "::1"),
        ("[fe80::1%eth0]:80", "fe80::1%eth0"),
        ("db.example.org:80", "db.example.org"),
        ("unix:", "unix:"),
        ("unix:/run/a:80", "unix:/run/a:80"),
        ("a place", "a place"),
    ],
)
async def test_peer_host(peer: str, host: str, autojump_clock: MockClock) -> None:
    """Where a client comes from, without what differs from one of its connections to the next."""
    async with connected(MemoryTransport()) as (_, far):
        far._link.wire._peer = peer  # type: ignore[attr-defined]
        assert far.peer_host == host


async def test_keys_differ(autojump_clock: MockClock) -> None:
    """No two open streams have one key, not even where two transports use the same names; it never changes."""
    async with connected(MemoryTransport()) as one, connected(MemoryTransport()) as other:
        keys = [stream.key for stream in (*one, *other)]
        assert len(set(keys)) == 4
        assert [stream.peer for stream in one] == [stream.peer for stream in other]
        assert all(key.startswith(f"{stream.peer} -> ") for key, stream in zip(keys, (*one, *other), strict=True))
        assert [stream.key for stream in (*one, *other)] == keys
        await one[0].aclose()
        assert one[0].key == keys[0]


async def test_the_key_of_a_closed_stream_is_free(autojump_clock: MockClock) -> None:
    """A key is a name for as long as the stream is open."""
    async with connected(MemoryTransport()) as (near, _):
        key = near.key
    async with connected(MemoryTransport()) as (again, _):
        assert again.key == key


async def test_take_unread(autojump_clock: MockClock) -> None:
    """A relay takes all that was put back, at once."""
    async with connected(MemoryTransport()) as (near, _):
        near.unread(b"abc")
        assert connection_of(near).take_unread() == b"abc"
        assert connection_of(near).take_unread() == b""


async def test_socket_addresses() -> None:
    """On a socket each end has the other's address, in the form of the argument."""
    async with connected() as (near, far):
        assert near.local == far.peer
        assert near.peer == far.local == far.endpoint.addresses[0]
        plain = connection_of(near).plain
        assert plain is not None
        assert plain.getpeername()[1] == int(near.peer.rpartition(":")[2])


# -- closing


async def test_last_reply_arrives() -> None:
    """Closing with unread input does not destroy the last reply: it lingers until the peer has closed."""
    async with connected() as (near, far):
        await near.send_all(bytes(100_000))
        await far.receive_some(1)
        await far.send_all(b"reply")

        async def go_on_sending() -> None:
            await near.send_all(bytes(100_000))
            assert await near.receive_exactly(5) == b"reply"
            assert await near.receive_some() == b""
            await near.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on_sending)
            await far.aclose()


async def test_close_is_forced() -> None:
    """A peer that never closes is waited for until `close_timeout`; what it sends meanwhile goes nowhere."""
    async with connected(close_timeout=0.05) as (near, far):
        await near.send_all(b"x")
        await far.send_all(bytes(100_000))
        before = trio.current_time()
        await near.aclose()
        assert 0.04 < trio.current_time() - before < 1


async def test_close_without_a_last_reply() -> None:
    """A stream that sent nothing has nothing to linger for; its peer sees EOF, not a reset."""
    async with connected(close_timeout=60) as (near, far):
        await near.send_all(b"unread")
        with trio.fail_after(1):
            await far.aclose()
        assert await near.receive_some() == b""


async def test_close_at_a_flood() -> None:
    """A stream that sent nothing does not wait for the end of a flood."""
    async with connected(close_timeout=60) as (near, far), trio.open_nursery() as nursery:

        async def flood() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await near.send_all(bytes(1_000_000))

        nursery.start_soon(flood)
        await far.receive_some()
        with trio.fail_after(5):
            await far.aclose()


async def test_close_is_shielded(autojump_clock: MockClock) -> None:
    """A cancellation does not cut a close short that is under way; it strikes when the stream is closed."""
    closed_at: list[float] = []

    class Slow(trio.abc.Stream):
        receive_some = send_all = wait_send_all_might_not_block = None  # type: ignore[assignment]

        async def aclose(self) -> None:
            try:
                await trio.sleep(3)
            finally:
                closed_at.append(trio.current_time())

    class Transport:
        async def dial(self, address: str) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return Slow()

        async def listen(self, address: str) -> Any:
            raise AssertionError(address)

    for close_timeout, seconds in ((5, 3), (1, 1)):
        start = trio.current_time()
        stream = await net.Endpoint("any:1", transport=Transport(), close_timeout=close_timeout).dial()
        with trio.move_on_after(0.5) as scope:
            await stream.aclose()
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert closed_at[-1] - start == trio.current_time() - start == seconds
        assert stream.endpoint.statistics().outbound == 0


async def test_close_wakes_receiver() -> None:
    """A task that is receiving when the stream is closed gets ClosedResourceError."""
    async with connected(close_timeout=0.05) as (near, _):

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await near.aclose()


async def test_reset() -> None:
    """A peer's reset is a BrokenResourceError on both sides of the stream, and closing is quick then."""
    async with connected(close_timeout=60) as (near, far):
        await far.send_all(b"x")
        plain = connection_of(near).plain
        assert plain is not None
        plain.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        near._link.wire.abandon()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await far.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await far.send_eof()
        with trio.fail_after(1):
            await far.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await near.send_all(b"x")


async def test_wire_without_a_peer() -> None:
    """A socket that is not connected any more tells no addresses; a closed one may not be waited for."""
    wire = SocketWire(socket.socket())
    assert wire.peer == "unknown"
    wire.abandon()
    await wire.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await wire.wait_send_all_might_not_block()
