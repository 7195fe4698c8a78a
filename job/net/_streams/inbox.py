"""The receiving half of a stream: what has arrived and was not taken, and the hand-over from the reader to the taker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

import trio

from .._errors import FrameError
from .ends import FindEnd
from .link import Link
from .wire import Data

if TYPE_CHECKING:
    from .codec import Framing


@final
class Inbox:
    """One buffer of bytes; a message is whatever can be cut off its front, so that nothing is ever out of place.

    Without a codec a message is all that is there; with one it is a frame, and what follows a frame stays as raw bytes
    for whatever comes next: another frame, another codec, a relay.

    At most one trio task takes messages and at most one is a reader; whichever is there first reads from the wire, the other
    waits for it. The reader goes on when the taker has let go of the message.
    """

    __slots__ = (
        "_changed",
        "_framing",
        "_link",
        "_next_message",
        "_searched",
        "_taking",
        "buffer",
        "delivered",
        "in_use",
        "reading",
    )

    def __init__(self, link: Link, framing: Framing | None) -> None:
        self._link = link
        self._framing = framing
        self._changed = trio.lowlevel.ParkingLot()
        self._taking = False
        self._next_message: tuple[int, Any] | None = None  # the first message: its length in the buffer, and itself
        self._searched = 0  # how much of the buffer a `take_until` under way has seen
        self.buffer = bytearray()
        self.reading = False
        self.in_use = False  # a taker is in its block
        self.delivered = 0  # how many messages a taker has let go of

    @property
    def pending(self) -> bool:
        """Whether there is a message, taken or not, that its taker has not let go of."""
        return self.in_use or self.ready()

    def ready(self) -> bool:
        """Whether there is a message to take.

        Raises:
            ProtocolError: the next one is too long, or does not decode.
        """
        if self._next_message is None:
            self._next_message = self._next_cut()
        return self._next_message is not None

    def _next_cut(self) -> tuple[int, Any] | None:
        if self._framing is not None:
            return self._framing.cut(self.buffer)
        return (len(self.buffer), bytes(self.buffer)) if self.buffer else None

    def spoil(self) -> None:
        """Forget how the buffer was cut: it, or the codec, is about to change."""
        self._next_message = None
        self._searched = 0
        self._changed.unpark_all()

    def use(self, framing: Framing | None) -> None:
        """Cut messages another way from here on."""
        self._framing = framing
        self.spoil()

    def take_bytes(self, most: int) -> bytes:
        """Take raw bytes off the front."""
        self.spoil()
        taken = bytes(memoryview(self.buffer)[:most])
        del self.buffer[:most]
        return taken

    def put_back(self, data: Data) -> None:
        """Put raw bytes before all that is there."""
        self.spoil()
        self.buffer[:0] = memoryview(data).cast("B")

    async def take_until(self, end_of: FindEnd) -> bytes | None:
        """Receive until `end_of` finds an end in the buffer, and take the raw bytes up to there; None at EOF before it.

        Nothing is taken before the end is there, so that a cancellation, an EOF and an error leave all in its place.
        """
        self._link.check_may_receive()
        self._link.raw = True
        self._searched = 0
        if self._find(end_of) is not None:
            await trio.lowlevel.checkpoint()
            self._searched = 0
        # Looked at again: meanwhile another task may have put bytes back, or taken what was there.
        while (end := self._find(end_of)) is None:
            data = await self._link.receive()
            if not data:
                return None
            self.add(data)
        return self.take_bytes(end)

    def _find(self, end_of: FindEnd) -> int | None:
        end = end_of(self.buffer, self._searched)
        self._searched = len(self.buffer)
        return end

    async def pass_one(self, busy: Callable[[], AbstractContextManager[None]]) -> bool:
        """Receive a message, unless there is one, and wait until it was taken and let go of; return False at EOF."""
        before = self.delivered
        while self.delivered == before:
            self._link.check_open()
            if self.pending:
                with busy():
                    await self._changed.park()
            elif self.reading:
                await self._changed.park()
            elif not await self._fill():
                return False
        return True

    async def _fill(self) -> bool:
        """Receive until there is a message; return False at EOF."""
        self.reading = True
        try:
            while not self.ready():
                data = await self._link.receive()
                if not data:
                    self._end()
                    return False
                self.add(data)
        finally:
            self.reading = False
            self._changed.unpark_all()
        return True

    def add(self, data: bytes) -> None:
        """Add what has arrived."""
        self._next_message = None
        self.buffer += data

    def close(self) -> None:
        """Drop what will not be taken any more."""
        self.buffer.clear()
        self.spoil()

    def _end(self) -> None:
        if self.buffer:
            raise FrameError(f"the stream ended inside a frame, {len(self.buffer)} bytes after its start")

    async def take(self) -> Any:
        """Wait for a message and take it."""
        self._begin_taking()
        try:
            if self.ready():
                await trio.lowlevel.checkpoint()
            while not self.ready():
                if self.reading:
                    await self._changed.park()
                elif not await self._fill():
                    raise trio.EndOfChannel
            return self._take()
        except BaseException:
            self._taking = False
            raise

    def take_nowait(self) -> Any:
        """Take a message if there is one."""
        self._link.check_open()
        if self._taking:
            raise trio.WouldBlock
        while not self.ready():
            data = self._link.receive_nowait()
            if not data:
                self._end()
                raise trio.EndOfChannel
            self.add(data)
        self._taking = True
        return self._take()

    def _begin_taking(self) -> None:
        self._link.check_open()
        if self._taking:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._taking = True

    def _take(self) -> Any:
        assert self._next_message is not None
        (length, message), self._next_message = self._next_message, None
        del self.buffer[:length]
        self.in_use = True
        return message

    def let_go(self) -> None:
        """Let the reader go on."""
        self.in_use = self._taking = False
        self.delivered += 1
        self._changed.unpark_all()


@final
class Received:
    """One message, for the length of a block. One object serves one block."""

    __slots__ = ("_inbox",)

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def __aenter__(self) -> Any:
        return await self._inbox.take()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inbox.let_go()

    def __enter__(self) -> Any:
        return self._inbox.take_nowait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inbox.let_go()
