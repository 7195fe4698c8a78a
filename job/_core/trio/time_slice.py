"""The time slice that the spinning loops of a trio run share.

Theory: a run loop whose `run` never awaits would starve all other trio tasks and outlive every deadline. A checkpoint per step
prevents that, and costs some twenty times the step itself. A checkpoint whenever a slice of time is used up prevents it as
well, for next to nothing. The loops that spin at the same time share one slice, so a hundred of them delay the other tasks no
longer than one does: each round of the scheduler divides a new slice among
the loops that wait for it.

A loop whose `run` has just suspended has passed a checkpoint already, and need not pay for a second one. trio clears a task's
`custom_sleep_data` when it suspends, which shows whether the task has suspended since the loop last looked.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import Protocol

import trio
from trio.lowlevel import RunVar

from .scopes import is_cancelled

SLICE = 0.001
"""Seconds of processor time between two rounds of trio's scheduler, spent by all spinning loops together."""

# The loop stores this in a trio task's sleep data when it yields; trio clears the sleep data whenever the task suspends.
_CHECKED = object()


class SpinWatch(Protocol):
    """Observer of spinning loops: those that yield without having suspended since they last yielded."""

    def spun(self, task: trio.lowlevel.Task) -> None:
        """Note that a loop yields and has not suspended since the last time."""
        ...

    def suspended(self, task: trio.lowlevel.Task) -> None:
        """Note that a loop checks its slice and has suspended since the last time."""
        ...


class TimeSlice:
    """The shared slice of one trio run; its clock and token let other threads reach the run."""

    __slots__ = (
        "__weakref__",
        "_seen",
        "_seen_before",
        "_seen_until",
        "clock",
        "on_spin",
        "slice",
        "slice_ends",
        "token",
        "waiting",
    )

    def __init__(self) -> None:
        # A mock clock means a test that observes each step, so every tick is a checkpoint there.
        self.slice = 0.0 if clock_is_mocked() else SLICE
        self.clock = trio.lowlevel.current_clock()
        self.token = trio.lowlevel.current_trio_token()
        self.on_spin: SpinWatch | None = None  # None: nothing watches for spinning loops.
        self.waiting = 0
        self.slice_ends = 0.0  # On `monotonic`: the end of the share that was granted last.
        self._seen = self._seen_before = (
            0  # Loops that had suspended by themselves, in this slice and in the one before it.
        )
        self._seen_until = 0.0

    async def yield_if_due(self) -> float:
        """Let other tasks run once if that is due; return when, on `monotonic`, the caller has to ask again."""
        return self.may_go_on(trio.lowlevel.current_task(), monotonic()) or await self.checkpoint()

    def may_go_on(self, task: trio.lowlevel.Task, now: float) -> float:
        """Return until when, on `monotonic`, the running trio task may go on; 0.0 if it must pass a `checkpoint`.

        The task may go on while the slice lasts, so a short job need not suspend at all. It may also go on if it has suspended
        by itself since the last call and is not cancelled. This is a plain function because, among ten loops or more, nearly
        every step comes this way, and a coroutine would cost more than all of its work.
        """
        if now < self.slice_ends:
            return self.slice_ends
        if not self.slice or task.custom_sleep_data is _CHECKED or is_cancelled(task):
            return 0.0
        if self.on_spin is not None:
            self.on_spin.suspended(task)
        task.custom_sleep_data = _CHECKED
        return now + self._share_of_the_woken(now)

    def _share_of_the_woken(self, now: float) -> float:
        # One event may wake any number of loops at once, and each of them may spin from now on.
        if now >= self._seen_until:
            self._seen_until = now + self.slice
            self._seen, self._seen_before = 0, self._seen
        self._seen += 1
        return self.slice / max(self._seen, self._seen_before)

    async def checkpoint(self) -> float:
        """Let other tasks run once; return when, on `monotonic`, the caller has to ask again."""
        task = trio.lowlevel.current_task()
        if self.on_spin is not None and (not self.slice or task.custom_sleep_data is _CHECKED):
            self.on_spin.spun(task)
        self.waiting += 1
        try:
            await trio.lowlevel.checkpoint()
        finally:
            share = self.slice / self.waiting
            self.waiting -= 1
        self.slice_ends = monotonic() + share
        task.custom_sleep_data = _CHECKED
        return self.slice_ends


_time_slice: RunVar[TimeSlice] = RunVar("job time slice")


def time_slice() -> TimeSlice:
    """Return the time slice of this trio run."""
    try:
        return _time_slice.get()
    except LookupError:
        fresh = TimeSlice()
        _time_slice.set(fresh)
        return fresh


def clock_is_mocked() -> bool:
    """Return True if the current trio run uses a `trio.testing.MockClock`."""
    # trio.testing is not imported here: it imports pytest where that is installed, which takes a quarter of a second.
    # Until other code has imported it, no such clock can exist.
    testing = sys.modules.get("trio.testing")
    return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)
