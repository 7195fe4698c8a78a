"""One direction of a relay: take a chunk from the source, give it to the sink, pass on the EOF.

A pump decides nothing. It tells its course what moved and what went wrong, and the course tells it when to stop. A faster one
has these few methods to fill.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, final

import trio

from ._relay_end import End


class Course(Protocol):
    """What a pump needs of its relay."""

    def moved(self, now: float) -> None:
        """Bytes have moved."""
        ...

    def changed(self) -> None:
        """A pump has ended, or has looked again."""
        ...

    def ended(self, pump: Pump) -> bool:
        """The source of the pump has no more; return whether the sink is to hear of that."""
        ...

    def failed(self, pump: Pump, error: BaseException) -> None:
        """An error has ended the pump."""
        ...


class Pump(ABC):
    """One direction.

    Attributes:
        bytes: what the sink has taken so far.
        sending: the sink has its turn, so that an error is its own.
        eof: the source has said that there is no more.
        running: it has not ended.
        stopping: it takes nothing more, and ends when what it holds has been given.
        poked: it was asked to look again, and has not yet.
    """

    __slots__ = ("_course", "bytes", "eof", "poked", "running", "sending", "sink", "source", "stopping")

    def __init__(self, source: End, sink: End, course: Course) -> None:
        self.source = source
        self.sink = sink
        self.bytes = 0
        self.sending = False
        self.eof = False
        self.running = True
        self.stopping = False
        self.poked = False
        self._course = course

    @property
    @abstractmethod
    def holding(self) -> bool:
        """Whether it has taken what its sink has not."""

    def forget_course(self) -> None:
        """Let go of the relay, when it has ended: it refers to the pump, and a cycle is work for the garbage collector."""
        del self._course

    @abstractmethod
    def cut(self) -> None:
        """End it, whatever it is waiting for and whatever it holds."""

    @abstractmethod
    def stop(self) -> None:
        """Have it take nothing more, and end when what it holds has been given."""

    @abstractmethod
    def look_again(self) -> None:
        """Ask it to look whether its source has something after all; `poked` is False again when it has looked."""


class TaskPump(Pump):
    """One direction in a trio task of its own."""

    __slots__ = ("_scope",)

    def __init__(self, source: End, sink: End, course: Course) -> None:
        super().__init__(source, sink, course)
        # A cancellation from outside must not strike between a chunk taken and that chunk given: the relay hears of it,
        # and knows whether what was taken is to be given nevertheless.
        self._scope = trio.CancelScope(shield=True)

    @property
    def holding(self) -> bool:
        """Whether it is about to give what it has taken."""
        return self.running and self.sending

    async def run(self) -> None:
        """Move bytes until the source has no more, the relay stops or something fails; raise nothing."""
        try:
            with self._scope:
                await self._run()
        except BaseException as error:
            self._course.failed(self, error)
        finally:
            self.running = self.poked = False
            self._course.changed()

    def cut(self) -> None:
        """End it."""
        self._scope.cancel()

    def stop(self) -> None:
        """End it, when it has given what it holds."""
        self.stopping = True
        if self.running and not self.sending:
            self._interrupt()

    def look_again(self) -> None:
        """Interrupt its wait, if it is that for the source."""
        if self.running and not self.sending:
            self.poked = True
            self._interrupt()

    @abstractmethod
    async def _run(self) -> None: ...

    @abstractmethod
    def _interrupt(self) -> None:
        """Interrupt the wait for the source, and nothing else."""

    def _looked(self) -> None:
        if self.poked:
            self.poked = False
            self._course.changed()

    def _given(self, size: int) -> None:
        self.bytes += size
        self._course.moved(trio.current_time())

    async def _pass_eof(self) -> None:
        self.eof = self._course.ended(self)
        if self.eof:
            self.sending = True
            await self.sink.send_eof()


@final
class StreamPump(TaskPump):
    """Moves the bytes of any trio stream, by `receive_some` and `send_all`."""

    __slots__ = ("_wait",)

    def __init__(self, source: End, sink: End, course: Course) -> None:
        super().__init__(source, sink, course)
        self._wait = trio.CancelScope()

    async def _run(self) -> None:
        while (data := await self._receive()) is not None:
            if not data:
                await self._pass_eof()
                return
            self._course.moved(trio.current_time())
            self.sending = True
            await self.sink.stream.send_all(data)
            self.sending = False
            self._given(len(data))

    async def _receive(self) -> bytes | bytearray | memoryview | None:
        """Return the next chunk; None where it is to stop first."""
        while not self.stopping:
            try:
                # Around the wait only: a chunk that came in the same moment as the interruption comes out unharmed.
                with self._wait:
                    return await self.source.stream.receive_some()
            finally:
                self._wait = trio.CancelScope()
                self._looked()
        return None

    def _interrupt(self) -> None:
        self._wait.cancel()
