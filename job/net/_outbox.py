"""The sending half of a stream: the queue of those who send, served in order, whoever does the writing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    from ._stream import Stream


class _Letter:
    """What one sender wants written. Settled: written, failed, or the sender's turn to write."""

    __slots__ = ("data", "error", "settled", "turn", "unwritten")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.unwritten = True
        self.turn = False
        self.error: Exception | None = None
        self.settled = trio.Event()

    def settle(self, error: Exception | None = None) -> None:
        self.error = error
        self.settled.set()


@final
class Outbox:
    """Letters are written one at a time, whole. A writer, where there is one, writes them all; else each sender its own.

    `rest` is what is left of a letter whose writing was cancelled: it goes out before anything else, or the peer could not
    tell where the next one begins.
    """

    __slots__ = ("_arrived", "_queue", "_stream", "_writer", "broken", "rest", "writing")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._queue: deque[_Letter] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._writer = False  # a writer waits for letters
        self.writing = False
        self.rest = b""
        self.broken = False  # a letter was cut, nobody knows where

    @property
    def clean(self) -> bool:
        """Whether nothing is under way, nor was left half done."""
        return not (self.writing or self._queue or self.rest or self.broken)

    async def send(self, data: bytes) -> None:
        """Have `data` written after all that is in the queue, and wait for it. When cancelled before its turn, it is not."""
        if not self.writing and not self._writer:
            await self._write_own(data)
            return
        letter = _Letter(data)
        self._queue.append(letter)
        self._arrived.unpark_all()
        try:
            await letter.settled.wait()
        except BaseException:
            self._withdraw(letter)
            raise
        if letter.turn:
            await self._write_own(letter.data)
        elif letter.error is not None:
            raise letter.error

    def _withdraw(self, letter: _Letter) -> None:
        if letter in self._queue:
            self._queue.remove(letter)
        elif letter.turn:
            self.writing = False
            self.pass_on()

    async def _write_own(self, data: bytes) -> None:
        self.writing = True
        try:
            await self.write(data)
        finally:
            self.writing = False
            self.pass_on()

    def pass_on(self) -> None:
        """Let the next one write: the writer if there is one, else the first in the queue."""
        if self._writer:
            self._arrived.unpark_all()
        elif self._queue and not self.writing:
            letter = self._queue.popleft()
            letter.turn = self.writing = True
            letter.settle()

    async def write(self, data: bytes) -> None:
        """Write what was left behind, then `data`."""
        if self.broken:
            raise trio.BrokenResourceError("a send on this stream was cancelled half way")
        view = memoryview(self.rest + data if self.rest else data)
        try:
            while view:
                sent = await self._stream._send_some(view)
                view = view[sent:]
        except trio.Cancelled:
            self._cut_short(data, view)
            raise

    def _cut_short(self, data: bytes, left: memoryview) -> None:
        if not self._stream._wire.resumes:
            self.broken = True
        elif len(left) == len(self.rest) + len(data) and not self.rest:
            return  # none of it is out
        else:
            self.rest = bytes(left)
