"""`cron`: a task at the points of a cron schedule."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio
from trio.testing import MockClock

from job import Job, JobState, Task, TaskState
from job.tasks import cron
from job.tasks._schedule import NICKNAMES, Schedule, wall_time
from tests.journal import Journal, done, forever

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3600.0
DAY = 24 * HOUR


class Wall:
    """A wall clock that goes with trio's, until somebody sets it."""

    def __init__(self, start: datetime = START) -> None:
        self.start = start
        self.calls = 0

    def now(self) -> datetime:
        """Return the wall time."""
        self.calls += 1
        return self.start + timedelta(seconds=trio.current_time())

    def set_by(self, seconds: float) -> None:
        """Set it forward, or back."""
        self.start += timedelta(seconds=seconds)


class Ticks(list[float]):
    """When the run was called; each call takes the next of the given seconds, or none."""

    def run(self, *seconds: float, then: Callable[[Task], None] = Task.tick) -> Any:
        """Return a run that ticks."""
        left = iter(seconds)

        async def poll(task: Task) -> None:
            self.append(trio.current_time())
            await trio.sleep(next(left, 0))
            then(task)

        return poll


async def run_for(seconds: float, task: object) -> Job[Any]:
    """Run a job of one task for some seconds, and finish it."""
    j = Job[Any]()
    j.add_task(task)
    async with j:
        await trio.sleep(seconds)
    return j


async def test_points(autojump_clock: MockClock) -> None:
    """A tick means: again at the next point, the first being behind the start."""
    ticks = Ticks()
    await run_for(250, cron("* * * * *", ticks.run(), now=Wall().now))
    assert ticks == [60, 120, 180, 240]


async def test_start_between_two_points(autojump_clock: MockClock) -> None:
    """The first point is that of the clock on the wall, not an interval from now."""
    ticks = Ticks()
    await run_for(200, cron("* * * * *", ticks.run(), now=Wall(START + timedelta(seconds=45)).now))
    assert ticks == [15, 75, 135, 195]


@pytest.mark.parametrize("expression", ["@hourly", "@HOURLY", " @hourly "])
async def test_hourly(expression: str, autojump_clock: MockClock) -> None:
    """The nicknames of cron are understood."""
    ticks = Ticks()
    await run_for(3 * HOUR + 1, cron(expression, ticks.run(), now=Wall().now))
    assert ticks == [HOUR, 2 * HOUR, 3 * HOUR]


async def test_seconds(autojump_clock: MockClock) -> None:
    """A sixth field, before the others, is that of the seconds."""
    ticks = Ticks()
    await run_for(61, cron("*/20 * * * * *", ticks.run(), now=Wall().now))
    assert ticks == [20, 40, 60]


async def test_overrun_skips_points(autojump_clock: MockClock) -> None:
    """Points that a run has missed are not made up for."""
    ticks = Ticks()
    await run_for(400, cron("* * * * *", ticks.run(0, 150, 60), now=Wall().now))
    assert ticks == [60, 120, 300, 360]


async def test_idle_polls_and_done_ends(autojump_clock: MockClock) -> None:
    """Only a tick waits for the next point."""
    calls: list[float] = []

    async def poll(task: Task) -> None:
        calls.append(trio.current_time())
        task.idle() if len(calls) < 3 else task.done()

    j = Job[Any]()
    j.add_task(cron("* * * * *", poll, now=Wall().now))
    assert await j.run() is JobState.DONE
    assert calls[0] == 60
    assert calls[-1] < 60.1


@pytest.mark.parametrize("grace", [0, 10_000])
async def test_finish_ends_the_wait(grace: float, autojump_clock: MockClock) -> None:
    """At once, whatever the grace; the task was stopped at a step."""
    j = Job[Any]()
    task = j.add_task(cron("@daily", done, now=Wall().now))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await trio.sleep(5)
        j.finish(grace)
    assert (trio.current_time(), j.state, task.state) == (5, JobState.DONE, TaskState.FINISHED)


async def test_other_routines_are_kept(autojump_clock: MockClock) -> None:
    """Name, init and finalizer are those of the task inside."""
    journal = Journal()
    j = await run_for(90, cron("* * * * *", journal.task("poll", run=forever), now=Wall().now))
    assert (j.tasks[0].name, journal) == ("poll", ["poll.init", "poll.run", "poll.finalize"])


async def test_no_run(autojump_clock: MockClock) -> None:
    """What has no run is left as it is."""
    j = Job[Any]()
    j.add_task(cron("@hourly", Journal().task("set up", run=None)))
    assert await j.run() is JobState.DONE


# -- wall time


async def test_clock_set_back(autojump_clock: MockClock) -> None:
    """A point that is not reached yet, when its time should have come, is waited for again; none comes twice."""
    wall, ticks = Wall(), Ticks()
    j = Job[Any]()
    j.add_task(cron("* * * * *", ticks.run(), now=wall.now))
    async with j:
        await trio.sleep(130)
        wall.set_by(-90)
        await trio.sleep(300)
    assert ticks == [60, 120, 270, 330, 390]


async def test_clock_set_forward(autojump_clock: MockClock) -> None:
    """The points that were passed over are skipped."""
    wall, ticks = Wall(), Ticks()
    j = Job[Any]()
    j.add_task(cron("* * * * *", ticks.run(), now=wall.now))
    async with j:
        await trio.sleep(130)
        wall.set_by(1000)
        await trio.sleep(150)
    # Woken for 180 it finds that the wall says 1180; the next is 1200, which comes at 200.
    assert ticks == [60, 120, 180, 200, 260]


async def runs_of(expression: str, *jumps: float, after: float = 600) -> Ticks:
    """Run a task on a wall clock that jumps after 630 seconds, and then each `after` seconds."""
    wall, ticks = Wall(START + timedelta(hours=12)), Ticks()
    j = Job[Any]()
    j.add_task(cron(expression, ticks.run(), now=wall.now))
    async with j:
        await trio.sleep(630)
        for jump in jumps:
            wall.set_by(jump)
            await trio.sleep(after)
    return ticks


@pytest.mark.parametrize("expression", ["0 13 * * *", "@hourly", "30 * 13 * * *"])
async def test_point_that_passed_in_a_sleep(expression: str, autojump_clock: MockClock) -> None:
    """A machine that slept over a point runs it within a minute of its waking up, once."""
    assert [at for at in await runs_of(expression, 55 * 60) if at <= 660] == [660]


async def test_clock_set_back_by_less_than_three_hours(autojump_clock: MockClock) -> None:
    """No point comes twice: it is silent for so long."""
    ticks = await runs_of("*/10 * * * *", -3 * HOUR, after=4 * HOUR)
    assert ticks[:2] == [600, 3 * HOUR + 1200]


async def test_clock_set_back_by_more_than_three_hours(autojump_clock: MockClock) -> None:
    """It was wrong before: the schedule starts anew, at the next look."""
    ticks = await runs_of("*/10 * * * *", -3 * HOUR - 1, after=HOUR)
    assert ticks[:3] == [600, 1201, 1801]


async def test_clock_that_was_wrong_from_the_start(autojump_clock: MockClock) -> None:
    """A first point that was far away is given up when the clock is put right."""
    assert await runs_of("0 11 * * *", -4 * HOUR, after=4 * HOUR) == [3 * HOUR]


async def test_clock_set_back_twice_by_two_hours(autojump_clock: MockClock) -> None:
    """Neither is a correction, and no point comes twice."""
    ticks = await runs_of("*/10 * * * *", -2 * HOUR, -2 * HOUR, after=600)
    assert ticks == [600]


async def test_clock_put_right_during_a_run(autojump_clock: MockClock) -> None:
    """That the run took hours is no reason not to see it."""
    wall, ticks = Wall(), Ticks()
    j = Job[Any]()
    j.add_task(cron("@hourly", ticks.run(5 * HOUR), now=wall.now))
    async with j:
        await trio.sleep(2 * HOUR)
        wall.set_by(-4 * HOUR)
        await trio.sleep(6.5 * HOUR)
    assert ticks == [HOUR, 7 * HOUR, 8 * HOUR]


async def test_wall_time_of_a_mock_clock(autojump_clock: MockClock) -> None:
    """It begins with the real one, and goes with trio's."""
    before = datetime.now(UTC)
    first = wall_time()
    await trio.sleep(DAY)
    assert before <= first <= datetime.now(UTC)
    assert wall_time() - first == timedelta(days=1)


async def test_default_now_under_a_mock_clock(autojump_clock: MockClock) -> None:
    """Hours of the schedule pass as fast as trio's."""
    ticks = Ticks()
    await run_for(10 * HOUR, cron("@hourly", ticks.run()))
    assert len(ticks) == 10
    assert {round(later - earlier) for earlier, later in itertools.pairwise(ticks)} == {3600}


async def test_wall_time_of_the_real_clock() -> None:
    """It is the system's."""
    assert abs(wall_time() - datetime.now(UTC)) < timedelta(seconds=5)
    assert wall_time().tzinfo is UTC


@pytest.mark.parametrize(
    ("now", "error"),
    [
        (lambda: START.replace(tzinfo=None), "now must give an aware datetime"),
        (lambda: 17.0, "now must give a datetime"),
    ],
)
async def test_now_that_gives_something_else(now: Any, error: str, autojump_clock: MockClock) -> None:
    """It fails the task, and says what is wrong."""
    j = Job[Any]()
    j.add_task(cron("@hourly", done, now=now))
    with pytest.raises((TypeError, ValueError), match=error):
        await j.run()


# -- time zones


def points(expression: str, start: datetime, count: int) -> list[str]:
    """Return the first points behind `start` in Berlin, as its clocks show them."""
    schedule, found = Schedule(expression, BERLIN), [start.astimezone(UTC)]
    for _ in range(count):
        found.append(schedule.following(found[-1], found[-1]))
    assert found == sorted(set(found))
    return [point.astimezone(BERLIN).strftime("%d. %H:%M%z") for point in found[1:]]


def test_zone() -> None:
    """The expression is meant in its zone."""
    assert points("30 9 * * *", datetime(2026, 7, 1, tzinfo=UTC), 1) == ["01. 09:30+0200"]
    assert points("30 9 * * *", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["01. 09:30+0100"]


def test_spring() -> None:
    """A fixed time that the change of the clocks skips comes right after it."""
    start = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
    assert points("30 2 * * *", start, 2) == ["29. 03:00+0200", "30. 02:30+0200"]
    assert points("0 * * * *", start + timedelta(hours=13), 3) == ["29. 03:00+0200", "29. 04:00+0200", "29. 05:00+0200"]


def test_autumn() -> None:
    """A fixed time in the hour that comes twice comes once; every hour comes each time."""
    start = datetime(2026, 10, 24, 12, tzinfo=BERLIN)
    assert points("30 2 * * *", start, 2) == ["25. 02:30+0200", "26. 02:30+0100"]
    assert points("0 * * * *", start + timedelta(hours=13), 3) == ["25. 02:00+0200", "25. 02:00+0100", "25. 03:00+0100"]


def test_start_in_the_second_of_two_hours() -> None:
    """What came in the first is past."""
    second = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    assert points("30 2 * * *", second, 1) == ["26. 02:30+0100"]


@pytest.mark.parametrize("tz", [BERLIN, "Europe/Berlin"])
async def test_change_of_the_clocks_while_running(tz: Any, autojump_clock: MockClock) -> None:
    """A day of the change has 23 or 25 hours."""
    for month, day, hours in ((3, 28, 23), (10, 24, 25)):
        ticks = Ticks()
        noon_before = datetime(2026, month, day - 1, 12, tzinfo=UTC)
        wall = Wall(noon_before - timedelta(seconds=trio.current_time()))
        await run_for(3 * DAY, cron("0 4 * * *", ticks.run(), now=wall.now, tz=tz))
        assert (ticks[1] - ticks[0]) / HOUR == hours


@pytest.mark.parametrize("tz", [UTC, timezone(timedelta(hours=2))])
def test_fixed_zones(tz: Any) -> None:
    """A zone without changes will do."""
    found = Schedule("0 9 * * *", tz).after(START)
    assert found.astimezone(tz).hour == 9


@pytest.mark.parametrize("nickname", NICKNAMES)
def test_nicknames(nickname: str) -> None:
    """Each stands for midnight of some day, or an hour."""
    found = Schedule(nickname, UTC).after(datetime(2026, 6, 17, 13, 5, tzinfo=UTC))
    assert (found.minute, found.second) == (0, 0)
    assert found.hour == (14 if nickname == "@hourly" else 0)


# -- refused


@pytest.mark.parametrize("expression", ["every minute", "61 * * * *", "* * * *", "@reboot", "* * 30 2 *", "0 0 31 4 *"])
def test_bad_expression(expression: str) -> None:
    """It is refused at the call, by name and value."""
    with pytest.raises(ValueError, match=re.escape(f"expression must be a cron expression, got {expression!r}")):
        cron(expression, done)


def test_expression_that_never_comes() -> None:
    """The first or the 31st of February is never a fifth Monday."""
    with pytest.raises(ValueError, match="no such time comes within 50 years"):
        cron("0 0 */30 2 1#5", done)


def test_empty_expression() -> None:
    """It is refused at the call."""
    with pytest.raises(ValueError, match="expression must not be empty, got ''"):
        cron("", done)


def test_expression_of_another_type() -> None:
    """It is text."""
    with pytest.raises(TypeError, match="expression must be a str, got 60"):
        cron(60, done)  # type: ignore[arg-type]


@pytest.mark.parametrize("tz", ["Europe/Atlantis", "", "/etc/passwd"])
def test_unknown_zone(tz: str) -> None:
    """It is refused at the call."""
    with pytest.raises(ValueError, match=f"tz must be a time zone, got {tz!r}"):
        cron("@hourly", done, tz=tz)


def test_zone_of_another_type() -> None:
    """It is a tzinfo, or a name."""
    with pytest.raises(TypeError, match="tz must be a tzinfo or the name of a time zone, got None"):
        cron("@hourly", done, tz=None)  # type: ignore[arg-type]


def test_now_that_cannot_be_called() -> None:
    """A datetime is no clock."""
    with pytest.raises(TypeError, match="now must be callable"):
        cron("@hourly", done, now=START)  # type: ignore[arg-type]


def test_without_cronsim(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(ImportError, match=r"job.tasks.cron needs cronsim: pip install 'trio-job\[cron\]'"):
        cron("@hourly", done)
