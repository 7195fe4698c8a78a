"""A fixed grid of points in time: arithmetic only; the caller does the waiting."""

from __future__ import annotations

import math
from typing import Final, final

_EPSILON: Final = 1e-9  # of an interval: a moment so little past a point is at that point, as floats go


@final
class Grid:
    """The points `origin`, `origin + interval`, `origin + 2 * interval` …, of which one is the next.

    Each is computed from the origin, not from the one before it: the grid does not drift.
    """

    __slots__ = ("_interval", "_number", "_origin")

    def __init__(self, origin: float, interval: float) -> None:
        self._origin = origin
        self._interval = interval
        self._number = 0

    @property
    def point(self) -> float:
        """The next point."""
        return self._origin + self._number * self._interval

    def move_on(self, now: float) -> None:
        """Go on to the first point that lies behind the present one and not before `now`; those between are skipped."""
        reached = math.ceil((now - self._origin) / self._interval - _EPSILON)
        self._number = max(self._number + 1, reached)
