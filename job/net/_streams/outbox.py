"""The sending half of a stream: the queue of those who send, served in order, whoever does the writing."""

from __future__ import annotations

from collections import deque
from typing import final

import trio

from .link import Link


@final
class _PendingSend:
    """What one sender wants written. Settled means written, failed, or its sender's turn to write it."""

    __slots__ = ("abandoned", "completed", "data", "error", "may_write")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.may_write = False
        self.abandoned = False  # the sender was cancelled
        self.error: Exception | None = None
        self.completed = trio.Event()

    def complete(self, error: Exception | None = None) -> None:
        """Wake the sender."""
        self.error = error
        self.completed.set()


@final
class Outbox:
    """Sends are written one at a time, whole. A writer, where there is one, writes them all; else each sender its own.

    `rest` is what is left of a send that was cancelled half way. It goes out before anything else, or the peer could
    not tell where the next message begins.
    """

    __slots__ = ("_arrived", "_link", "_queue", "_writer", "_written", "broken", "rest", "spoiled", "writing")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._queue: deque[_PendingSend] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._writer = False  # a writer waits for sends
        self._written = 0  # sends that their senders wrote
        self.writing = False
        self.rest = b""
        self.broken = False  # a message was cut, at a place that is not known
        self.spoiled = False  # raw bytes were cut

    @property
    def clean(self) -> bool:
        """Whether nothing is under way, nor was left half done."""
        return not (self.writing or self._queue or self.rest or self.broken or self.spoiled)

    async def send(self, data: bytes) -> None:
        """Have `data` written after all that is in the queue, and wait for it. Cancelled before its turn, it is not."""
        pending = _PendingSend(data)
        if self.writing or self._writer:
            await self._queue_up(pending)
            if not pending.may_write:
                return
        await self._write_own(pending)

    async def _queue_up(self, pending: _PendingSend) -> None:
        self._queue.append(pending)
        self._arrived.unpark_all()
        try:
            await pending.completed.wait()
        except BaseException:
            self._withdraw(pending)
            raise
        if pending.error is not None:
            raise pending.error

    def _withdraw(self, pending: _PendingSend) -> None:
        pending.abandoned = True
        if pending in self._queue:
            self._queue.remove(pending)
        elif pending.may_write:
            self._finish_writing()

    async def _write_own(self, pending: _PendingSend) -> None:
        self.writing = True
        try:
            await self._write(pending)
            self._written += 1
        finally:
            self._finish_writing()

    async def write_raw(self, data: memoryview) -> None:
        """Write raw bytes: cancelled half way, they are the caller's responsibility."""
        self._begin_raw()
        try:
            await self._write(_PendingSend(b""))
            while data:
                data = data[await self._link.send_some(data) :]
            await self._link.flush()
        except trio.Cancelled:
            self.spoiled = True
            raise
        finally:
            self._finish_writing()

    async def wait_for_room(self) -> None:
        """Wait until the wire may take something."""
        self._begin_raw()
        try:
            await self._link.wire.wait_send_all_might_not_block()
        finally:
            self._finish_writing()

    def _begin_raw(self) -> None:
        if self.writing or self._queue:
            raise trio.BusyResourceError("another task is sending on this stream")
        self.writing = True

    async def wait_for_send(self) -> bool:
        """Wait until there is something to write; return False where a sender has written meanwhile."""
        before = self._written
        self._writer = True
        try:
            while self.writing or not self._queue:
                self._link.check_open()
                await self._arrived.park()
                if self._written != before and not self._queue:
                    return False
            self.writing = True
        finally:
            self._writer = False
            self._pass_on()
        return True

    async def write_pending(self) -> None:
        """Write the first pending send, after a wait for it."""
        pending = self._queue.popleft()
        try:
            await self._write(pending)
        except trio.Cancelled:
            if not pending.abandoned:
                self._queue.appendleft(pending)  # its sender goes on from there
            raise
        except Exception as error:
            pending.complete(error)
            raise
        else:
            pending.complete()
        finally:
            self._finish_writing()

    async def _write(self, pending: _PendingSend) -> None:
        """Write what was left behind, then the pending send."""
        if self.broken:
            raise trio.BrokenResourceError("a send on this stream was cancelled half way")
        left = memoryview(self.rest + pending.data if self.rest else pending.data)
        try:
            while left:
                left = left[await self._link.send_some(left) :]
            await self._link.flush()
        except trio.Cancelled:
            self._cut_short(pending, left)
            raise
        self.rest = b""

    def _cut_short(self, pending: _PendingSend, left: memoryview) -> None:
        self.broken = not self._link.wire.resumes
        begun = len(left) < len(pending.data)
        self.rest = bytes(left if begun else left[: len(left) - len(pending.data)])
        if begun:
            pending.data = b""

    def _finish_writing(self) -> None:
        self.writing = False
        self._pass_on()

    def _pass_on(self) -> None:
        """Let the next one write: the writer if there is one, else the first in the queue."""
        if self._writer:
            self._arrived.unpark_all()
        elif self._queue and not self.writing:
            pending = self._queue.popleft()
            pending.may_write = self.writing = True
            pending.complete()

    def close(self) -> None:
        """Turn everybody away."""
        while self._queue:
            self._queue.popleft().complete(trio.ClosedResourceError("this stream was closed"))
        self._arrived.unpark_all()
