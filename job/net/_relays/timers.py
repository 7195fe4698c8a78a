"""Timers that can be moved and woken: a relay sleeps on one between two events.

Theory. Each byte that moves puts off a relay's timeout, so the deadline changes far more often than it passes. Neither kind of
timer follows each change: the sleeper is woken at the earliest deadline it was given, looks at the clock, and sleeps again. So
`moved` costs one assignment, and a relay that is busy wakes once per timeout, not once per chunk.
"""

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
        """Sleep until `at`, or until `wake`."""
        ...

    def move(self, at: float) -> None:
        """Change the time to `at`; the sleeper may wake early."""
        ...

    def wake(self) -> None:
        """Wake the sleeper."""
        ...


@final
class ScopeTimer:
    """A timer of its own: a cancel scope for each sleep."""

    __slots__ = ("_scope", "_wakeup")

    def __init__(self) -> None:
        self._wakeup = Wakeup()
        self._scope: trio.CancelScope | None = None

    async def sleep(self, at: float) -> None:
        """Sleep until `at`, or until `wake`."""
        self._wakeup = Wakeup()
        with trio.CancelScope(deadline=at) as self._scope:
            await self._wakeup.wait(unshielded)

    def move(self, at: float) -> None:
        """Change the time to `at`; a sleeper without a deadline waits for something else, and is woken."""
        if self._scope is None or self._scope.deadline == math.inf:
            self.wake()
        else:
            self._scope.deadline = at

    def wake(self) -> None:
        """Wake the sleeper."""
        self._wakeup.wake()


@final
class SharedTimer:
    """One of many timers that share a task, at a fifth of the cost of a cancel scope."""

    __slots__ = ("_timers", "_wakeup", "at")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._wakeup = Wakeup()
        self.at = math.inf

    def sleep(self, at: float) -> Awaitable[None]:
        """Sleep until `at`, or until `wake`."""
        self._wakeup = Wakeup()
        self.move(at)
        return self._wakeup.wait(unshielded)

    def move(self, at: float) -> None:
        """Change the time to `at`; if that is later, the sleeper may wake early."""
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

    The entry of a timer that was moved, or is no longer needed, stays in the heap until its time has come, or until stale
    entries outnumber live ones: to find it and take it out would cost more.
    """

    __slots__ = ("_heap", "_order", "_scope")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, SharedTimer]] = []
        self._order = count()
        self._scope: trio.CancelScope | None = None

    def add(self, timer: SharedTimer, at: float) -> None:
        """Fire a timer at `at`, if it is still set to that time."""
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
        """Wake the sleepers of all timers that are due."""
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
