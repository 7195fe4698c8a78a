"""Enforces the idle timeouts of a job's tasks: one sleeper for all, woken only when the nearest deadline may have come."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import trio

from ._task import Task


@final
class IdleWatch:
    """Sleeps until the nearest idle deadline, looks whether it still stands, and reports the tasks whose clocks ran out.

    A tick only stores the time, so the sleeper wakes up at most once in each idle timeout, however often the tasks tick.
    """

    __slots__ = ("_expired", "_holders", "_scope", "sleeping")

    def __init__(self, expired: Callable[[Task], None]) -> None:
        self._expired = expired
        self._holders: list[Task] = []
        self._scope: trio.CancelScope | None = None
        self.sleeping = False

    def add(self, task: Task) -> None:
        """Start the clock of a task and watch it."""
        clock = task._idle
        if clock is not None:
            clock.touch()
            clock.watch(self, self.look_again)
            self._holders.append(task)
            self._holders.sort(key=lambda holder: holder.index)
            self.look_again()

    def remove(self, task: Task) -> None:
        """Watch a task no longer: its loop has ended."""
        if task in self._holders:
            self._holders.remove(task)
            if task._idle is not None and not any(holder._idle is task._idle for holder in self._holders):
                task._idle.unwatch(self)
            self.look_again()

    def look_again(self) -> None:
        """Wake the sleeper: the nearest deadline may be another one now."""
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """Enforce the deadlines while there are any; a cancellation comes through."""
        self.sleeping = True
        try:
            while self._holders:
                nearest = min(holder._idle.deadline for holder in self._holders if holder._idle is not None)
                with trio.CancelScope(deadline=nearest) as self._scope:
                    await trio.sleep_forever()
                self._scope = None
                self._report(trio.current_time())
        finally:
            self.sleeping = False
            self._scope = None

    def _report(self, now: float) -> None:
        # In the order of the indexes; each report may end the job or only the one task.
        for holder in tuple(self._holders):
            if holder in self._holders and holder._idle is not None and holder._idle.deadline <= now:
                self.remove(holder)
                self._expired(holder)
