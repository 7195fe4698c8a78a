"""A bounded amount of something that many tasks share by different measures: bytes, say. No sockets here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

import trio


@final
class Room:
    """So much room for all together. Who comes first is served first, also where a later one would need less."""

    def __init__(self, size: int) -> None:
        self.free = size
        self._turn = trio.StrictFIFOLock()
        self._given_back = trio.lowlevel.ParkingLot()

    @asynccontextmanager
    async def place(self, size: int) -> AsyncIterator[None]:
        """Have so much of it, at most all of it, while the block runs."""
        async with self._turn:
            while self.free < size:
                await self._given_back.park()
            self.free -= size
        try:
            yield
        finally:
            self.free += size
            self._given_back.unpark_all()
