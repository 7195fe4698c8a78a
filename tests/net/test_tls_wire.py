"""TLS on another wire: who sends and who receives, and what a cancellation leaves behind."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from job.net._streams.socket_wire import SocketWire
from job.net._streams.stream_wire import StreamWire
from job.net._streams.tls import Tls
from job.net._streams.tls_wire import TlsWire, over_tls
from tests.net.certificates import client_context, server_context
from tests.net.pairs import connected


class Half:
    """A stream in memory that tells how much it has sent, and takes nothing while it is `shut`."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.room = trio.Event()
        self.room.set()
        self.receive_some = stream.receive_some
        self.aclose = stream.aclose
        self.wait_send_all_might_not_block = stream.wait_send_all_might_not_block

    async def send_some(self, data: Any) -> int:
        """Send all."""
        await self.room.wait()
        await self.stream.send_all(bytes(data))
        return len(data)


class Whole:
    """The same, but it does not tell."""

    def __init__(self, stream: Any) -> None:
        self.half = Half(stream)
        self.send_all = self.half.send_some
        self.receive_some = stream.receive_some
        self.aclose = stream.aclose

    @property
    def room(self) -> trio.Event:
        """Whether it takes anything."""
        return self.half.room

    @room.setter
    def room(self, event: trio.Event) -> None:
        self.half.room = event


def wire_on(stream: Any) -> StreamWire:
    """Return a wire on a stream."""
    return StreamWire(stream, local="here", peer="there", close_timeout=1)


async def shaken(kind: Callable[[Any], Any] = Half) -> tuple[TlsWire, TlsWire, Any]:
    """Return both ends of a connection in memory, and what is below the first one."""
    here, there = memory_stream_pair()
    below = kind(here)
    near = TlsWire(wire_on(below), Tls(server_context(), server_side=True))
    client = Tls(client_context(), server_side=False, server_hostname="localhost")
    far = TlsWire(wire_on(there), client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.shake_hands)
        nursery.start_soon(far.shake_hands)
    return near, far, below


async def send(wire: TlsWire, data: bytes) -> None:
    """Send all, and wait until it is out."""
    while data:
        data = data[await wire.send_some(data) :]
    await wire.flush()


async def test_addresses() -> None:
    """It has the addresses of the wire below."""
    near, _, _ = await shaken()
    assert (near.local, near.peer) == ("here", "there")


async def test_cancelled_send_goes_out_later(autojump_clock: MockClock) -> None:
    """What was taken goes out before anything else, though who sent it was cancelled."""
    near, far, below = await shaken()
    assert near.resumes
    below.room = trio.Event()
    with trio.move_on_after(1) as patience:
        await send(near, b"taken ")
    assert patience.cancelled_caught
    below.room.set()
    await send(near, b"and more")
    assert await far.receive_some(100) == b"taken and more"


async def test_cancelled_send_on_a_stream_that_does_not_tell(autojump_clock: MockClock) -> None:
    """Where nobody knows how much of a record is out there can be no other."""
    near, _, below = await shaken(Whole)
    assert not near.resumes
    below.room = trio.Event()
    with trio.move_on_after(1):
        await send(near, b"lost")
    below.room.set()
    with pytest.raises(trio.BrokenResourceError, match="cancelled half way"):
        await send(near, b"more")


async def test_close_while_somebody_sends(autojump_clock: MockClock) -> None:
    """A close cuts a send under way, and says no close_notify in the middle of a record."""
    near, far, below = await shaken()
    below.room = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, near, b"stuck")
        await wait_all_tasks_blocked()
        await near.aclose()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await far.receive_some(100)


async def test_eof_that_is_not_heard() -> None:
    """An EOF to a peer that has gone is an error, unless it had said EOF itself."""
    near, far, _ = await shaken()
    await far.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await near.send_eof()
    near, far, _ = await shaken()
    await far.aclose()
    assert await near.receive_some(1) == b""
    await near.send_eof()


async def test_fault_that_is_told_to_nobody() -> None:
    """Where the peer is gone the fault is the same, though no alert arrives; and so on every later call."""
    near, far, _ = await shaken()
    await wire_of(far).send_some(b"\x17\x03\x03\x00\x20" + bytes(32))
    await wire_of(far).aclose()
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="BAD_RECORD_MAC"):
            await near.receive_some(1)
    with pytest.raises(trio.BrokenResourceError, match="BAD_RECORD_MAC"):
        near.receive_nowait(1)


async def test_nothing_is_sent_after_a_fault() -> None:
    """A connection that is broken takes nothing."""
    near, far, _ = await shaken()
    await wire_of(far).send_some(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(trio.BrokenResourceError, match="BAD_RECORD_MAC"):
        await near.receive_some(1)
    with pytest.raises(trio.BrokenResourceError, match="TLS connection broken"):
        await near.send_some(b"x")


async def test_reset_within_the_handshake() -> None:
    """What breaks a socket is what the handshake raises."""
    here, there = (SocketWire(sock, "peer") for sock in tcp_pair())
    await there.receive_some(1)
    there.abort()
    with pytest.raises(ConnectionError):
        await over_tls(here, client_context(), server_side=False, server_hostname="localhost", close_timeout=1)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection; the first has said something."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        near.sendall(b"x")
        return near, server.accept()[0]


async def test_receive_nowait() -> None:
    """On a socket what is there is received at once."""
    async with connected(
        server={"ssl_context": server_context()},
        client={"ssl_context": client_context(), "server_hostname": "localhost"},
    ) as (near, far):
        await far.send(b"there")
        with trio.fail_after(5):
            while True:
                await trio.lowlevel.checkpoint()
                with suppress(trio.WouldBlock), near.received_nowait() as data:
                    assert data == b"there"
                    break


def wire_of(wire: TlsWire) -> Any:
    """Return the wire below."""
    return wire._below


async def test_two_want_to_feed() -> None:
    """Where a sender has to hear the peer while another task receives, both go on with what that one gets."""
    here, there = memory_stream_pair()
    server = TlsWire(wire_on(here), Tls(server_context(), server_side=True))
    client = TlsWire(wire_on(there), Tls(client_context(), server_side=False, server_hostname="localhost"))
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await client.receive_some(100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        nursery.start_soon(send, client, b"question")
        await wait_all_tasks_blocked()
        await server.shake_hands()
        assert await server.receive_some(100) == b"question"
        await send(server, b"answer")
    assert got == [b"answer"]


async def test_peer_that_hangs_up_without_a_cause() -> None:
    """A stream that breaks without telling why is a ConnectionAbortedError of the handshake."""
    here, there = memory_stream_pair()
    await there.aclose()
    with pytest.raises(ConnectionAbortedError, match="TLS handshake failed"):
        await over_tls(wire_on(here), client_context(), server_side=False, server_hostname="localhost", close_timeout=1)


async def test_name_that_is_none() -> None:
    """A name that cannot be one closes the wire as well."""
    here, there = memory_stream_pair()
    with pytest.raises(ValueError, match="label"):
        await over_tls(wire_on(here), client_context(), server_side=False, server_hostname="a..b", close_timeout=1)
    assert await there.receive_some() == b""


async def test_abandon() -> None:
    """It lets go of the wire below."""
    near, _, _ = await shaken()
    near.abandon()


async def test_room_and_delivery() -> None:
    """Both wait for the ciphertext first."""
    near, far, _ = await shaken()
    await near.wait_send_all_might_not_block()
    await near.send_some(b"x")
    await near.wait_delivered()
    assert await far.receive_some(10) == b"x"
