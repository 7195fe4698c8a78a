"""The image balancer as its users meet it: processes on loopback, signals, exit codes, files."""

from __future__ import annotations

import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from examples.tcpbalancer import images
from examples.tcpbalancer.__main__ import main
from examples.tcpbalancer.options import parse
from examples.tcpbalancer.work import TRIES, Report, Work
from tests.examples.programs import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
SIZES = {"wide.jpg": (400, 100), "tall.JPEG": (90, 300), "small.png": (20, 30), "square.png": (256, 256)}


class Running:
    """One program that has been started."""

    def __init__(self, *arguments: object) -> None:
        self._address = ""
        self.process = subprocess.Popen(
            command(*arguments),
            bufsize=0,  # so that no line hides from select
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def line(self) -> str:
        """Return the next line on stdout; each comes in one piece, so looking for its first byte is enough."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE)[0], "the program says nothing"
        return self.process.stdout.readline().decode().rstrip()

    def address(self) -> str:
        """Return where a server listens, which it says in its first line."""
        if not self._address:
            word, _, self._address = self.line().partition(" ")
            assert word == "listening"
        return self._address

    def end(self, number: int | None = None, *, within: float = PATIENCE) -> tuple[int, str, str]:
        """Send a signal, if any, and return exit code, stdout and stderr."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=within)
        return self.process.returncode, out.decode(), err.decode()


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start programs, and leave none behind."""
    yield from starter()


@pytest.fixture(scope="module")
def start_once() -> Iterator[Start]:
    """Start programs that many tests use."""
    yield from starter()


@pytest.fixture(scope="module")
def backends(start_once: Start) -> list[Running]:
    """Return two backends that no test stops."""
    return [start_once("backend", "-p", 0, "--name", name) for name in ("b1", "b2")]


@pytest.fixture(scope="module")
def balancer(start_once: Start, backends: list[Running]) -> str:
    """Return the address of a balancer with two backends."""
    return start_once("proxy", "-p", 0, *upstreams(backends)).address()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with four pictures, and a file that is none and does not claim to be."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, size in SIZES.items():
        Image.linear_gradient("L").resize(size).convert("RGB").save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


# -- the work


def test_every_picture_comes_back_resized(balancer: str, pictures: Path, tmp_path: Path) -> None:
    """Each answer keeps stem and format, fits the box, keeps the proportions and reaches one side; small ones grow."""
    out = tmp_path / "out"
    code, text, errors = client(balancer, pictures, "--output", out, "-w", 120, "-H", 60)
    assert (code, errors) == (0, "")
    assert "4 of 4 requests" in text
    assert {path.name: format_and_size(path) for path in out.iterdir()} == {
        "wide-120x60.jpg": ("JPEG", (120, 30)),
        "tall-120x60.JPEG": ("JPEG", (18, 60)),
        "small-120x60.png": ("PNG", (40, 60)),
        "square-120x60.png": ("PNG", (60, 60)),
    }


def test_times_sends_each_picture_so_often(balancer: str, pictures: Path, tmp_path: Path) -> None:
    """With --times 3 each picture is saved three times, under three names, and nothing else is in the folder."""
    out = tmp_path / "out"
    assert client(balancer, pictures, "--output", out, "--times", 3)[0] == 0
    expected = [images.output_name(Path(name), (200, 200), turn) for name in SIZES for turn in (1, 2, 3)]
    assert sorted(path.name for path in out.iterdir()) == sorted(expected)


def test_dry_run_saves_nothing(balancer: str, pictures: Path, tmp_path: Path) -> None:
    """--dry-run counts the answers and leaves no file."""
    code, text, _ = client(balancer, pictures, "--dry-run", "--output", tmp_path / "out")
    assert code == 0
    assert "4 of 4 requests" in text
    assert not (tmp_path / "out").exists()


def test_two_hundred_connections(balancer: str, pictures: Path, start: Start) -> None:
    """Two hundred connections at once, and not one failure."""
    running = start(*client_arguments(balancer, pictures, "--dry-run", "--json", "--times", 300, *connections(200)))
    reports = reports_of(running)
    assert max(report.connections for report in reports) == 200
    last = reports[-1]
    assert (last.done, last.failed, last.lost_connections, last.retried) == (1200, 0, 0, 0)
    assert running.end()[0] == 0


def test_more_connections_than_the_balancer_takes(backends: list[Running], pictures: Path, start: Start) -> None:
    """Connections beyond --maxconns wait for their turn; every picture comes back all the same."""
    proxy = start("proxy", "-p", 0, *upstreams(backends), "--maxconns", 4)
    code, text, _ = client(proxy.address(), pictures, "--dry-run", "--times", 25, *connections(8))
    assert code == 0
    assert "100 of 100 requests" in text
    assert "0 failed, 0 connections lost" in text


# -- backends that go


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_backend_that_goes_loses_no_picture(number: int, pictures: Path, tmp_path: Path, start: Start) -> None:
    """Whether a backend is killed or asked to stop under load, all pictures come back, each once."""
    backends = [start("backend", "-p", 0, "--name", name) for name in ("b1", "b2")]
    proxy = start("proxy", "-p", 0, *upstreams(backends))
    out = tmp_path / "out"
    running = start(*client_arguments(proxy.address(), pictures, "--json", "--output", out, "--times", 100))
    while decoded(running.line()).done < 40:
        pass
    ended = backends[0].end(number)
    last = reports_of(running)[-1]
    assert (last.done, last.failed) == (400, 0)
    assert set(last.backends) == {"b1", "b2"}
    assert len(list(out.iterdir())) == 400
    assert running.end()[0] == 0
    assert ended[0] == (0 if number == signal.SIGTERM else -signal.SIGKILL)


def test_a_backend_that_hangs_up_on_everybody(backends: list[Running], pictures: Path, start: Start) -> None:
    """One that takes connections and closes them costs time and no picture, as long as another one answers."""
    with socket.create_server(("127.0.0.1", 0)) as rude, ExitStack() as stack:
        threading.Thread(target=hang_up_on_everybody, args=(rude,)).start()
        stack.callback(rude.shutdown, socket.SHUT_RDWR)
        address = "{}:{}".format(*rude.getsockname())
        proxy = start("proxy", "-p", 0, *upstreams(backends[:1]), "-u", address)
        code, text, errors = client(proxy.address(), pictures, "--dry-run", "--times", 25)
    assert (code, errors) == (0, "")
    assert "100 of 100 requests" in text


def test_a_backend_that_is_not_there(backends: list[Running], pictures: Path, start: Start) -> None:
    """The balancer names a missing backend in one line, and the others do its work."""
    missing = f"localhost:{free_port()}"
    proxy = start("proxy", "-p", 0, *upstreams(backends), "-u", missing)
    code, text, _ = client(proxy.address(), pictures, "--dry-run", "--times", 10)
    assert code == 0
    assert "40 of 40 requests" in text
    code, _, errors = proxy.end(signal.SIGTERM)
    assert code == 0
    line = only_line(errors)
    assert all(part in line for part in ("upstream.down", missing, "Connection refused"))


def test_no_backend_at_all(pictures: Path, start: Start) -> None:
    """Where no backend is up the client gives up, says so in one line and counts no request."""
    proxy = start("proxy", "-p", 0, "-u", f"localhost:{free_port()}")
    address = proxy.address()
    code, text, errors = client(address, pictures, "--dry-run")
    assert code == 1
    assert "0 of 4 requests" in text
    assert only_line(errors).startswith(f"error: the balancer at {address} gives no answers (is a backend up?)")


# -- stopping


def test_servers_stop_at_a_signal(start: Start) -> None:
    """Balancer and backend exit 0 soon after SIGINT or SIGTERM, although a connection is open that says nothing."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    backends = [start("backend", "-p", 0) for _ in numbers]
    proxies = [start("proxy", "-p", 0, *upstreams([backend])) for backend in backends]
    with ExitStack() as idle:
        for server in (*backends, *proxies):
            idle.enter_context(connect(server.address()))
        time.sleep(0.2)  # so that all have their connection
        for server, number in zip((*backends, *proxies), numbers * 2, strict=True):
            server.process.send_signal(number)
        assert [server.end(within=15)[0] for server in (*backends, *proxies)] == [0, 0, 0, 0]


def test_an_interrupted_client_has_not_done_its_work(balancer: str, pictures: Path, start: Start) -> None:
    """SIGINT stops the client at once, with its figures and an exit code that is not 0."""
    running = start(*client_arguments(balancer, pictures, "--dry-run", "--times", 100_000))
    running.line()
    code, text, errors = running.end(signal.SIGINT, within=5)
    assert (code, errors) == (1, "")
    assert "of 400000 requests in" in text


# -- what can go wrong


def test_one_bad_file_among_good_ones(balancer: str, pictures: Path, tmp_path: Path) -> None:
    """The good ones are saved, each bad one is named in one line, and the exit code is not 0."""
    (pictures / "liar.jpg").write_text("no picture")
    (pictures / "cut.png").write_bytes((pictures / "square.png").read_bytes()[:200])
    (pictures / "gone.jpg").symlink_to(pictures / "nowhere")
    os.mkfifo(pictures / "pipe.jpg")
    code, text, errors = client(balancer, pictures, "--output", tmp_path / "out", "--times", 2)
    assert code == 1
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(SIZES)
    assert "8 of 16 requests" in text
    assert "8 failed, 0 connections lost" in text
    cut, gone, liar, pipe = sorted(errors.splitlines())
    assert cut.startswith(f"error: {pictures / 'cut.png'}: it cannot be read as an image")
    assert gone == f"error: {pictures / 'gone.jpg'}: cannot be read: No such file or directory"
    assert liar == f"error: {pictures / 'liar.jpg'}: it is no JPEG or PNG image"
    assert pipe == f"error: {pictures / 'pipe.jpg'}: cannot be read: it is no regular file"


@pytest.mark.parametrize(
    ("folder", "options", "complaint"),
    [
        ("", ["--dry-run"], "no JPEG or PNG images in {}"),
        ("/none", ["--dry-run"], "cannot list {}/none: No such file or directory"),
        ("/pictures", ["--output", "/dev/null"], "cannot make the folder /dev/null: File exists"),
    ],
)
def test_nothing_to_do(
    folder: str, options: list[str], complaint: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without pictures, none at all, and an output that is no folder: one line each, and exit code 1."""
    line = client_arguments("127.0.0.1:1", Path(f"{pictures.parent}{folder}"), *options)
    assert main([str(each) for each in line]) == 1
    assert capsys.readouterr() == ("", f"error: {complaint.format(pictures.parent)}\n")


def test_garbage(backends: list[Running], balancer: str, pictures: Path) -> None:
    """Who sends what is no request, or half of one, is disconnecteded, and the others are served as before."""
    for address in (balancer, backends[0].address()):
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, b"\0\0\0\x05abc", b""):
            with connect(address) as stream:
                stream.sendall(data)
                stream.shutdown(socket.SHUT_WR)
                assert stream.recv(1) == b""
    code, text, errors = client(balancer, pictures, "--dry-run")
    assert (code, errors) == (0, "")
    assert "4 of 4 requests" in text


def test_no_balancer(pictures: Path) -> None:
    """A missing balancer is named with its address, and no request is counted."""
    address = f"localhost:{free_port()}"
    code, text, errors = client(address, pictures, "--dry-run")
    assert code == 1
    assert "0 of 4 requests" in text
    assert errors == f"error: no balancer at {address}: Connection refused\n"


@pytest.mark.parametrize("server", [["backend"], ["proxy", "-u", "127.0.0.1:1"]])
def test_port_in_use(server: list[str], start: Start) -> None:
    """A server whose port is taken names it in one line and exits with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, errors = start(*server, "-p", port).end()
    assert (code, out) == (1, "")
    assert errors == f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "required: PROGRAM"),
        ("paint", "invalid choice: 'paint'"),
        ("backend", "required: -p/--port"),
        ("backend -p 70000", "expected a whole number from 0 to 65535, got '70000'"),
        ("backend -p 0 --threads 0", "expected a whole number of 1 or more, got '0'"),
        ("proxy -p 0", "required: -u/--upstream"),
        ("proxy -p 0 -u nowhere", "expected host:port, got 'nowhere'"),
        ("proxy -p 0 -u a:1 -u a:1", "an --upstream is given twice"),
        ("client --proxy a:1 --input .", "--output is needed"),
        ("client --proxy a:1 --input . --dry-run -w 0", "expected a whole number from 1 to 10000, got '0'"),
        ("client --proxy a:1 --input . --dry-run --minconns 9 --maxconns 3", "--minconns 9 is more than --maxconns 3"),
        ("client --proxy a:1 --input . --dry-run --loglevel 3", "--loglevel: invalid choice: 3"),
        ("client --proxy a:1 --input . --dry-run --fast", "unrecognized arguments: --fast"),
    ],
)
def test_wrong_usage(line: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option is named on stderr, and the exit code is 2."""
    with pytest.raises(SystemExit) as exit_info:
        parse(line.split(), backend=int, proxy=int, client=int, demo=int)
    assert exit_info.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "bounds"),
    [("", (8, 15)), ("--maxconns 3", (3, 3)), ("--minconns 40", (40, 40)), ("--minconns 2", (2, 15))],
)
def test_one_bound_for_connections_gives_the_other(given: str, bounds: tuple[int, int]) -> None:
    """Who gives only one of --minconns and --maxconns need not know the default of the other."""
    line = f"client --proxy a:1 --input . --dry-run {given}"
    options = parse(line.split(), backend=int, proxy=int, client=int, demo=int)
    assert (options.minconns, options.maxconns) == bounds


# -- the demo


def test_demo(pictures: Path, tmp_path: Path, start: Start) -> None:
    """All pictures come back although a backend is killed; table, contact sheet and resized pictures are there."""
    out = tmp_path / "demo"
    out.mkdir()
    (out / "earlier-200x200.png").touch()
    code, text, errors = start("demo", "--images", pictures, "--output", out, "--times", 60).end()
    assert (code, errors) == (0, "")
    assert "SIGKILL for b2" in text
    assert "240 of 240" in text
    assert len(list(out.glob("*-200x200*"))) == 240
    assert format_and_size(out / "contact-sheet.png")[0] == "PNG"


def test_demo_with_a_bad_picture(pictures: Path, tmp_path: Path, start: Start) -> None:
    """A picture that does not come back makes the demo fail, and is named."""
    (pictures / "liar.jpg").write_text("no picture")
    code, text, errors = start("demo", "--images", pictures, "--output", tmp_path / "demo", "--times", 1).end()
    assert code == 1
    assert "liar.jpg: it is no JPEG or PNG image" in text
    assert "liar-200x200.jpg: is missing" in errors


# -- the parts without sockets


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_can_be_resized(mode: str) -> None:
    """Palettes, single bits, transparency and 16 bits all come out as PNG of the right size."""
    with Image.open(io.BytesIO(images.resize(encoded(Image.new(mode, (300, 200)), "PNG"), 90, 90))) as small:
        assert (small.format, small.size) == ("PNG", (90, 60))


def test_a_transparent_colour_stays_transparent() -> None:
    """A PNG whose transparency is one colour of its palette is still transparent there."""
    data = encoded(Image.new("P", (30, 30), 0), "PNG", transparency=0)
    with Image.open(io.BytesIO(images.resize(data, 10, 10))) as small:
        assert small.convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize(("orientation", "size"), [(0, (90, 60)), (3, (90, 60)), (6, (60, 90)), (9, (90, 60))])
def test_a_photograph_is_turned_upright(orientation: int, size: tuple[int, int]) -> None:
    """EXIF says how the camera was held, if it is one of eight ways; the resized picture needs no such note."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(
        io.BytesIO(images.resize(encoded(Image.new("RGB", (300, 200)), "JPEG", exif=exif), 90, 90))
    ) as small:
        assert small.size == size
        assert not small.getexif()


@pytest.mark.parametrize(
    ("size", "box", "fitted"),
    [((400, 100), (120, 60), (120, 30)), ((20, 30), (60, 60), (40, 60)), ((5000, 1), (200, 200), (200, 1))],
)
def test_fitted_size(size: tuple[int, int], box: tuple[int, int], fitted: tuple[int, int]) -> None:
    """The larger picture that fits, never thinner than a pixel."""
    assert images.fitted_size(size, box) == fitted


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    """A small file can unpack to gigabytes; the backend does not try."""
    data = encoded(Image.new("1", (12_000, 12_000)), "PNG")
    with pytest.raises(images.BadImageError, match="cannot be read"):
        images.resize(data, 10, 10)


async def test_work_given_back_is_taken_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A picture whose connections end, while others get answers, is given up after some tries, and named."""
    work = Work([Path("a.jpg"), *(Path(f"other-{number}.jpg") for number in range(TRIES))], times=1)
    for _ in range(TRIES):
        picture = await work.take()
        other = await work.take()
        assert picture is not None
        assert other is not None
        work.answered("b1", sent=1, received=1)
        work.give_back([picture])
        work.waiting.rotate()
    assert await work.take() is None
    report = work.report()
    assert (report.done, report.failed, report.retried, report.complete) == (TRIES, 1, TRIES - 1, False)
    assert capsys.readouterr().err.startswith("error: a.jpg: no answer")


async def test_a_picture_is_no_suspect_where_nobody_gets_an_answer() -> None:
    """As long as there is no backend at all, pictures go back to the list however often that happens."""
    work = Work([Path("a.jpg")])
    for _ in range(3 * TRIES):
        picture = await work.take()
        assert picture is not None
        work.give_back([picture])
    assert not work.over


async def test_a_bad_file_is_given_up_in_all_its_turns(capsys: pytest.CaptureFixture[str]) -> None:
    """Once a file is known to be bad, nobody asks for it again."""
    work = Work([Path("bad.jpg"), Path("good.jpg")], times=3)
    picture = await work.take()
    assert picture is not None
    work.failed(picture, "it is broken")
    assert {waiting.path.name for waiting in work.waiting} == {"good.jpg"}
    assert work.report().failed == 3
    assert capsys.readouterr().err == "error: bad.jpg: it is broken\n"


# -- helpers


def starter() -> Iterator[Start]:
    """Yield a function that starts programs; kill afterwards what still runs."""
    started: list[Running] = []

    def start(*arguments: object) -> Running:
        started.append(Running(*arguments))
        return started[-1]

    yield start
    for running in started:
        running.process.kill()
        if running.process.stdout is not None and not running.process.stdout.closed:
            running.process.communicate(timeout=PATIENCE)


def command(*arguments: object) -> list[str]:
    """Return the command line of a program."""
    return [sys.executable, "-m", "examples.tcpbalancer", *map(str, arguments)]


def client_arguments(proxy: str, folder: Path, *options: object) -> list[object]:
    """Return the command line of a client."""
    return ["client", "--proxy", proxy, "--input", folder, *options]


def client(proxy: str, folder: Path, *options: object) -> tuple[int, str, str]:
    """Run a client to its end and return exit code, stdout and stderr."""
    ended = subprocess.run(
        command(*client_arguments(proxy, folder, *options)),
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def upstreams(backends: list[Running]) -> list[str]:
    """Return the options that name backends."""
    return [option for backend in backends for option in ("-u", backend.address())]


def connections(number: int) -> list[object]:
    """Return the options for so many connections."""
    return ["--minconns", number, "--maxconns", number]


def reports_of(running: Running) -> list[Report]:
    """Return the reports that a client with --json prints from now to its end."""
    return [decoded(line) for line in iter(running.line, "")]


def decoded(line: str) -> Report:
    """Return the report in a line."""
    return msgspec.json.decode(line, type=Report)


def only_line(text: str) -> str:
    """Return the line; there must be just one."""
    (line,) = text.splitlines()
    return line


def format_and_size(path: Path) -> tuple[str | None, tuple[int, int]]:
    """Return what is in an image file."""
    with Image.open(path) as image:
        image.load()
        return image.format, image.size


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Return the file of a picture."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def hang_up_on_everybody(listener: socket.socket) -> None:
    """Accept and close connections until the listener is shut down."""
    with suppress(OSError):
        while True:
            listener.accept()[0].close()


def connect(address: str) -> socket.socket:
    """Return a connection to an address."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)
