"""The image work through a queue."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.examples.programs import ROOT
from tests.queue.redis_server import RedisServer, require


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the example to its end."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Make two pictures."""
    paths = [tmp_path / name for name in ("a.png", "b.jpg")]
    for path in paths:
        Image.new("RGB", (400, 200), "red").save(path)
    return [str(path) for path in paths]


def made(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the pictures of a folder with their sizes."""
    sizes = {}
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            sizes[path.name] = image.size
    return sizes


def test_one_process(tmp_path: Path, pictures: list[str]) -> None:
    """Without Redis one process does it all, and ends."""
    ended = run("examples.resize_queue", *pictures, "--output", str(tmp_path / "out"), "--width", "100")
    assert ended.returncode == 0
    assert made(tmp_path / "out") == {"a.png": (100, 50), "b.jpg": (100, 50)}


def test_bad_picture(tmp_path: Path, pictures: list[str]) -> None:
    """A bad picture is given up at once and named; the good ones are made, and the exit code says so."""
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    ended = run("examples.resize_queue", *pictures, str(bad), "--output", str(tmp_path / "out"))
    assert ended.returncode == 1
    assert "bad.png: it is no JPEG or PNG image" in ended.stdout
    assert sorted(made(tmp_path / "out")) == ["a.png", "b.jpg"]


def test_workers(tmp_path: Path, pictures: list[str]) -> None:
    """With Redis one program puts the work, and a worker does it until it is stopped."""
    require()
    server = RedisServer(tmp_path)
    server.start()
    output = tmp_path / "out"
    try:
        assert run("examples.resize_queue", *pictures, "--output", str(output), "--redis", server.url).returncode == 0
        command = [sys.executable, "-m", "examples.resize_queue", "--redis", server.url]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as worker:
            assert worker.stderr is not None
            for _ in pictures:
                assert "job.ended" in worker.stderr.readline()
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=20)
        assert worker.returncode == 0
        assert sorted(made(output)) == ["a.png", "b.jpg"]
    finally:
        server.stop()


def test_demo() -> None:
    """The demo kills a worker and loses nothing."""
    require()
    ended = run("examples.resize_queue_demo")
    assert ended.returncode == 0
    assert "180 of 180 pictures were made" in ended.stdout


def test_demo_without_redis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without redis-server it says so in one line."""
    from examples.resize_queue_demo import main

    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main() == 1
    assert capsys.readouterr().err == "queue-demo: redis-server is missing (Debian's package redis-server)\n"
