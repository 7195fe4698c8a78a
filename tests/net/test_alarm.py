"""Alarms that share one sleeper, as the watches of relays do."""

import math

import trio
from trio.testing import MockClock

from job.net._relays.timers import SharedTimer, Timers


async def look_after(alarms: Timers) -> None:
    """Be the one task that sleeps for all."""
    while True:
        with alarms.scope():
            await trio.sleep_forever()
        alarms.fire()


async def test_each_at_its_time(autojump_clock: MockClock) -> None:
    """Each alarm wakes its sleeper at its time, also one that is set while a later one is the next."""
    alarms = Timers()
    woken: list[tuple[float, float]] = []

    async def sleeper(at: float) -> None:
        await SharedTimer(alarms).sleep(at)
        woken.append((at, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_after, alarms)
        async with trio.open_nursery() as sleepers:
            for at in (30, 10, 20, 10):
                sleepers.start_soon(sleeper, at)
                await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert woken == [(10, 10), (10, 10), (20, 20), (30, 30)]


async def test_moved(autojump_clock: MockClock) -> None:
    """An alarm that is moved to an earlier time rings then, and only then; a later time does not put it off."""
    alarms = Timers()
    alarm = SharedTimer(alarms)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_after, alarms)
        sleep = alarm.sleep(50)
        alarm.move(5)
        alarm.move(60)
        await sleep
        assert trio.current_time() == 5
        with trio.move_on_after(100) as scope:
            await alarm.sleep(math.inf)
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_moved_away(autojump_clock: MockClock) -> None:
    """A time that an alarm is no longer set to passes unheard, though the one that looks after all wakes up for it."""
    alarms = Timers()
    alarm = SharedTimer(alarms)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_after, alarms)
        await trio.testing.wait_all_tasks_blocked()
        sleep = alarm.sleep(50)
        alarm.at = math.inf
        alarm.move(60)
        await sleep
        assert trio.current_time() == 60
        nursery.cancel_scope.cancel()


async def test_woken(autojump_clock: MockClock) -> None:
    """A sleeper that was woken before its time hears nothing of it later; a call that comes first is kept."""
    alarms = Timers()
    alarm = SharedTimer(alarms)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_after, alarms)
        sleep = alarm.sleep(5)
        alarm.wake()
        await sleep
        assert trio.current_time() == 0
        await alarm.sleep(8)
        assert trio.current_time() == 8
        nursery.cancel_scope.cancel()


def test_tidy() -> None:
    """Alarms that nobody needs any more are thrown out when they are the most."""
    alarms = Timers()
    needed = SharedTimer(alarms)
    needed.move(7)
    for at in range(100):
        alarm = SharedTimer(alarms)
        alarm.move(at)
        alarm.wake()
    alarms.compact(100)
    assert len(alarms._heap) == 101
    alarms.compact(1)
    assert [each[2] for each in alarms._heap] == [needed]
