"""One direction of a relay: take a chunk from the source, give it to the sink, pass on the EOF.

A pump decides nothing. It reports to its control what moved and what went wrong, and the control tells it when to stop. There
are three kinds, and a new, faster one has only these few methods to fill:

    StreamPump   any two trio streams; a trio task for each direction
    SocketPump   two plain sockets; a trio task for each direction, tries first and waits only if it must
    EnginePump   two sockets of our own streams, with TLS as TlsPump; no trio task, driven by the engine
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from .leg import Leg


class RelayControl(Protocol):
    """What a pump needs of its relay."""

    def moved(self, now: float) -> None:
        """Record that bytes have moved."""
        ...

    def changed(self) -> None:
        """Decide anew: a pump has ended, or has looked again."""
        ...

    def ended(self, pump: Pump) -> bool:
        """Record that the source of the pump has no more; return True if the EOF is to be passed on."""
        ...

    def failed(self, pump: Pump, error: BaseException) -> None:
        """Record that an error has ended the pump."""
        ...


class Pump(ABC):
    """One direction.

    Attributes:
        bytes: how many bytes the sink has taken so far.
        sending: the sink is being used, so that an error is the sink's.
        eof: the source has sent EOF.
        running: the pump has not ended.
        stopping: the pump receives nothing more, and ends when it holds nothing.
        recheck_pending: the pump was asked to look again, and has not yet.
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
        """True if the pump has bytes that its sink has not taken."""

    def forget_control(self) -> None:
        """Drop the reference to an ended relay: that breaks a cycle, so that refcounting can free both."""
        del self._control

    @abstractmethod
    def cut(self) -> None:
        """End the pump, whatever it waits for and whatever it holds."""

    @abstractmethod
    def stop(self) -> None:
        """Receive nothing more, and end as soon as the pump holds nothing."""

    @abstractmethod
    def look_again(self) -> None:
        """Check whether the source has something after all; `recheck_pending` is False when that is done."""
