"""A wire on a stream that cannot half-close: its EOF is sent when the other direction has ended."""

from __future__ import annotations

import trio
from trio.testing import MockClock, memory_stream_pair

from job.net._streams.stream_wire import StreamWire
from tests.net.certificates import client_context, server_context


class OneWay(trio.abc.Stream):
    """A stream of a program's own that has no `send_eof`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive."""
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


def wire_on(stream: trio.abc.Stream) -> StreamWire:
    """Return a wire on a stream."""
    return StreamWire(stream, local="here", peer="there", close_timeout=1)


async def shaken() -> tuple[trio.SSLStream[trio.abc.Stream], trio.SSLStream[trio.abc.Stream]]:
    """Return both ends of a connection by trio's own TLS."""
    here, there = memory_stream_pair()
    near = trio.SSLStream[trio.abc.Stream](here, server_context(), server_side=True)
    far = trio.SSLStream[trio.abc.Stream](there, client_context(), server_hostname="localhost")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.do_handshake)
        nursery.start_soon(far.do_handshake)
    return near, far


async def test_eof_waits_for_the_other_direction(autojump_clock: MockClock) -> None:
    """As long as the peer may send, an EOF is kept back; then it is the close of the stream."""
    here, there = memory_stream_pair()
    near = wire_on(OneWay(here))
    assert not near.half_closes
    await near.send_eof()
    with trio.move_on_after(1) as patience:
        await there.receive_some()
    assert patience.cancelled_caught
    await there.send_eof()
    assert await near.receive_some(1) == b""
    assert await there.receive_some() == b""


async def test_eof_after_the_other_direction() -> None:
    """Where the peer has ended already it is sent at once."""
    here, there = memory_stream_pair()
    near = wire_on(OneWay(here))
    await there.send_eof()
    assert await near.receive_some(1) == b""
    assert (await near.receive_some(1), near.receive_nowait(1)) == (b"", b"")
    await near.send_eof()
    assert await there.receive_some() == b""


async def test_eof_over_trios_tls() -> None:
    """Over trio's TLS it is close_notify, sent once the peer's has come."""
    stream, there = await shaken()
    near = wire_on(stream)
    await near.send_eof()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.unwrap)
        assert await near.receive_some(1) == b""


async def test_eof_to_a_peer_that_has_gone() -> None:
    """It is not missed: the peer has said its own EOF, and reads no more."""
    stream, there = await shaken()
    near = wire_on(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.aclose)
        assert await near.receive_some(1) == b""
    await near.send_eof()
    assert near.eof
