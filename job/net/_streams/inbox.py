"""The receiving half of a stream: bytes that arrived and were not taken, and the hand-over from a reader to a taker.

Theory. There is one buffer, of raw bytes. A message is never moved out of it before it is taken: `_next_message` only remembers
how long the first one is, and what it decodes to. So bytes and messages can be mixed, another codec can be set, bytes can be
put back, and a relay can take over, with nothing out of place; each of these just forgets the cut (`spoil`) and it is made
again. A cancelled receive has lost nothing for the same reason.

Two tasks may be at work. The taker is in a `received` block; the reader is a `read_task`. Whichever finds no message first
reads from the wire (`reading`), and the other waits for it: a second receive on the wire would be a conflict. The hand-over is
ping-pong: the reader does not read on before the taker has let go (`delivered` counts that), so that a slow taker slows the
peer down instead of filling memory.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

import trio

from .._framing import check_complete
from .ends import FindEnd
from .link import Link
from .wire import Data

if TYPE_CHECKING:
    from .codec import Framing


@final
class Inbox:
    """One buffer of bytes; a message is what can be cut off its front.

    Without a codec a message is all that is there. With one it is a frame, and what follows it stays as raw bytes for whatever
    comes next: another frame, another codec, a relay.

    At most one trio task takes messages, and at most one is a reader.

    Attributes:
        reading: a task is receiving from the wire.
        in_use: a taker is in its block.
        delivered: how many messages takers have let go of.
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
        self._searched = 0  # bytes of the buffer that a `take_until` under way has searched
        self.buffer = bytearray()
        self.reading = False
        self.in_use = False
        self.delivered = 0

    @property
    def pending(self) -> bool:
        """True if there is a message, taken or not, that its taker has not let go of."""
        return self.in_use or self.ready()

    def ready(self) -> bool:
        """Return True if there is a message to take.

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
        """Forget how the buffer was cut: the buffer or the codec is about to change."""
        self._next_message = None
        self._searched = 0
        self._changed.unpark_all()

    def use(self, framing: Framing | None) -> None:
        """Cut messages this way from now on."""
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
        """Receive until `end_of` finds an end, and take the raw bytes up to it; None if EOF comes before it.

        Nothing is taken before the end is there, so that a cancellation, an EOF and an error leave everything in place.
        """
        self._link.check_may_receive()
        self._link.raw = True
        self._searched = 0
        if self._find(end_of) is not None:
            await trio.lowlevel.checkpoint()
            self._searched = 0
        # Search again: another task may have put bytes back, or taken some, during the checkpoint.
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
        """Receive a message, unless there is one, and wait until a taker has let go of it; return False at EOF."""
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
                    check_complete(self.buffer)
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
        """Drop the buffer and wake all waiters."""
        self.buffer.clear()
        self.spoil()

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
                check_complete(self.buffer)
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
