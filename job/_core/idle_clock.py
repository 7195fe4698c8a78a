"""The idle clock: the time since the last sign of life, measured without a timer."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import final

import trio

from . import check


@final
class IdleClock:
    """The seconds since the last `touch`, with a limit; any number of tasks may share one clock.

    A relay is idle only when both of its directions are: give both tasks the same clock, and a tick of either counts for
    both. A touch is a clock read and a store; the watcher that enforces the limit sleeps until `deadline` and looks again.

    For a limit on a single wait use `trio.fail_after`.

    Args:
        seconds: how long the holders may be silent. It is writable, and a new limit takes effect at once.
    """

    __slots__ = ("_busy", "_seconds", "_touched", "_watchers")

    def __init__(self, seconds: float) -> None:
        self._seconds = check.positive_seconds("seconds", seconds)
        self._touched = -math.inf  # A plain attribute, because each tick of each holder writes it.
        self._busy = 0
        self._watchers: dict[object, Callable[[], None]] = {}

    def touch(self) -> None:
        """Restart the clock."""
        self._touched = trio.current_time()

    @property
    def idle_for(self) -> float:
        """The seconds since the last touch; 0 while a holder is busy, and before the first touch."""
        if self._busy or self._touched == -math.inf:
            return 0.0
        return trio.current_time() - self._touched

    @property
    def deadline(self) -> float:
        """When the limit is reached, on trio's clock; infinity while a holder is busy, and before the first touch."""
        if self._busy or self._touched == -math.inf:
            return math.inf
        return self._touched + self._seconds

    @property
    def seconds(self) -> float:
        """The limit, in seconds."""
        return self._seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = check.positive_seconds("seconds", seconds)
        self._tell_watchers()

    def busy(self) -> AbstractContextManager[None]:
        """Stop the clock for all holders while the block runs; it restarts from zero at the end of the last such block."""
        return _Busy(self)

    def _work_begins(self) -> None:
        self._busy += 1

    def _work_ends(self) -> None:
        self._busy -= 1
        self.touch()
        self._tell_watchers()

    def _watch(self, token: object, changed: Callable[[], None]) -> None:
        """Call `changed` when the deadline may have come nearer, until `_unwatch(token)`; touches only move it away."""
        self._watchers[token] = changed

    def _unwatch(self, token: object) -> None:
        """Forget a watcher."""
        self._watchers.pop(token, None)

    def _tell_watchers(self) -> None:
        for changed in tuple(self._watchers.values()):
            changed()

    def __repr__(self) -> str:
        return f"<IdleClock {self._seconds:g} s>"


def touch_at(clock: IdleClock, now: float) -> None:
    """Restart a clock at a time that was just read: what `touch` does, without reading it again."""
    clock._touched = now


@final
class _Busy:
    """The block of `IdleClock.busy`; a class, as what goes through a generator may come out changed."""

    __slots__ = ("_clock",)

    def __init__(self, clock: IdleClock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._clock._work_begins()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._clock._work_ends()
