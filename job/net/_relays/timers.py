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


class Timer(Protocol):
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
class ScopeTimer:
    """Stands by itself: a cancel scope for each sleep."""

    __slots__ = ("_scope", "_wakeup")

    def __init__(self) -> None:
        self._wakeup = Wakeup()
        self._scope: trio.CancelScope | None = None

    async def sleep(self, at: float) -> None:
        """Sleep until then, or until `wake`."""
        self._wakeup = Wakeup()
        with trio.CancelScope(deadline=at) as self._scope:
            await self._wakeup.wait(unshielded)

    def move(self, at: float) -> None:
        """Have the sleeper sleep until then; one that sleeps without end waits for something else, and is woken."""
        if self._scope is None or self._scope.deadline == math.inf:
            self.wake()
        else:
            self._scope.deadline = at

    def wake(self) -> None:
        """Wake the sleeper."""
        self._wakeup.wake()


@final
class SharedTimer:
    """One of many `Timers`: a fifth of what a cancel scope costs."""

    __slots__ = ("_timers", "_wakeup", "at")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._wakeup = Wakeup()
        self.at = math.inf

    def sleep(self, at: float) -> Awaitable[None]:
        """Sleep until then, or until `wake`."""
        self._wakeup = Wakeup()
        self.move(at)
        return self._wakeup.wait(unshielded)

    def move(self, at: float) -> None:
        """Have the sleeper sleep until then; for a later time it may wake up early."""
        if at < self.at:
            self.at = at
            self._timers.add(self, at)

    def wake(self) -> None:
        """Wake the sleeper."""
        self.at = math.inf
        self._wakeup.wake()


@final
class Timers:
    """Any number of timers; one task sleeps until the earliest.

    A timer that was moved or is no longer needed stays in the heap until its time has come, or until stale entries
    outnumber live ones.
    """

    __slots__ = ("_heap", "_order", "_scope")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, SharedTimer]] = []
        self._order = count()
        self._scope: trio.CancelScope | None = None

    def add(self, timer: SharedTimer, at: float) -> None:
        """Fire a timer at that time, if it is still set to it."""
        heappush(self._heap, (at, next(self._order), timer))
        if self._scope is not None and at < self._scope.deadline:
            self._scope.deadline = at

    def scope(self) -> trio.CancelScope:
        """Return a scope that is cancelled when it is time to `fire`."""
        heap = self._heap
        while heap and heap[0][2].at != heap[0][0]:
            heappop(heap)
        self._scope = trio.CancelScope(deadline=heap[0][0] if heap else math.inf)
        return self._scope

    def fire(self) -> None:
        """Ring all whose time has come."""
        now = trio.current_time()
        while self._heap and self._heap[0][0] <= now:
            at, _, timer = heappop(self._heap)
            if timer.at == at:
                timer.wake()

    def compact(self, in_use: int) -> None:
        """Drop stale entries if they outnumber live ones; `in_use`: how many are live."""
        if len(self._heap) > _FEW + 4 * in_use:
            self._heap = [each for each in self._heap if each[2].at == each[0]]
            heapify(self._heap)
