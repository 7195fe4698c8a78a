"""The sending half of a stream: a queue of sends, written one at a time and whole.

Theory. Three kinds of callers write: `send` (a message, from any task), a `write_task` (a task of the job that writes for the
others), and `send_all` (raw bytes, one task at a time). `writing` is the lock between them; it is not a `trio.Lock` because its
next owner depends on what waits. `_pass_on` hands it over: to the write task if there is one, else to the first queued send,
which then writes itself (`may_write`). The lock is passed while still held, so no call that comes in between can overtake.

A cancellation may strike half way through a message. The peer has then seen its beginning, and without the rest it could not
tell where the next message begins. So the rest is kept, and is written before anything else, by whichever call writes next.
Two cases cannot be mended: a wire that does not tell how much it sent (`broken`: every later send fails), and raw bytes
(`spoiled`: only the caller knows what they meant; the connection cannot be reused).
"""

from __future__ import annotations

from collections import deque
from typing import final

import trio

from .link import Link


@final
class _PendingSend:
    """The data of one send. Completed means written, failed, or its own sender's turn to write it."""

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
    """Writes sends one at a time, whole. A write task, if there is one, writes them all; else each sender its own.

    Attributes:
        writing: a task is writing, or is about to.
        rest: what is left of a send that was cancelled half way.
        broken: a message was cut at a place that is not known.
        spoiled: raw bytes were cut.
    """

    __slots__ = ("_arrived", "_link", "_queue", "_writer", "_written", "broken", "rest", "spoiled", "writing")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._queue: deque[_PendingSend] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._writer = False  # a write task waits for sends
        self._written = 0  # sends that their senders wrote
        self.writing = False
        self.rest = b""
        self.broken = False
        self.spoiled = False

    @property
    def clean(self) -> bool:
        """True if nothing is under way or was left half done."""
        return not (self.writing or self._queue or self.rest or self.broken or self.spoiled)

    async def send(self, data: bytes) -> None:
        """Write `data` after everything in the queue, and wait for that. Not written if cancelled before its turn."""
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
        """Write raw bytes; cut half way by a cancellation, they are the caller's responsibility."""
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
        """Wait until the wire may accept something."""
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
        """Wait until there is something to write; return False if a sender has written it itself meanwhile."""
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
                self._queue.appendleft(pending)  # its sender resumes from there
            raise
        except Exception as error:
            pending.complete(error)
            raise
        else:
            pending.complete()
        finally:
            self._finish_writing()

    async def _write(self, pending: _PendingSend) -> None:
        """Write the rest of a cancelled send, then this one."""
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
        """Let the next one write: the write task if there is one, else the first in the queue."""
        if self._writer:
            self._arrived.unpark_all()
        elif self._queue and not self.writing:
            pending = self._queue.popleft()
            pending.may_write = self.writing = True
            pending.complete()

    def close(self) -> None:
        """Fail all queued sends."""
        while self._queue:
            self._queue.popleft().complete(trio.ClosedResourceError("this stream was closed"))
        self._arrived.unpark_all()
