"""Handshakes: a line, so many bytes, a delimiter; and that nothing is lost or invented on the way."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from job import net
from job.net._streams.ends import delimited, exactly, one_line
from job.net._streams.stream import connection_of
from job.testing import MemoryTransport
from tests.net.pairs import connected


async def all_lines(stream: net.Stream, limit: int = 65536) -> list[bytes]:
    """Receive lines up to the end."""
    lines = []
    while (line := await stream.receive_line(limit=limit)) is not None:
        lines.append(line)
    return lines


@pytest.mark.parametrize("read_size", [1, 2, 3, 100])
async def test_lines(read_size: int, autojump_clock: MockClock) -> None:
    """A line ends with LF or CRLF, however it arrives; one may be empty, and a CR in the middle is part of it."""
    async with connected(MemoryTransport(), read_size=read_size) as (near, far):
        await near.send_all(b"one\ntwo\r\n\n\r\na\rb\nc\r\r\n")
        await near.send_eof()
        assert await all_lines(far) == [b"one", b"two", b"", b"", b"a\rb", b"c\r"]
        assert await far.receive_line() is None


@pytest.mark.parametrize("sent", [b"abcd\n", b"abcd\r\n"])
async def test_the_longest_line(sent: bytes, autojump_clock: MockClock) -> None:
    """The limit is that of the line, its end not counted; a longer one stays where it was."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(sent * 2)
        assert await far.receive_line(limit=4) == b"abcd"
        for _ in range(2):
            with pytest.raises(net.ProtocolError, match="a line of more than 3 bytes"):
                await far.receive_line(limit=3)
        assert await far.receive_line(limit=4) == b"abcd"


@pytest.mark.parametrize("sent", [b"abcd", b"abc\rd"])
async def test_a_line_that_is_too_long_is_not_waited_for(sent: bytes, autojump_clock: MockClock) -> None:
    """As soon as no end could make it short enough, it is too long."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(sent)
        with pytest.raises(net.ProtocolError), trio.fail_after(1):
            await far.receive_line(limit=3)


async def test_the_end_of_a_line_is_waited_for(autojump_clock: MockClock) -> None:
    """A CR behind the longest line may be the first half of its end."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(b"abc\r")
        with trio.move_on_after(1) as scope:
            await far.receive_line(limit=3)
        assert scope.cancelled_caught
        await near.send_all(b"\n")
        assert await far.receive_line(limit=3) == b"abc"


async def test_an_eof_in_a_line(autojump_clock: MockClock) -> None:
    """An end inside of a line is the peer's fault, and what came of the line stays in the stream."""
    async with connected(MemoryTransport()) as (near, far):
        await near.send_all(b"no end")
        await near.send_eof()
        for _ in range(2):
            with pytest.raises(net.ProtocolError, match="after 6 bytes of a line, before its end"):
                await far.receive_line()
        assert await far.receive_some() == b"no end"
        assert await far.receive_line() is None


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)])
async def test_limit_is_checked(limit: Any, error: type[Exception], autojump_clock: MockClock) -> None:
    """A wrong limit is refused at the call."""
    async with connected(MemoryTransport()) as (near, _):
        with pytest.raises(error, match=f"limit must be .*, got {limit!r}"):
            await near.receive_line(limit=limit)


HANDSHAKES: dict[str, Callable[[net.Stream], Awaitable[Any]]] = {
    "some": lambda stream: stream.receive_some(3),
    "exactly": lambda stream: stream.receive_exactly(4),
    "until": lambda stream: stream.receive_until(b"\n", limit=50),
    "line": lambda stream: stream.receive_line(limit=50),
}
each_way = pytest.mark.parametrize("way", HANDSHAKES)


@each_way
async def test_a_cancelled_one_loses_no_byte(way: str, autojump_clock: MockClock) -> None:
    """Cancelled at any moment, it leaves what had come before in the stream, in order."""
    async with connected(MemoryTransport(), read_size=2) as (near, far):
        await near.send_all(b"ab\ncd\nef\ngh\n")
        taken = b""
        for checkpoints in range(16):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def strike(after: int = checkpoints, scope: trio.CancelScope = scope) -> None:
                        for _ in range(after):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()

                    nursery.start_soon(strike)
                    got = await HANDSHAKES[way](far)
                    taken += got + b"\n" if way == "line" else got
                    nursery.cancel_scope.cancel()
        await near.send_eof()
        while rest := await far.receive_some():
            taken += rest
        assert taken == b"ab\ncd\nef\ngh\n"


@each_way
async def test_closed_meanwhile_is_no_eof(way: str, autojump_clock: MockClock) -> None:
    """A stream that another task closes under a receive is closed: an end that the peer did not say is none."""
    async with connected(MemoryTransport()) as (near, far):
        far.unread(b"abc\n")
        async with trio.open_nursery() as nursery:
            await near.send_eof()
            nursery.start_soon(far.aclose)
            with pytest.raises(trio.ClosedResourceError):
                for _ in range(3):
                    await HANDSHAKES[way](far)


async def test_taken_meanwhile_is_no_eof(autojump_clock: MockClock) -> None:
    """A receive whose bytes another task takes at its checkpoint waits for the next ones: nothing is no EOF."""
    got: list[bytes] = []

    async with connected(MemoryTransport()) as (near, far):

        async def receive() -> None:
            got.append(await far.receive_some())

        far.unread(b"a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.lowlevel.cancel_shielded_checkpoint()
            connection_of(far).take_unread()
            await wait_all_tasks_blocked()
            assert got == []
            await near.send_all(b"b")
    assert got in ([b"a"], [b"b"])


async def test_unread_meanwhile(autojump_clock: MockClock) -> None:
    """Bytes put back while a line is waited for come before those that arrive."""
    got: list[bytes | None] = []

    async with connected(MemoryTransport()) as (near, far):

        async def receive() -> None:
            got.append(await far.receive_line())

        async with trio.open_nursery() as nursery:
            await near.send_all(b"cd")
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            far.unread(b"ab\n")
            await near.send_all(b"\n")
        assert got == [b"ab"]
        assert await far.receive_line() == b"cd"


async def test_after_a_release(autojump_clock: MockClock) -> None:
    """A stream that was given back is closed for every call."""
    async with connected(MemoryTransport(), codec=net.frames.Codec(), max_idle=1) as (near, _):
        await near.release()
        for receive in (*HANDSHAKES.values(), lambda stream: stream.receive_exactly(0)):
            with pytest.raises(trio.ClosedResourceError):
                await receive(near)
        with pytest.raises(trio.ClosedResourceError):
            await near.send_eof()


# -- the floor below: where it ends, whatever the pieces


def feed(find: Any, pieces: list[bytes]) -> int | None:
    """Look after each piece, as an inbox does; return the end, or -1 where it can be none."""
    buffer, seen = bytearray(), 0
    for piece in pieces:
        buffer += piece
        try:
            if (end := find(buffer, seen)) is not None:
                return int(end)
        except net.ProtocolError:
            return -1
        seen = len(buffer)
    return None


@given(st.lists(st.text("a\r\n", max_size=4).map(str.encode), max_size=12), st.integers(1, 12))
def test_any_pieces(pieces: list[bytes], limit: int) -> None:
    """The end is where it would be if all had come at once, and a line is too long exactly if it is longer."""
    whole = b"".join(pieces)
    for delimiter in (b"\r\n", b"aa\n"):
        at = whole.find(delimiter)
        end = at + len(delimiter) if 0 <= at <= limit - len(delimiter) else -1 if len(whole) >= limit else None
        assert feed(delimited(delimiter, limit), pieces) == end
    assert feed(exactly(limit), pieces) == (limit if len(whole) >= limit else None)
    line, found, _ = whole.partition(b"\n")
    longest = len(line.removesuffix(b"\r"))
    fits = (len(line) + 1 if found else None) if longest <= limit else -1
    assert feed(one_line(limit), pieces) == fits


def test_linear_in_small_pieces() -> None:
    """What was searched in vain is not searched again, so that a peer that sends byte by byte costs no more than others."""
    looks: list[tuple[int, int]] = []

    class Watched(bytearray):
        """A buffer that tells where it is searched."""

        def find(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:
            looks.append((start, len(self)))
            return super().find(sub, start, end)

    for find in (delimited(b"\r\n", 1000), one_line(1000)):
        buffer = Watched()
        for seen in range(500):
            buffer += b"x"
            assert find(buffer, seen) is None
    assert max(size - start for start, size in looks) <= 2
