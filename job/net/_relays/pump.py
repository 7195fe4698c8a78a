"""One direction of a relay: take a chunk from the source, give it to the sink, pass on the EOF.

A pump decides nothing. It tells its control what moved and what went wrong, and the control tells it when to stop. A faster one
has these few methods to fill.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from .leg import Leg


class RelayControl(Protocol):
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
        recheck_pending: it was asked to look again, and has not yet.
    """

    __slots__ = ("_control", "bytes", "eof", "recheck_pending", "running", "sending", "sink", "source", "stopping")

    def __init__(self, source: Leg, sink: Leg, control: RelayControl) -> None:
        self.source = source
        self.sink = sink
        self.bytes = 0
        self.sending = False
        self.eof = False
        self.running = True
        self.stopping = False
        self.recheck_pending = False
        self._control = control

    @property
    @abstractmethod
    def holding(self) -> bool:
        """True if it has taken what its sink has not."""

    def forget_control(self) -> None:
        """Let go of the relay, when it has ended: it refers to the pump, and a cycle is work for the garbage collector."""
        del self._control

    @abstractmethod
    def cut(self) -> None:
        """End it, whatever it is waiting for and whatever it holds."""

    @abstractmethod
    def stop(self) -> None:
        """Have it take nothing more, and end when what it holds has been given."""

    @abstractmethod
    def look_again(self) -> None:
        """Ask it to look whether its source has something after all; `recheck_pending` is False again when it has looked."""
