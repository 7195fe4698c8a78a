"""The time slice that the spinning loops of a trio run share.

A run loop whose `run` never awaits would starve everybody and outlive every deadline. A checkpoint for each step is the plain
cure and costs some twenty times the step itself; a checkpoint whenever a slice of time is used up cures as well. The slice is
one for all loops that are spinning at the time: a hundred of them delay the others no longer than one does.
"""

from __future__ import annotations

from time import monotonic

import trio
from trio.lowlevel import RunVar

from ._mocked import clock_is_mocked

SLICE = 0.001
"""Seconds of processor time between two rounds of trio's scheduler, spent by all spinning loops together."""


class Turns:
    """The loops of one trio run that are waiting for their next share of the slice."""

    __slots__ = ("slice", "slice_ends", "waiting")

    def __init__(self) -> None:
        # A mock clock means a test that looks at each step: there every tick is a checkpoint.
        self.slice = 0.0 if clock_is_mocked() else SLICE
        self.waiting = 0
        self.slice_ends = 0.0  # on `monotonic`; of the loop that was the last to be let on

    async def give_way(self) -> float:
        """Let the others run, once; return until when (on `monotonic`) the caller may go on without asking again.

        Where the present slice is not used up, the caller goes on at once: a short job need not suspend at all.
        """
        if monotonic() < self.slice_ends:
            return self.slice_ends
        self.waiting += 1
        try:
            await trio.lowlevel.checkpoint()
        finally:
            share = self.slice / self.waiting
            self.waiting -= 1
        self.slice_ends = monotonic() + share
        return self.slice_ends


_turns: RunVar[Turns] = RunVar("job turns")


def turns() -> Turns:
    """Return the turns of this trio run."""
    try:
        return _turns.get()
    except LookupError:
        fresh = Turns()
        _turns.set(fresh)
        return fresh
