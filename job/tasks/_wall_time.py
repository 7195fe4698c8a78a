"""Wall time, what stands for it in a run under a mock clock, and when it was wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, final

import trio
from trio.lowlevel import RunVar

from .._mocked import clock_is_mocked

BETWEEN_LOOKS: Final = 60.0
"""Seconds: Debian's cron looks as often, which is as fine as its schedules are."""
CORRECTION: Final = 3 * 3600.0
"""Seconds by which a clock is put back that was wrong, as in Debian's cron. Less is a change of the hour, or a drift."""

_origin: RunVar[datetime] = RunVar("job wall time at trio's time 0")


def wall_time() -> datetime:
    """Return the wall time in UTC; under a MockClock that of the first call, and trio's time since."""
    if not clock_is_mocked():
        return datetime.now(UTC)
    passed = timedelta(seconds=trio.current_time())
    try:
        return _origin.get() + passed
    except LookupError:
        now = datetime.now(UTC)
        _origin.set(now - passed)
        return now


@final
class WallClock:
    """A clock that may be set, and is held against trio's.

    Attributes:
        corrected: whether the latest look found it put back by so much that it must have been wrong before.
    """

    __slots__ = ("_looked_at", "_now", "_seen", "corrected")

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._seen: datetime | None = None
        self._looked_at = 0.0
        self.corrected = False

    def read(self) -> datetime:
        """Return its time, in UTC."""
        now = self._checked(self._now()).astimezone(UTC)
        at = trio.current_time()
        if self._seen is not None:
            set_back = at - self._looked_at - (now - self._seen).total_seconds()
            self.corrected = set_back > CORRECTION
        self._seen, self._looked_at = now, at
        return now

    @property
    def steady_for(self) -> float:
        """Seconds after which to look again; that of a mock clock goes as trio's does."""
        return math.inf if self._now is wall_time and clock_is_mocked() else BETWEEN_LOOKS

    @staticmethod
    def _checked(now: object) -> datetime:
        if not isinstance(now, datetime):
            raise TypeError(f"now must give a datetime, got {now!r}")
        if now.utcoffset() is None:
            raise ValueError(f"now must give an aware datetime, got {now!r}")
        return now
