"""Enforces the idle timeouts of a job's tasks: one sleeper for all, woken only when the nearest deadline may have come."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import trio

from ..idle_clock import IdleClock
from ..task import Task
from ..trio.rounds import let_all_catch_up


@final
class IdleWatch:
    """Sleeps until the nearest idle deadline, looks whether it still stands, and reports the tasks whose clocks ran out.

    A tick only stores the time, so the sleeper wakes up at most once in each idle timeout, however often the tasks tick.
    """

    __slots__ = ("_closed", "_expired", "_holders", "_scope", "sleeping")

    def __init__(self, expired: Callable[[Task], None]) -> None:
        self._expired = expired
        self._holders: dict[Task, IdleClock] = {}
        self._scope: trio.CancelScope | None = None
        self._closed = False
        self.sleeping = False

    def add(self, task: Task, clock: IdleClock) -> None:
        """Start the clock of a task and watch it."""
        clock.touch()
        clock._watch(task, self.look_again)
        self._holders[task] = clock
        self.look_again()

    def remove(self, task: Task) -> None:
        """Watch a task no longer: its loop has ended."""
        clock = self._holders.pop(task, None)
        if clock is not None:
            clock._unwatch(task)

    def close(self) -> None:
        """Let `run` return."""
        self._closed = True
        self.look_again()

    def look_again(self) -> None:
        """Wake the sleeper: the nearest deadline may be another one now."""
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """Enforce the deadlines until `close`; a cancellation comes through."""
        self.sleeping = True
        try:
            while not self._closed:
                nearest = min((clock.deadline for clock in self._holders.values()), default=math.inf)
                with trio.CancelScope(deadline=nearest) as self._scope:
                    await trio.sleep_forever()
                self._scope = None
                await self._judge(trio.current_time())
        finally:
            self.sleeping = False
            self._scope = None

    async def _judge(self, now: float) -> None:
        """Report whose clock ran out, in the order of the indexes; each report may end the job or only the one task."""
        if not self._silent_at(now):
            return
        await let_all_catch_up()  # this may be late, and their ticks about to come
        for task in sorted(self._silent_at(now), key=lambda holder: holder.index):
            self.remove(task)
            self._expired(task)

    def _silent_at(self, now: float) -> list[Task]:
        return [task for task, clock in self._holders.items() if clock.deadline <= now]
