"""How long a relay may be silent, and what it means when it is silent for longer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, final

from ..._core import check
from .._reason import EndReason
from .pump import Pump

Limit: TypeAlias = tuple[float, EndReason]
"""Seconds without a byte, and the reason for the end after that."""


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """The timeouts of a relay, in seconds: for both directions, for one after the other has ended, and during a stop."""

    idle: float
    half_close: float
    drain_idle: float

    def of(self, up: Pump, down: Pump, *, draining: bool) -> Limit:
        """Return the limit that holds in this state of the pumps; `draining`: the job was asked to stop."""
        idle = self.idle, EndReason.TIMEOUT_IDLE
        ended = up if up.eof else down
        if not ended.eof:
            return min((self.drain_idle if draining else math.inf, EndReason.DRAINED), idle, key=_seconds)
        if ended.sink.half_closes:
            return min((self.half_close, EndReason.TIMEOUT_HALF_CLOSE), idle, key=_seconds)
        # The receiver cannot learn that nothing more will come. To close it then is not a timeout: the sender has sent
        # everything, and a close is the only way to pass that on.
        return min((self.half_close, EndReason.EOF), idle, key=_seconds)


def checked_limits(idle_timeout: object, half_close_timeout: object, drain_idle: object) -> Limits:
    """Return the timeouts of a relay, checked.

    Raises:
        TypeError, ValueError: one is not a number of seconds; the message names it.
    """
    return Limits(
        check.positive_seconds("idle_timeout", idle_timeout),
        check.seconds("half_close_timeout", half_close_timeout),
        math.inf if drain_idle is None else check.seconds("drain_idle", drain_idle),
    )


def _seconds(limit: Limit) -> float:
    return limit[0]
