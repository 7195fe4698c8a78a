"""A fixed grid of points in time: arithmetic only; the caller does the waiting."""

from __future__ import annotations

import math
from typing import Final, final

_EPSILON: Final = 1e-9  # A fraction of an interval: a time this little past a point is at the point, but for rounding.


@final
class Grid:
    """The points `origin`, `origin + interval`, `origin + 2 * interval` …, with a position at the next one.

    Each point is computed from the origin, not from the one before, so the grid does not drift.
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
        """Move to the first point after the present one that is not before `now`; skip those between."""
        reached = math.ceil((now - self._origin) / self._interval - _EPSILON)
        self._number = max(self._number + 1, reached)
