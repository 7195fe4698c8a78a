"""Write the log of a program from a separate thread, so that a reader that stops reading holds up nothing else."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import RLock, Thread
from typing import Any, Final, NamedTuple, final

LIMIT: Final = 1 << 20
"""The most characters that may wait to be written; beyond that, lines are dropped until half of it is written."""

_LEAST: Final = 0.1  # seconds that even a reader gets at the end which has not read for long

_PAUSE: Final = 0.01  # Before another write to a file that another process has made non-blocking.


class Entry(NamedTuple):
    """A text to be written at once; `stands_for` is the number of lines that it reports or holds."""

    stream: Any
    text: str
    stands_for: int


@final
class LogWriter:
    """A bounded queue, and the thread that writes it.

    A forked process has no such thread, and the system may refuse to start one. In both cases the caller writes each line
    itself.

    Args:
        dropped: returns the line that reports how many lines were dropped; it is written at the gap.
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
        self._lock = RLock()  # Reentrant: a signal handler may interrupt a holder and take it again.
        self._waiting = 0
        self._writing_since: float | None = None
        self._dropped = 0
        self._choked = False
        self._process = os.getpid()
        self._thread = _started(self._run)

    def write(self, stream: Any, text: str) -> None:
        """Queue a text for a stream; if too much is waiting, drop and count it."""
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
        """Write the queue and this text from a signal handler: the process is about to end."""
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
                elif not self._waiting:  # The next entry may be long in coming.
                    self._tell_dropped(entry.stream)


def _started(work: Callable[[], None]) -> Thread | None:
    # A daemon thread, because at the end of the process it may be blocked by a reader that never reads again.
    thread = Thread(target=work, name="job log", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _try_to_write(stream: Any, text: str) -> bool:
    try:
        _write(stream, text)
    except BaseException:  # The disk may be full, the reader gone, and a user's stream may raise anything.
        return False
    return True


def _write(stream: Any, text: str) -> None:
    """Write a text straight to the file if the stream is a plain one, else by the stream's own write.

    A thread that is blocked in a stream holds its lock. Python takes that lock at the end of the process, and aborts if it
    cannot.
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
