"""Writes the log of a program from a thread of its own, so that a reader which stops reading holds up nothing else."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import RLock, Thread
from typing import Any, Final, NamedTuple, final

LIMIT: Final = 1 << 20
"""Characters that may wait to be written; past that lines are dropped, until half of it is."""

_LEAST: Final = 0.1  # seconds that even a reader gets at the end which has not read for long

_PAUSE: Final = 0.01  # before another attempt at a file that another process has made non-blocking


class Entry(NamedTuple):
    """What is written in one go; `stands_for` so many lines."""

    stream: Any
    text: str
    stands_for: int


@final
class LogWriter:
    """A queue with a bound, and the thread that empties it.

    In a process forked from this one there is no such thread: there each line is written where it is logged. So it is also
    where the system has no thread to give.

    Args:
        dropped: makes the line that says how many lines were dropped, where the gap is.
    """

    __slots__ = (
        "_choked",
        "_dropped",
        "_dropped_line",
        "_lock",
        "_process",
        "_queue",
        "_thread",
        "_waiting",
        "_writing_since",
    )

    def __init__(self, dropped: Callable[[int], str]) -> None:
        self._dropped_line = dropped
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._lock = RLock()  # which a handler of a signal may want to take, in the middle of what holds it
        self._waiting = 0
        self._writing_since: float | None = None
        self._dropped = 0
        self._choked = False
        self._process = os.getpid()
        self._thread = _started(self._run)

    def write(self, stream: Any, text: str) -> None:
        """Write a text to a stream, soon; where too much waits already it is dropped, and counted."""
        if self._works() is None:
            _try_to_write(stream, text)
            return
        with self._lock:
            self._choked = self._waiting > 0 and self._waiting + len(text) > (LIMIT // 2 if self._choked else LIMIT)
            if self._choked:
                self._dropped += 1
            else:
                self._tell_dropped(stream)
                self._put(stream, text)

    def last_words(self, stream: Any, text: str, within: float) -> None:
        """Write what waits, and this; the process is about to end. For a handler of a signal."""
        if self._works() is None:
            _try_to_write(stream, text)
            return
        self._queue.put(Entry(stream, text, 1))
        self.close(stream, within)

    def close(self, stream: Any, within: float) -> None:
        """Wait until everything is written; a line that comes later is written where it is logged.

        A reader gets `within` seconds, those included for which it has already kept the writer waiting.
        """
        thread = self._works()
        if thread is None:
            return
        with self._lock:
            self._tell_dropped(stream)
        self._queue.put(None)
        since = self._writing_since
        thread.join(max(_LEAST, within - (0.0 if since is None else time.monotonic() - since)))
        if not thread.is_alive():
            self._thread = None

    def _works(self) -> Thread | None:
        return self._thread if os.getpid() == self._process else None

    def _tell_dropped(self, stream: Any) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._put(stream, self._dropped_line(dropped), dropped)

    def _put(self, stream: Any, text: str, stands_for: int = 1) -> None:
        self._waiting += len(text)
        self._queue.put(Entry(stream, text, stands_for))

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._writing_since = time.monotonic()
            written = _try_to_write(entry.stream, entry.text)
            self._writing_since = None
            with self._lock:
                self._waiting -= len(entry.text)
                if not written:
                    self._dropped += entry.stands_for
                elif not self._waiting:  # it may be long until there is another
                    self._tell_dropped(entry.stream)


def _started(work: Callable[[], None]) -> Thread | None:
    # A daemon: at the end of the process it may be held up by a reader that is never going to read.
    thread = Thread(target=work, name="job log", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _try_to_write(stream: Any, text: str) -> bool:
    try:
        _write(stream, text)
    except BaseException:  # a full disk, a reader that has gone, whatever a stream of the user's may raise
        return False
    return True


def _write(stream: Any, text: str) -> None:
    """Write a text: straight to the file where that is all the stream has behind it, else by the stream.

    A thread that is held up within a stream holds its lock, which Python wants at the end of the process, and aborts over.
    """
    if _is_plain(stream):
        _write_to_file(stream.fileno(), text.encode(stream.encoding, "backslashreplace"))
        return
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode())
    stream.flush()


def _is_plain(stream: Any) -> bool:
    if type(stream) is not io.TextIOWrapper:
        return False
    buffer = stream.buffer
    return type(getattr(buffer, "raw", buffer)) is io.FileIO


def _write_to_file(file: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(file, data) :]
        except BlockingIOError:
            time.sleep(_PAUSE)
