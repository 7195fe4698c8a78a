"""Places for connections: a count with a limit, and a line of those who wait for a place."""

from __future__ import annotations

import math
from typing import final

import trio


@final
class Slots:
    """At most `limit` places. One that is given back goes straight to the first who waits, so that nobody can overtake.

    A trio.CapacityLimiter counts borrowers; a place here may be given back by somebody else than who took it.
    """

    __slots__ = ("_limit", "_waiters", "taken")

    def __init__(self, limit: int | None) -> None:
        self._limit = math.inf if limit is None else limit
        self._waiters = trio.lowlevel.ParkingLot()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiters)

    def take_nowait(self) -> bool:
        """Take a place where one is free; return whether it is taken."""
        if self.taken >= self._limit:
            return False
        self.taken += 1
        return True

    async def take(self) -> None:
        """Take a place, waiting for one. When cancelled it holds none. Not a checkpoint where one is free."""
        if not self.take_nowait():
            await self._waiters.park()  # who gives a place back leaves it counted, for us

    def give_back(self) -> None:
        """Give a place back."""
        if not self._waiters.unpark():
            self.taken -= 1
