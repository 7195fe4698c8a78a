"""`cron`: run a task at the points of a cron schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import final

from .._core import check
from .._core.forms import AsyncRoutine, Inner, TaskForm
from .._core.run.pause import pause
from .._core.steps import ticked
from .._core.task import Task
from ._schedule import Schedule, WallClock, wall_time, zone
from ._wrapper import Wrapper, check_form


def cron(
    expression: str,
    t: TaskForm,
    *,
    tz: tzinfo | str = UTC,
    now: Callable[[], datetime] = wall_time,
) -> Wrapper:
    """Return a factory of a task whose tick means "again at the next point" of a cron schedule.

    The first run is at the first point after the start. A run that takes too long skips the points that it missed, and no point
    runs twice. A stop of the job ends the wait at once. The task's idle clock goes on during the wait.

    The wall clock is checked at least once a minute. A point that passed because the clock was set forward, or while the
    machine slept, runs within a minute. If the clock is set back, a point that is now ahead is waited for again; but a clock
    that was set back by more than three hours was wrong before, and the schedule starts anew.

    At a daylight-saving change, a fixed time that is skipped runs right after the change, and one that is repeated runs once.
    Hours or minutes given as `*` follow real time.

    For a fixed interval use `every`, which clock changes do not affect. This needs the extra `cron`.

    Args:
        expression: five fields (minute, hour, day of month, month, day of week), or six with seconds before them, or one of
            `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`.
        t: the task, in any of its forms.
        tz: the time zone of the expression, or its name.
        now: returns the wall time as an aware datetime. The default is the system's clock; under a MockClock, the wall time at
            the start plus trio's time since.

    Raises:
        ImportError: cronsim is not installed.
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    check_form("t", t)
    if not callable(now):
        raise TypeError(f"now must be callable, got {now!r}")
    check.plain("now", now)
    schedule = Schedule(check.str_("expression", expression), zone(tz))

    def change(inner: Inner) -> Inner:
        return inner if inner.run is None else inner._replace(run=Scheduled(inner.run, schedule, now).run)

    return Wrapper(t, change)


@final
class Scheduled:
    """Calls a run at the points of a schedule."""

    __slots__ = ("_point", "_run", "_schedule", "_waits", "_wall")

    def __init__(self, run: AsyncRoutine, schedule: Schedule, now: Callable[[], datetime]) -> None:
        self._run = run
        self._schedule = schedule
        self._wall = WallClock(now)
        self._point: datetime | None = None  # The latest point whose wait came to its end.
        self._waits = True

    async def run(self, task: Task) -> object:
        """Wait for the next point, unless the last run ended without a tick; then run."""
        if self._waits and not await self._wait(task):
            return None
        self._waits = False
        result = await self._run(task)
        self._waits = ticked(task)
        return result

    async def _wait(self, task: Task) -> bool:
        now = self._look()
        point = self._next(now)
        while (left := (point - now).total_seconds()) > 0:
            if not await pause(task, min(left, self._wall.steady_for)):
                return False
            now = self._look()
            if self._wall.corrected:
                point = self._next(now)
        self._point = point
        return True

    def _look(self) -> datetime:
        now = self._wall.read()
        if self._wall.corrected:  # A wait by a clock that was wrong does not count.
            self._point = None
        return now

    def _next(self, now: datetime) -> datetime:
        return self._schedule.after(now) if self._point is None else self._schedule.following(self._point, now)
