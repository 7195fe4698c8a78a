"""Sleep until a time that may change, or until somebody calls: the watch of a relay between two events."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Protocol, final

import trio

from ..._core.trio.wakeup import Wakeup, unshielded

_FEW: Final = 64


class Alarm(Protocol):
    """Wakes one sleeper."""

    def sleep(self, at: float) -> Awaitable[None]:
        """Sleep until then, or until `wake`."""
        ...

    def move(self, at: float) -> None:
        """Have the sleeper sleep until then instead; it may wake up early."""
        ...

    def wake(self) -> None:
        """Wake the sleeper."""
        ...


@final
class ScopeAlarm:
    """Stands by itself: a cancel scope for each sleep."""

    __slots__ = ("_bell", "_scope")

    def __init__(self) -> None:
        self._bell = Wakeup()
        self._scope: trio.CancelScope | None = None

    async def sleep(self, at: float) -> None:
        """Sleep until then, or until `wake`."""
        self._bell = Wakeup()
        with trio.CancelScope(deadline=at) as self._scope:
            await self._bell.wait(unshielded)

    def move(self, at: float) -> None:
        """Have the sleeper sleep until then; one that sleeps without end waits for something else, and is woken."""
        if self._scope is None or self._scope.deadline == math.inf:
            self.wake()
        else:
            self._scope.deadline = at

    def wake(self) -> None:
        """Wake the sleeper."""
        self._bell.wake()


@final
class SharedAlarm:
    """One of many `Alarms`: a fifth of what a cancel scope costs."""

    __slots__ = ("_alarms", "_bell", "at")

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._bell = Wakeup()
        self.at = math.inf

    def sleep(self, at: float) -> Awaitable[None]:
        """Sleep until then, or until `wake`."""
        self._bell = Wakeup()
        self.move(at)
        return self._bell.wait(unshielded)

    def move(self, at: float) -> None:
        """Have the sleeper sleep until then; for a later time it may wake up early."""
        if at < self.at:
            self.at = at
            self._alarms.add(self, at)

    def wake(self) -> None:
        """Wake the sleeper."""
        self.at = math.inf
        self._bell.wake()


@final
class Alarms:
    """Any number of alarms, of which one task looks after the earliest one.

    An alarm that was moved or is no longer needed stays in the heap until its time has come or such are the most there are.
    """

    __slots__ = ("_heap", "_order", "_scope")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, SharedAlarm]] = []
        self._order = count()
        self._scope: trio.CancelScope | None = None

    def add(self, alarm: SharedAlarm, at: float) -> None:
        """Ring an alarm at that time, if it is still set to it."""
        heappush(self._heap, (at, next(self._order), alarm))
        if self._scope is not None and at < self._scope.deadline:
            self._scope.deadline = at

    def scope(self) -> trio.CancelScope:
        """Return a scope that is cancelled when it is time to `ring`."""
        heap = self._heap
        while heap and heap[0][2].at != heap[0][0]:
            heappop(heap)
        self._scope = trio.CancelScope(deadline=heap[0][0] if heap else math.inf)
        return self._scope

    def ring(self) -> None:
        """Ring all whose time has come."""
        now = trio.current_time()
        while self._heap and self._heap[0][0] <= now:
            at, _, alarm = heappop(self._heap)
            if alarm.at == at:
                alarm.wake()

    def tidy(self, in_use: int) -> None:
        """Throw out those that nobody needs, if they are the most there are; `in_use`: how many are needed."""
        if len(self._heap) > _FEW + 4 * in_use:
            self._heap = [each for each in self._heap if each[2].at == each[0]]
            heapify(self._heap)
