"""The image balancer among those who mean it harm: clients that are after memory, backends that answer anything."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import trio
from PIL import Image

from examples.tcpbalancer import backend, images
from examples.tcpbalancer.connection import UnusableNameError, save_file
from examples.tcpbalancer.messages import CODEC, MAX_FILE, MAX_REASON, Message, Refused, Resize, Resized
from examples.tcpbalancer.program import ProgramError, printable
from examples.tcpbalancer.room import Room
from examples.tcpbalancer.scaling import scaled
from job import net
from tests.examples.programs import PATIENCE, connect, receive
from tests.examples.test_tcpbalancer import Start, client, encoded, only_line, start

__all__ = ["start"]

EXPENSIVE = 6200  # squared, just below the limit


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with three pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        Image.new("RGB", (40, 30)).save(folder / name)
    return folder


# -- clients that are after memory


def test_twenty_hostile_clients_cost_little(start: Start) -> None:
    """Requests that never end, small files that unpack to the limit, answers that nobody takes: less than 300 MB in all."""
    bomb = encoded(Image.new("RGBA", (EXPENSIVE, EXPENSIVE)), "PNG")
    unfinished = MAX_FILE.to_bytes(4) + bytes(MAX_FILE - 1)
    large = encoded(Image.effect_noise((100, 100), 80), "JPEG")
    requests = [framed(Resize(1, 10, 10, bomb))] * 4 + [framed(Resize(1, 4000, 4000, large))] * 12
    server = start("backend", "-p", 0)
    address = server.address()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(address)) for _ in range(20)]
        senders = []
        for each, data in zip(clients, [unfinished] * 2 + requests + [unfinished] * 2, strict=True):
            senders.append(threading.Thread(target=send, args=(each, data)))
            senders[-1].start()
        for each in clients[2:6]:
            assert isinstance(reply(each), Resized)
        assert peak_memory(server.process.pid) < 300 * 2**20
        for each in clients:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for sender in senders:
            sender.join()


def send(stream: socket.socket, data: bytes) -> None:
    """Send, for as long as the other side takes it."""
    with suppress(OSError):
        stream.sendall(data)


def peak_memory(pid: int) -> int:
    """Return the most bytes of memory that a process has had."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        pytest.skip("this system does not tell")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("size", "box"),
    [((6400, 6400), (10, 10)), ((1, 1), (6400, 6400)), ((4500, 4500), (4500, 4500))],
    ids=["before", "after", "together"],
)
def test_forty_megapixels(size: tuple[int, int], box: tuple[int, int]) -> None:
    """A picture that has more of them, together with what it shall become, is refused, in one line."""
    data = encoded(Image.new("1", size), "PNG")
    for refuses in (images.pixels, images.resize):
        with pytest.raises(images.BadImageError, match=r"cannot be read as an image: .*pixels"):
            refuses(data, *box)


def test_what_a_progressive_picture_takes() -> None:
    """All of it is kept until its last scan, so it counts in full; of an ordinary one most is left out."""
    size = (3000, 2000)
    plain, progressive = (encoded(Image.new("RGB", size), "JPEG", progressive=each) for each in (False, True))
    assert images.pixels(plain, 100, 100) < 200_000
    assert images.pixels(progressive, 100, 100) > 3000 * 2000 * 3 // 4
    colours = Image.new("CMYK", (5000, 5000))
    with pytest.raises(images.BadImageError, match="megapixels"):
        images.pixels(encoded(colours, "JPEG", progressive=True), 100, 100)


def test_an_answer_that_is_too_large() -> None:
    """It is refused where it is made, and says so."""
    with pytest.raises(images.BadImageError, match="resized, it is longer than 0 MiB"):
        images.resize(encoded(Image.effect_noise((300, 300), 90), "PNG"), 300, 300, most=1000)


async def test_a_slow_request_has_its_time(autojump_clock: trio.testing.MockClock) -> None:
    """Who begins a request and does not get on with it gives its room back."""
    with pytest.raises(net.ProtocolError, match="too slow"):
        await backend.in_time(forever())
    assert trio.current_time() == pytest.approx(backend.MOVE_WITHIN)


async def forever() -> None:
    """Never end."""
    await trio.sleep_forever()


async def test_room_is_given_in_the_order_of_asking(autojump_clock: trio.testing.MockClock) -> None:
    """One that needs much is not passed over by those who need little."""
    room, order = Room(10), []

    async def take(name: str, size: int) -> None:
        async with room.place(size):
            order.append(name)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for name, size in (("half", 5), ("all", 10), ("little", 1)):
            nursery.start_soon(take, name, size)
            await trio.sleep(0.1)
    assert order == ["half", "all", "little"]
    assert room.free == 10


async def test_room_that_was_waited_for_in_vain(autojump_clock: trio.testing.MockClock) -> None:
    """Who gives up while waiting leaves room and order as they were."""
    room = Room(1)
    async with room.place(1):
        with trio.move_on_after(1):
            async with room.place(1):
                raise AssertionError("there was no room")
    async with room.place(1):
        assert room.free == 0


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(101, 67), (299, 199), (700, 500), (1, 1)])
def test_strips_leave_no_seam(mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that is made in strips is the one that is made in one go."""
    image = Image.linear_gradient("L").resize((300, 200)).convert(mode)
    whole = scaled(image, size)
    monkeypatch.setattr("examples.tcpbalancer.scaling.STRIP", 5000)
    strips = scaled(image, size)
    assert (strips.size, strips.mode) == (size, whole.mode)
    assert most_different(strips, whole) <= 1


def most_different(one: Image.Image, other: Image.Image) -> int:
    """Return how far a sample of one is from that of the other, at most."""
    return max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True))


# -- backends that answer anything


def test_an_answer_to_what_was_not_sent(pictures: Path) -> None:
    """It breaks the connection and counts for nothing."""
    with answering(lambda stream: stream.sendall(framed(Refused(9, "b", "no")))) as address:
        code, text, errors = client(address, pictures, "--dry-run")
    assert code == 1
    assert "0 of 3 requests" in text
    assert "0 failed" in text
    assert "gives no answers" in only_line(errors)


def test_answers_before_there_was_a_question(pictures: Path) -> None:
    """A backend that guesses the numbers of the requests does not keep the client from its end."""
    early = framed(Refused(1, "b", "no")) + framed(Resized(2, "b", b"x")) + framed(Resized(1, "b", b"x"))
    with answering(lambda stream: stream.sendall(early)) as address:
        code, text, _ = client(address, pictures, "--dry-run")
    assert code == 1
    assert "of 3 requests in" in text


def test_an_answer_that_comes_twice(pictures: Path, tmp_path: Path) -> None:
    """The second one counts for nothing."""

    def twice(stream: socket.socket) -> None:
        while (request := requested(stream)) is not None:
            stream.sendall(2 * framed(Resized(request.id, "b", b"x")))

    with answering(twice) as address:
        _, text, _ = client(address, pictures, "--output", tmp_path / "out")
    assert "3 of 3 requests" in text
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_escape_codes_are_not_printed(pictures: Path) -> None:
    """What a backend calls itself, and why it refuses, comes to the terminal as text."""

    def paint(stream: socket.socket) -> None:
        while (request := requested(stream)) is not None:
            answer = Refused if request.id == 1 else Resized
            stream.sendall(
                framed(answer(request.id, "\x1b[31mred", "\x1b]0;title\x07\n" if answer is Refused else b"x"))
            )

    with answering(paint) as address:
        _, text, errors = client(address, pictures, "--dry-run", "--minconns", 1, "--maxconns", 1)
    assert "\x1b" not in text + errors
    assert "  \\x1b[31mred: 2" in text
    assert only_line(errors).endswith("a.jpg: \\x1b]0;title\\x07\\n")


def test_texts_of_a_backend_are_bounded() -> None:
    """A reason of a megabyte is no message."""
    with pytest.raises(net.ProtocolError):
        CODEC.decode(framed(Refused(1, "b", "x" * (MAX_REASON + 1)))[4:])


def test_printable() -> None:
    """Letters of all countries stay, what moves the cursor does not."""
    assert printable("Zoë, 猫\r\x9b2J\u202e") == "Zoë, 猫\\r\\x9b2J\\u202e"


# -- a disk that takes no more


def test_a_full_disk_leaves_no_part(tmp_path: Path) -> None:
    """What could not be written whole is removed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ProgramError, match=r"cannot save .*a\.jpg: File too large"):
            save_file(tmp_path / "a.jpg", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_cannot_be_saved_by(tmp_path: Path) -> None:
    """A name that is too long is the fault of one file; the others go on."""
    with pytest.raises(UnusableNameError, match="File name too long"):
        save_file(tmp_path / ("a" * 300), b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnusableNameError, match="Is a directory"):
        save_file(tmp_path / "folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


# -- helpers


def framed(message: Message) -> bytes:
    """Return the frame of a message."""
    return net.frames.encode(CODEC.encode(message), max_frame=2 * MAX_FILE)


def reply(stream: socket.socket) -> Message:
    """Receive one message."""
    size = int.from_bytes(receive(stream, 4))
    message: Message = CODEC.decode(receive(stream, size))
    return message


def requested(stream: socket.socket) -> Resize | None:
    """Receive one request; None at the end of the connection."""
    header = receive(stream, 4)
    if len(header) < 4:
        return None
    message = CODEC.decode(receive(stream, int.from_bytes(header)))
    assert isinstance(message, Resize)
    return message


@contextmanager
def answering(handler: Callable[[socket.socket], None]) -> Iterator[str]:
    """Be a balancer whose backend does as it likes with each connection, for the length of the block."""

    def handle(stream: socket.socket) -> None:
        with stream, suppress(OSError):
            stream.settimeout(PATIENCE)
            handler(stream)
            while stream.recv(65536):
                pass

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
