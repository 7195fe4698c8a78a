"""The thread that writes a program's log, with real pipes and files."""

import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from job._program import log_writer
from job._program.log_writer import LIMIT, LogWriter


def dropped_line(lines: int) -> str:
    """Say how many lines were dropped."""
    return f"dropped {lines}\n"


@pytest.fixture
def pipe() -> Iterator[tuple[Any, Any]]:
    """Give the two ends of a pipe, as files of text."""
    read, write = os.pipe()
    with os.fdopen(read) as reader, os.fdopen(write, "w") as writer:
        yield reader, writer


def count(text: str) -> int:
    """Count the lines that were written, and those that are said to be dropped."""
    return sum(int(line.removeprefix("dropped ")) if line.startswith("dropped") else 1 for line in text.splitlines())


def test_lines_in_order(pipe: tuple[Any, Any]) -> None:
    """Lines come in the order they were written in, all of them, before the close returns."""
    reader, target = pipe
    writer = LogWriter(dropped_line)
    for number in range(100):
        writer.write(target, f"{number}\n")
    writer.close(target, 10)
    target.close()
    assert reader.read() == "".join(f"{number}\n" for number in range(100))


def test_reader_that_has_stopped(pipe: tuple[Any, Any]) -> None:
    """No writer is held up; the close waits for its bound; once it is read the log says how many lines are missing."""
    reader, target = pipe
    writer = LogWriter(dropped_line)
    text = "x" * 999 + "\n"
    total = 3 * LIMIT // len(text)
    for _ in range(total):
        writer.write(target, text)
    began = time.monotonic()
    writer.close(target, 0.1)
    assert 0.1 <= time.monotonic() - began < 5
    found = reader.buffer.read1(1 << 16)
    while count(found.decode()) < total:
        found += reader.buffer.read1(1 << 16)
    assert count(found.decode()) == total
    assert b"dropped" in found


def test_reader_that_goes_on(pipe: tuple[Any, Any]) -> None:
    """Where lines were dropped stands how many, between those before and those after the gap."""
    reader, target = pipe
    writer = LogWriter(dropped_line)
    writer.write(target, "x" * (LIMIT - 1) + "\n")
    writer.write(target, "lost\n")
    found = reader.readline()
    deadline = time.monotonic() + 10
    while writer._waiting and time.monotonic() < deadline:
        time.sleep(0.001)
    writer.write(target, "after\n")
    writer.close(target, 10)
    target.close()
    assert (len(found), reader.read()) == (LIMIT, "dropped 1\nafter\n")


def test_gap_at_the_end(pipe: tuple[Any, Any]) -> None:
    """What is missing is told when the reader has caught up, without another line to come."""
    reader, target = pipe
    writer = LogWriter(dropped_line)
    writer.write(target, "x" * (LIMIT - 1) + "\n")
    writer.write(target, "lost\n")
    assert len(reader.readline()) == LIMIT
    assert reader.readline() == "dropped 1\n"
    writer.close(target, 10)


def test_line_longer_than_the_bound(pipe: tuple[Any, Any]) -> None:
    """It is written where nothing waits before it."""
    reader, target = pipe
    writer = LogWriter(dropped_line)
    writer.write(target, "x" * 2 * LIMIT + "\n")
    assert len(reader.readline()) == 2 * LIMIT + 1
    writer.close(target, 10)


def test_full_disk(tmp_path: Path) -> None:
    """What could not be written is counted, and told once something can be; the count itself may fail, too."""
    path = tmp_path / "log"
    writer = LogWriter(dropped_line)
    with Path("/dev/full").open("w") as full, path.open("w") as disk:
        for _ in range(2):
            writer.write(full, "lost\n")
            deadline = time.monotonic() + 10
            while writer._waiting and time.monotonic() < deadline:
                time.sleep(0.001)
        writer.write(disk, "after\n")
        writer.close(disk, 10)
    assert path.read_text() == "dropped 2\nafter\n"


class Raising(io.StringIO):
    """A stream that fails."""

    def write(self, text: str) -> int:
        raise SystemExit("no more")


@pytest.mark.parametrize("stream", [None, object(), Raising()])
def test_odd_stream(stream: Any) -> None:
    """It costs the line, and the writer goes on."""
    writer, good = LogWriter(dropped_line), io.StringIO()
    writer.write(stream, "lost\n")
    deadline = time.monotonic() + 10
    while writer._waiting and time.monotonic() < deadline:
        time.sleep(0.001)
    writer.write(good, "after\n")
    writer.close(good, 10)
    assert good.getvalue() == "dropped 1\nafter\n"


def test_stream_that_is_no_file() -> None:
    """A stream of the program's own is written to by its own write."""
    writer, raw = LogWriter(dropped_line), io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    writer.write(stream, "ünï\n")
    writer.close(stream, 10)
    assert raw.getvalue() == b"\\xfcn\\xef\n"


def test_file_of_another_encoding(tmp_path: Path) -> None:
    """What it cannot spell is escaped."""
    writer, path = LogWriter(dropped_line), tmp_path / "log"
    with path.open("w", encoding="ascii") as stream:
        writer.write(stream, "ünï\n")
        writer.close(stream, 10)
    assert path.read_bytes() == b"\\xfcn\\xef\n"


def test_pipe_that_does_not_block(pipe: tuple[Any, Any]) -> None:
    """A pipe that another process has made non-blocking is waited for."""
    reader, target = pipe
    os.set_blocking(target.fileno(), False)
    writer = LogWriter(dropped_line)
    writer.write(target, "x" * 200_000 + "\n")
    assert len(reader.readline()) == 200_001
    writer.close(target, 10)


def test_closed() -> None:
    """After the close a line is written where it is logged; a second close is nothing."""
    writer, stream = LogWriter(dropped_line), io.StringIO()
    writer.close(stream, 10)
    writer.write(stream, "late\n")
    assert stream.getvalue() == "late\n"
    writer.last_words(stream, "last\n", 10)
    writer.close(stream, 10)
    assert stream.getvalue() == "late\nlast\n"


def test_last_words() -> None:
    """They come after what waits."""
    writer, stream = LogWriter(dropped_line), io.StringIO()
    writer.write(stream, "first\n")
    writer.last_words(stream, "last\n", 10)
    assert stream.getvalue() == "first\nlast\n"


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread each line is written where it is logged."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(log_writer.Thread, "start", refuse)
    writer, stream = LogWriter(dropped_line), io.StringIO()
    writer.write(stream, "here\n")
    assert stream.getvalue() == "here\n"
