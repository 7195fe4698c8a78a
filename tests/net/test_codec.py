"""A codec of one's own: what it needs, and what becomes of what it raises."""

import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import job
from job import net
from job.net import frames
from job.net._streams.codec import Framing
from job.testing import MemoryTransport
from tests.net.pairs import connected


class Json:
    """A codec with what is needed, and no more."""

    def encode(self, payload: Any) -> bytes:
        """Write JSON."""
        return json.dumps(payload).encode()

    def decode(self, data: bytes) -> Any:
        """Read JSON."""
        return json.loads(data)


class Short(Json):
    """One that knows how long a payload may be."""

    max_frame = 10


class Failing(Json):
    """One that raises at every payload."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def encode(self, payload: Any) -> bytes:
        """Fail."""
        raise self.error

    def decode(self, data: bytes) -> Any:
        """Fail."""
        raise self.error


class UnspeakableError(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


def over(codec: Any) -> Any:
    """Connect two streams in memory, both with this codec."""
    return connected(MemoryTransport(), codec=codec)


async def receive(stream: net.Stream) -> Any:
    """Receive one payload."""
    async with stream.received() as payload:
        return payload


async def test_encode_and_decode_are_enough(autojump_clock: MockClock) -> None:
    """The frames are the stream's: a header of four bytes before what encode returns, and none in what decode is given."""
    async with over(Json()) as (near, far):
        assert await near.send({"a": 1}) == 4 + 8
        assert far.bytes_received == 0
        assert await far.receive_some() == b'\0\0\0\x08{"a": 1}'
        await far.send_all(b"\0\0\0\x01" + b"1" + b"\0\0\0\x01" + b"2")
        assert [await receive(near), await receive(near)] == [1, 2]


async def test_module_or_class_with_functions(autojump_clock: MockClock) -> None:
    """Anything that has the two functions is a codec, a class that is never instantiated as well."""

    class Text:
        encode = staticmethod(str.encode)
        decode = staticmethod(bytes.decode)

    async with over(Text) as (near, far):
        await near.send("text")
        assert await receive(far) == "text"


async def test_a_limit_of_its_own(autojump_clock: MockClock) -> None:
    """Where a codec has a max_frame, it counts both ways; nothing is written of what is too long."""
    async with over(Short()) as (near, far):
        await near.send("x" * 8)
        assert await receive(far) == "x" * 8
        with pytest.raises(net.FrameError, match="a payload of 11 bytes is longer than max_frame, 10"):
            await near.send("x" * 9)
        assert near.bytes_sent == 14
        await near.send_all(frames.encode(bytes(11)))
        with pytest.raises(net.FrameError, match="a frame of 11 bytes is longer than max_frame, 10"):
            await receive(far)


async def test_without_a_limit_it_is_a_mebibyte(autojump_clock: MockClock) -> None:
    """A codec that says nothing of it has the limit of `frames`."""
    async with over(Json()) as (near, _):
        with pytest.raises(net.FrameError, match="longer than max_frame, 1048576"):
            await near.send("x" * frames.MAX_FRAME)


class Async(Json):
    """One that cannot be called from `send`."""

    async def encode(self, payload: Any) -> bytes:  # type: ignore[override]
        """Be too late."""
        return b""


class Boundless(Json):
    """One whose limit is none."""

    max_frame = None


@pytest.mark.parametrize(
    ("codec", "error", "message"),
    [
        (5, TypeError, "codec must have the methods encode and decode, or be None, got 5"),
        (Json, TypeError, "codec must have a function encode of one argument, got .*missing a required argument"),
        (Async(), TypeError, "codec must have a plain function encode, got the coroutine function"),
        (Boundless(), TypeError, "max_frame of codec must be an int, got None"),
        (type("Zero", (Json,), {"max_frame": 0})(), ValueError, "max_frame of codec must be 1 to 4294967295, got 0"),
    ],
)
async def test_what_passes_works(codec: Any, error: type[Exception], message: str, autojump_clock: MockClock) -> None:
    """What cannot serve is refused where it is handed in, an endpoint's option or a stream's codec, not at a message."""
    with pytest.raises(error, match=message):
        net.Endpoint("server:80", codec=codec)
    async with connected(MemoryTransport(), codec=Json()) as (near, far):
        with pytest.raises(error, match=message):
            near.codec = codec
        await near.send("as before")
        assert await receive(far) == "as before"


async def test_functions_that_do_not_tell(autojump_clock: MockClock) -> None:
    """A function of C may not say what arguments it takes; it is believed."""

    class Silent:
        encode = staticmethod(bytes)
        decode = staticmethod(type)

    async with over(Silent) as (near, far):
        await near.send(b"x")
        assert await receive(far) is bytes


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
        KeyError(1),
        OSError(5, "no"),
        UnspeakableError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_payload_that_does_not_decode(error: Exception, autojump_clock: MockClock) -> None:
    """Whatever Exception a decode raises, the peer's bytes were the cause: a ProtocolError, each time it is looked at."""
    async with over(Failing(error)) as (near, far):
        await near.send_all(frames.encode(b"abc"))
        for _ in range(2):
            with pytest.raises(net.ProtocolError, match="a payload of 3 bytes does not decode: ") as caught:
                await receive(far)
            assert caught.value.__cause__ is error
        assert await far.receive_some() == frames.encode(b"abc")


async def test_a_protocol_error_of_its_own(autojump_clock: MockClock) -> None:
    """A ProtocolError of the codec stands, with what it says."""
    error = net.ProtocolError("an unknown verb")
    async with over(Failing(error)) as (near, far):
        await near.send_all(frames.encode(b"abc"))
        with pytest.raises(net.ProtocolError) as caught:
            await receive(far)
    assert caught.value is error


@pytest.mark.parametrize("error", [KeyError("bug"), SystemExit(3)])
async def test_a_payload_that_does_not_encode(error: BaseException, autojump_clock: MockClock) -> None:
    """What encode raises comes out of `send` as it is, nothing is written, and the next message goes."""
    async with over(Json()) as (near, far):
        near.codec = Failing(error)
        with pytest.raises(type(error)) as caught:
            await near.send("x")
        assert caught.value is error
        near.codec = Json()
        await near.send("y")
        assert await receive(far) == "y"


async def test_encode_without_bytes(autojump_clock: MockClock) -> None:
    """An encode that gives no bytes is a mistake of ours; nothing is written."""
    wrong: Any = type("Wrong", (Json,), {"encode": lambda self, payload: "text"})()
    async with over(wrong) as (near, _):
        with pytest.raises(
            TypeError, match=r"what codec\.encode returns must be bytes, bytearray or memoryview, got 'text'"
        ):
            await near.send("x")
        assert near.bytes_sent == 0


async def test_a_decode_that_exits(autojump_clock: MockClock) -> None:
    """What is no Exception goes on unchanged, the message stays, and the stream works as before."""
    async with over(Json()) as (near, far):
        await near.send("x")
        far.codec = Failing(SystemExit(3))
        for _ in range(2):
            with pytest.raises(SystemExit):
                await receive(far)
        with pytest.raises(SystemExit), far.received_nowait():
            pass
        far.codec = Json()
        assert await receive(far) == "x"


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
async def test_a_read_task_whose_codec_fails(error: BaseException, autojump_clock: MockClock) -> None:
    """The job of the connection ends, by the peer's fault or by what went through; nothing waits for ever."""
    async with over(Failing(error)) as (near, far):
        j = job.Job(far)
        j.add_task(net.read_task)
        await near.send_all(frames.encode(b"abc"))
        with pytest.raises((net.ProtocolError, SystemExit)), trio.fail_after(1):
            await j.run()
    assert net.end_reason(j) is (
        net.EndReason.PROTOCOL_ERROR if isinstance(error, ValueError) else net.EndReason.PROXY_ERROR
    )


@given(st.lists(st.binary(max_size=8), max_size=6), st.binary(max_size=6))
def test_a_stream_cuts_as_a_decoder_does(payloads: list[bytes], rest: bytes) -> None:
    """The messages of a stream are those that a Decoder of the same limit gives for the same bytes, errors included."""
    data = b"".join(map(frames.encode, payloads)) + rest
    framing, decoder = Framing(frames.Codec(max_frame=6)), frames.Decoder(max_frame=6)
    buffer, cut, cut_bad = bytearray(data), [], False
    try:
        while (message := framing.cut(buffer)) is not None:
            cut.append(message[1])
            del buffer[: message[0]]
    except net.FrameError:
        cut_bad = True
    fed, fed_bad = [], False
    try:
        fed += decoder.feed(data)
        decoder.feed(b"")
    except net.FrameError:
        fed_bad = True
    assert (cut, cut_bad) == (fed, fed_bad)
