"""Frames: what is encoded comes out again however the bytes are cut, and what cannot be is refused early."""

import struct
import sys
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.net.frames import MAX_FRAME, Codec, Decoder, FrameError, ProtocolError, encode

TOO_LONG = struct.pack(">I", 11)

payloads = st.lists(st.binary(max_size=10), max_size=8)


@dataclass
class Point:
    """What a codec of a type carries."""

    x: int
    y: int


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Cut `data` anywhere, also into nothing."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def drain(decoder: Decoder, pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """Feed all pieces; return the payloads, and whether a frame was refused."""
    taken: list[bytes] = []
    try:
        for piece in [*pieces, b""]:
            taken += decoder.feed(piece)
    except FrameError:
        return taken, True
    return taken, False


def test_frame_layout() -> None:
    """A frame is the length in four bytes, big-endian, then the payload."""
    assert encode(b"hello") == b"\x00\x00\x00\x05hello"


def test_empty_payload() -> None:
    """A frame may be empty."""
    assert Decoder().feed(encode(b"")) == [b""]


@pytest.mark.parametrize("payload", [bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"abcd").cast("H")])
def test_encode_takes_any_bytes(payload: bytearray | memoryview) -> None:
    """Whatever holds bytes is carried; its length is counted in bytes, not in items."""
    assert encode(payload) == b"\x00\x00\x00\x04abcd"


def test_encode_refuses_too_long() -> None:
    """A payload up to max_frame passes, a longer one does not."""
    assert len(encode(bytes(10), max_frame=10)) == 14
    with pytest.raises(FrameError, match="11 bytes is longer than max_frame, 10"):
        encode(bytes(11), max_frame=10)


def test_default_limit() -> None:
    """Without another limit a payload has 1 MiB at most."""
    assert MAX_FRAME == 1024 * 1024
    assert len(encode(bytes(MAX_FRAME))) == MAX_FRAME + 4
    with pytest.raises(FrameError):
        encode(bytes(MAX_FRAME + 1))


@pytest.mark.parametrize("make", [partial(encode, b""), Decoder, Codec], ids=["encode", "Decoder", "Codec"])
def test_limit_is_checked(make: Any) -> None:
    """A limit is a whole number that a header can carry."""
    for wrong in (0, -1, 2**32):
        with pytest.raises(ValueError, match=f"max_frame must be 1 to 4294967295, got {wrong}"):
            make(max_frame=wrong)
    for wrong in (True, 1.5, "1"):
        with pytest.raises(TypeError, match=f"max_frame must be an int, got {wrong!r}"):
            make(max_frame=wrong)


def test_encode_refuses_text() -> None:
    """Text has no length in bytes before it is encoded."""
    with pytest.raises(TypeError, match="payload must be bytes, bytearray or memoryview, got 'hello'"):
        encode("hello")  # type: ignore[arg-type]


@given(st.data(), payloads)
def test_any_cut(data: st.DataObject, sent: list[bytes]) -> None:
    """Payloads come out whole and in order wherever the stream is cut."""
    decoder = Decoder(max_frame=10)
    assert drain(decoder, data.draw(cut(b"".join(map(encode, sent))))) == (sent, False)
    assert decoder.at_boundary
    decoder.close()


@given(st.data(), payloads, st.binary(max_size=10))
def test_any_cut_before_a_bad_header(data: st.DataObject, sent: list[bytes], rest: bytes) -> None:
    """The good frames before a bad header come out, and nothing after it, wherever the stream is cut."""
    decoder = Decoder(max_frame=10)
    pieces = data.draw(cut(b"".join(map(encode, sent)) + TOO_LONG + rest))
    assert drain(decoder, pieces) == (sent, True)


@given(st.data(), st.binary(max_size=200))
def test_any_bytes(data: st.DataObject, noise: bytes) -> None:
    """Whatever arrives, cutting it otherwise changes nothing."""
    assert drain(Decoder(max_frame=50), [noise]) == drain(Decoder(max_frame=50), data.draw(cut(noise)))


def test_good_frames_before_a_bad_header() -> None:
    """A feed that meets a bad header behind good frames gives those; the next call raises, and every one after it."""
    decoder = Decoder(max_frame=10)
    assert decoder.feed(encode(b"good") + TOO_LONG) == [b"good"]
    for _ in range(2):
        with pytest.raises(FrameError, match="11 bytes is longer than max_frame, 10"):
            decoder.feed(b"")


def test_bad_header_alone() -> None:
    """A bad header with nothing good before it raises at once: nothing more need arrive."""
    with pytest.raises(FrameError):
        Decoder(max_frame=10).feed(TOO_LONG)


def test_end_after_a_bad_header() -> None:
    """A bad header is no boundary, and the stream's end does not mend it."""
    decoder = Decoder(max_frame=10)
    decoder.feed(encode(b"good") + TOO_LONG)
    assert not decoder.at_boundary
    with pytest.raises(FrameError, match="longer than max_frame"):
        decoder.close()


def test_claims_are_not_allocated() -> None:
    """A header within the limit allocates nothing for what it claims, one beyond the limit neither."""
    tracemalloc.start()
    try:
        Decoder(max_frame=2**31).feed(struct.pack(">I", 2**30))
        with pytest.raises(FrameError):
            Decoder().feed(struct.pack(">I", 2**30))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [1, 3, 4, 8])
def test_close_inside_a_frame(length: int) -> None:
    """A stream that ends inside a frame has broken its protocol."""
    decoder = Decoder()
    decoder.feed(encode(b"hello")[:length])
    assert not decoder.at_boundary
    with pytest.raises(ProtocolError, match=f"{length} bytes after its start"):
        decoder.close()


def test_feed_refuses_what_is_no_bytes() -> None:
    """A list of numbers would pass for bytes in a bytearray; it does not here."""
    with pytest.raises(TypeError, match=r"data must be bytes, bytearray or memoryview, got \[1\]"):
        Decoder().feed([1])  # type: ignore[arg-type]


def count_lines(pieces: list[bytes]) -> int:
    """Feed the pieces and return how many lines of Python that took: work, measured without a clock."""
    decoder, lines = Decoder(max_frame=2**24), 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for piece in pieces:
            decoder.feed(piece)
    finally:
        sys.settrace(before)
    return lines


def test_linear_in_small_frames() -> None:
    """Ten times the frames in one feed cost ten times the work."""
    assert count_lines([encode(b"x") * 10_000]) < 11 * count_lines([encode(b"x") * 1_000])


def test_linear_in_small_feeds() -> None:
    """A large frame in ten times the pieces costs ten times the work."""
    frame = encode(bytes(100_000))
    few, many = ([frame[i : i + size] for i in range(0, len(frame), size)] for size in (1_000, 100))
    assert count_lines(many) < 11 * count_lines(few)


def test_codec_of_bytes() -> None:
    """Without a type a codec carries bytes as they are."""
    codec = Codec()
    assert codec.encode(b"hello") == b"hello"
    assert codec.decode(memoryview(b"hello")) == b"hello"
    assert (codec.type, codec.max_frame) == (bytes, MAX_FRAME)
    assert repr(codec) == "Codec(<class 'bytes'>, max_frame=1048576)"


def test_codec_of_a_type() -> None:
    """Any other type comes back as it went."""
    codec = Codec(Point)
    assert codec.decode(codec.encode(Point(1, 2))) == Point(1, 2)


def test_codec_of_a_union() -> None:
    """What is no class but a type to msgspec will do as well."""
    codec = Codec(int | list[str])
    assert codec.decode(codec.encode(["a"])) == ["a"]


@given(st.binary(max_size=20) | st.binary(max_size=20).map(bytearray) | st.binary(max_size=20).map(memoryview))
def test_codec_of_bytes_is_its_own_inverse(payload: bytes | bytearray | memoryview) -> None:
    """What was encoded decodes to itself, as bytes."""
    encoded = Codec().encode(payload)  # type: ignore[arg-type]
    assert type(encoded) is bytes
    assert Codec().decode(encoded) == bytes(payload)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_codec_is_its_own_inverse(value: Any) -> None:
    """What was encoded decodes to itself: the frame around it is not the codec's."""
    codec = Codec(Any)
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize(
    ("type", "payload"),
    [
        (Point, b"\x81\xa1x\x01"),
        (int, b"\xa3abc"),
        (int, b"\x01\x02"),
        (int, b""),
        (str, b"\xa2\xff\xfe"),
        (dict[Any, Any], b"\x81\x91\x80\x01"),
        (Any, b"\x91" * 100_000),
    ],
    ids=["field missing", "wrong type", "left over", "empty", "no text", "no key", "too deep"],
)
def test_payload_of_another_type(type: Any, payload: bytes) -> None:
    """A payload that does not decode to the type is the peer's fault."""
    with pytest.raises(ProtocolError, match=f"a payload of {len(payload)} bytes does not decode to"):
        Codec(type).decode(payload)


@given(st.binary(max_size=100), st.sampled_from([Any, dict[str, int], list[Point], str | None]))
def test_noise_is_a_protocol_error(noise: bytes, type: Any) -> None:
    """Whatever a peer sends, it decodes or is a ProtocolError."""
    with suppress(ProtocolError):
        Codec(type).decode(noise)


def test_codec_refuses_too_long() -> None:
    """A payload too long to send is refused by its encoded length."""
    codec = Codec(str, max_frame=10)
    assert codec.encode("x" * 9) == b"\xa9" + b"x" * 9
    with pytest.raises(FrameError):
        codec.encode("x" * 10)
    with pytest.raises(FrameError):
        Codec(max_frame=10).encode(bytes(11))


def test_codec_takes_payloads_only() -> None:
    """Text where bytes belong is a mistake of ours, on both sides, and not the peer's."""
    with pytest.raises(TypeError, match="payload must be bytes"):
        Codec().encode("hello")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="payload must be bytes"):
        Codec(str).decode("hello")  # type: ignore[arg-type]


def test_codec_never_pickles() -> None:
    """What MessagePack cannot carry is refused, not pickled."""
    with pytest.raises(TypeError, match="unsupported"):
        Codec(Any).encode(object())


def test_codec_refuses_what_is_no_type() -> None:
    """A wrong type is found when the codec is made."""
    with pytest.raises(TypeError, match="type must be bytes or a type that msgspec supports, got 5"):
        Codec(5)


def test_codec_without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, bytes work and any other type names what to install."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert Codec().encode(b"") == b""
    with pytest.raises(ImportError, match="needs msgspec: install the extra `net`"):
        Codec(str)
