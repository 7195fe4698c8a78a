"""A cron expression in a time zone: arithmetic only, whoever follows it does the waiting.

The arithmetic is cronsim's, which does what Debian's cron does: a job at a fixed time that a change of the clocks skips runs
right after the change, and one that the change repeats runs once; a job of `*` hours or minutes runs by the time that really
passes. croniter would do, too; it is ten times the code, drags in dateutil and has no types.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from types import ModuleType
from typing import Final, final
from zoneinfo import ZoneInfo

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

    Two datetimes of one zone are compared by what their clocks show, which is wrong where the clocks change: hence UTC.

    Raises:
        ImportError: cronsim is not installed.
        ValueError: the expression is not one, or has no points.
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
        """Return the first point behind `moment`."""
        cronsim = _cronsim()
        try:
            for point in cronsim.CronSim(self._expression, moment.astimezone(self._tz)):
                found: datetime = point.astimezone(UTC)
                if found > moment:  # else this is the first of an hour that comes twice
                    return found
        except cronsim.CronSimError as error:
            raise ValueError(str(error)) from error
        raise ValueError("no such time comes within 50 years")

    def following(self, point: datetime, now: datetime) -> datetime:
        """Return the first point that lies behind `point` and not before `now`; those between are skipped."""
        return self.after(max(point, now - _INSTANT))


def zone(tz: tzinfo | str) -> tzinfo:
    """Return the time zone that is given, or named."""
    if isinstance(tz, tzinfo):
        return tz
    if not isinstance(tz, str):
        raise TypeError(f"tz must be a tzinfo or the name of a time zone, got {tz!r}")
    try:
        return ZoneInfo(tz)
    except (ValueError, OSError, KeyError) as error:  # depending on how it is wrong
        raise ValueError(f"tz must be a time zone, got {tz!r}") from error


def _cronsim() -> ModuleType:
    try:
        import cronsim
    except ImportError as error:
        raise ImportError("job.tasks.cron needs cronsim: pip install 'trio-job[cron]'") from error
    return cronsim
