"""Places for connections: a count with a limit, and a queue for them."""

from __future__ import annotations

import math
from typing import final

import trio


@final
class Slots:
    """At most `limit` places. One that is given back goes straight to the first waiter, so that no call can overtake.

    Not a trio.CapacityLimiter, which tracks borrowers: here one task may take a place and another give it back.
    """

    __slots__ = ("_limit", "_waiters", "taken")

    def __init__(self, limit: int | None) -> None:
        self._limit = math.inf if limit is None else limit
        self._waiters = trio.lowlevel.ParkingLot()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many calls wait for a place."""
        return len(self._waiters)

    def take_nowait(self) -> bool:
        """Take a place if one is free; return False if none is."""
        if self.taken >= self._limit:
            return False
        self.taken += 1
        return True

    async def take(self) -> None:
        """Take a place, waiting for one. Holds none if cancelled. Not a checkpoint if one is free."""
        if not self.take_nowait():
            await self._waiters.park()  # `give_back` leaves the place counted, for the waiter

    def give_back(self) -> None:
        """Give a place back."""
        if not self._waiters.unpark():
            self.taken -= 1
