"""The time slice that the spinning loops of a trio run share.

A run loop whose `run` never awaits would starve everybody and outlive every deadline. A checkpoint for each step is the plain
cure and costs some twenty times the step itself; a checkpoint whenever a slice of time is used up cures as well. The slice is
one for all loops that are spinning at the time: a hundred of them delay the others no longer than one does.
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

# In the sleep data of a trio task that is in its turn; trio takes that out whenever the task suspends
_CHECKED = object()


class SpinWatch(Protocol):
    """Wants to know which loops spin: those that give way without having suspended since they last did."""

    def spun(self, task: trio.lowlevel.Task) -> None:
        """Take note that a loop gives way, and has not suspended."""
        ...

    def suspended(self, task: trio.lowlevel.Task) -> None:
        """Take note that a loop comes by that has suspended."""
        ...


class TimeSlice:
    """The loops of one trio run that wait for their next share of the slice; and how a thread reaches that run."""

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
        # A mock clock means a test that looks at each step: there every tick is a checkpoint.
        self.slice = 0.0 if clock_is_mocked() else SLICE
        self.clock = trio.lowlevel.current_clock()
        self.token = trio.lowlevel.current_trio_token()
        self.on_spin: SpinWatch | None = None  # where somebody wants to know
        self.waiting = 0
        self.slice_ends = 0.0  # on `monotonic`; of the loop that was the last to be let on
        self._seen = self._seen_before = (
            0  # loops that came by after a suspension of their own, in this slice and the last
        )
        self._seen_until = 0.0

    async def yield_if_due(self) -> float:
        """Let the others run, once, where that is due; return until when (on `monotonic`) the caller need not ask again."""
        return self.may_go_on(trio.lowlevel.current_task(), monotonic()) or await self.checkpoint()

    def may_go_on(self, task: trio.lowlevel.Task, now: float) -> float:
        """Return until when (on `monotonic`) the running trio task may go on at once; 0.0 if it must pass a `checkpoint`.

        It may where the present slice is not used up, since a short job need not suspend at all, and where it has suspended on
        its own account since it was here, unless it is cancelled. A plain function: among ten loops or more nearly every step
        comes this way, and a coroutine would cost more than all that is done here.
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
        # Any number of loops may be woken at once by what they waited for, and all of them may spin from now on.
        if now >= self._seen_until:
            self._seen_until = now + self.slice
            self._seen, self._seen_before = 0, self._seen
        self._seen += 1
        return self.slice / max(self._seen, self._seen_before)

    async def checkpoint(self) -> float:
        """Let the others run, once; return until when (on `monotonic`) the caller may go on without asking again."""
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
    """Whether the present trio run is on a `trio.testing.MockClock`."""
    # Not imported for this: it brings pytest with it where that is installed, a quarter of a second at each program's start.
    # And as long as nobody else has imported it, there is no such clock.
    testing = sys.modules.get("trio.testing")
    return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)
