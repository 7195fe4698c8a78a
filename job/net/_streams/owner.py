"""The part of an endpoint that its streams use.

A protocol, so that streams know nothing else of endpoints, and the imports go one way.
"""

from __future__ import annotations

from typing import Protocol

from .wire import Wire


class ByteCounters(Protocol):
    """Totals over all streams of one owner. Plain attributes: they are written once for each chunk."""

    bytes_received: int
    bytes_sent: int


class StreamOwner(Protocol):
    """What a stream asks of its endpoint, and reports to it."""

    @property
    def read_size(self) -> int:
        """The most bytes in one chunk."""
        ...

    @property
    def close_timeout(self) -> float:
        """Seconds that closing a stream waits for the peer."""
        ...

    @property
    def counters(self) -> ByteCounters:
        """Where a stream counts its bytes."""
        ...

    async def discard_old(self) -> None:
        """Close the idle connections that have outlived `max_idle_age`."""
        ...

    def keep(self, address: str, wire: Wire) -> bool:
        """Keep the wire for the next dial of that address; return False if there is no room."""
        ...

    def outbound_closed(self) -> None:
        """Record that a dialed stream was closed or released."""
        ...
