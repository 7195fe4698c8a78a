"""The part of an endpoint that its streams refer to."""

from __future__ import annotations

from typing import final

from .._options import Options
from .._streams.wire import Wire
from .pool import Pool
from .statistics import Counters


@final
class Owner:
    """Fulfils `StreamOwner`. It does not refer to the endpoint: an endpoint that is dropped must go at once, with its pool."""

    __slots__ = ("_pool", "close_timeout", "counters", "read_size")

    def __init__(self, options: Options, counters: Counters, pool: Pool) -> None:
        self._pool = pool
        self.counters = counters
        self.read_size = options.read_size
        self.close_timeout = options.close_timeout

    async def discard_old(self) -> None:
        """Close the idle connections that have outlived `max_idle_age`."""
        await self._pool.close_old()

    def keep(self, address: str, wire: Wire) -> bool:
        """Keep the wire for the next dial of that address; return False if there is no room."""
        return self._pool.put(address, wire)

    def outbound_closed(self) -> None:
        """Record that a dialed stream was closed or released."""
        self.counters.outbound -= 1
