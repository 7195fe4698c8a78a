"""A cron expression in a time zone: arithmetic only, the caller does the waiting.

The arithmetic is cronsim's, which follows Debian's cron: a job at a fixed time that a daylight-saving change skips runs right
after the change, and one that the change repeats runs once; a job of `*` hours or minutes follows real time. croniter would do
as well, but it is ten times the code, depends on dateutil and has no types.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from types import ModuleType
from typing import Final, final
from zoneinfo import ZoneInfo

import trio
from trio.lowlevel import RunVar

from .._core.trio.time_slice import clock_is_mocked

NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_INSTANT: Final = timedelta(microseconds=1)


@final
class Schedule:
    """The points of a cron expression, in UTC.

    The points are in UTC, because Python compares two datetimes of one zone by their wall times, which is wrong around a
    daylight-saving change.

    Raises:
        ImportError: cronsim is not installed.
        ValueError: the expression is invalid, or has no points.
    """

    __slots__ = ("_expression", "_tz")

    def __init__(self, expression: str, tz: tzinfo) -> None:
        self._expression = NICKNAMES.get(expression.strip().lower(), expression)
        self._tz = tz
        try:
            self.after(datetime.now(UTC))
        except ValueError as error:
            raise ValueError(f"expression must be a cron expression, got {expression!r}: {error}") from error

    def after(self, moment: datetime) -> datetime:
        """Return the first point after `moment`."""
        cronsim = _cronsim()
        try:
            for point in cronsim.CronSim(self._expression, moment.astimezone(self._tz)):
                found: datetime = point.astimezone(UTC)
                if found > moment:  # Otherwise this is the first pass of an hour that comes twice.
                    return found
        except cronsim.CronSimError as error:
            raise ValueError(str(error)) from error
        raise ValueError("no such time comes within 50 years")

    def following(self, point: datetime, now: datetime) -> datetime:
        """Return the first point after `point` that is not before `now`; skip those between."""
        return self.after(max(point, now - _INSTANT))


def zone(tz: tzinfo | str) -> tzinfo:
    """Return a time zone, given as itself or by its name."""
    if isinstance(tz, tzinfo):
        return tz
    if not isinstance(tz, str):
        raise TypeError(f"tz must be a tzinfo or the name of a time zone, got {tz!r}")
    try:
        return ZoneInfo(tz)
    except (ValueError, OSError, KeyError) as error:  # Which one depends on the mistake.
        raise ValueError(f"tz must be a time zone, got {tz!r}") from error


def _cronsim() -> ModuleType:
    try:
        import cronsim
    except ImportError as error:
        raise ImportError("job.tasks.cron needs cronsim: pip install 'trio-job[cron]'") from error
    return cronsim


BETWEEN_LOOKS: Final = 60.0
"""Seconds between two looks at the wall clock: as often as Debian's cron, whose schedules are no finer."""

CORRECTION: Final = 3 * 3600.0
"""A clock set back by more seconds than this was wrong, as in Debian's cron; less is a change of the hour, or drift."""

_origin: RunVar[datetime] = RunVar("job wall time at trio's time 0")


def wall_time() -> datetime:
    """Return the wall time in UTC; under a MockClock, that of the first call plus trio's time since."""
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
    """A wall clock, which may be set, compared with trio's clock.

    Attributes:
        corrected: True if the latest read found it set back by so much that it must have been wrong before.
    """

    __slots__ = ("_looked_at", "_now", "_seen", "corrected")

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._seen: datetime | None = None
        self._looked_at = 0.0
        self.corrected = False

    def read(self) -> datetime:
        """Return the wall time in UTC."""
        now = self._checked(self._now()).astimezone(UTC)
        at = trio.current_time()
        if self._seen is not None:
            set_back = at - self._looked_at - (now - self._seen).total_seconds()
            self.corrected = set_back > CORRECTION
        self._seen, self._looked_at = now, at
        return now

    @property
    def steady_for(self) -> float:
        """The seconds after which to look again; under a mock clock the wall clock follows trio's."""
        return math.inf if self._now is wall_time and clock_is_mocked() else BETWEEN_LOOKS

    @staticmethod
    def _checked(now: object) -> datetime:
        if not isinstance(now, datetime):
            raise TypeError(f"now must give a datetime, got {now!r}")
        if now.utcoffset() is None:
            raise ValueError(f"now must give an aware datetime, got {now!r}")
        return now
