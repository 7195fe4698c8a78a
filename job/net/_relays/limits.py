"""How long a relay may be still, and what it means where it is so for longer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, final

from ..._core import check
from .._reason import EndReason
from .pump import Pump

Limit: TypeAlias = tuple[float, EndReason]
"""Seconds without a byte, and the reason for the end when they are over."""


@final
@dataclass(frozen=True, slots=True)
class Limits:
    """The timeouts of a relay, in seconds: of both directions, of the other one once one has ended, and of a stop."""

    idle: float
    half_close: float
    drain_idle: float

    def of(self, up: Pump, down: Pump, *, draining: bool) -> Limit:
        """Return the limit in this state of the pumps; `draining`: the job has been asked to stop."""
        idle = self.idle, EndReason.TIMEOUT_IDLE
        ended = up if up.eof else down
        if not ended.eof:
            return min((self.drain_idle if draining else math.inf, EndReason.DRAINED), idle, key=_seconds)
        if ended.sink.half_closes:
            return min((self.half_close, EndReason.TIMEOUT_HALF_CLOSE), idle, key=_seconds)
        # The receiver does not know that nothing more will come. That is no timeout: the sender has said all, and what is
        # closed now is the only way to pass that on.
        return min((self.half_close, EndReason.EOF), idle, key=_seconds)


def checked_limits(idle_timeout: object, half_close_timeout: object, drain_idle: object) -> Limits:
    """Return the limits that a relay was given.

    Raises:
        TypeError, ValueError: one is no number of seconds; the message names it.
    """
    return Limits(
        check.positive_seconds("idle_timeout", idle_timeout),
        check.seconds("half_close_timeout", half_close_timeout),
        math.inf if drain_idle is None else check.seconds("drain_idle", drain_idle),
    )


def _seconds(limit: Limit) -> float:
    return limit[0]
