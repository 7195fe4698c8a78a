"""What an endpoint counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointStatistics:
    """A snapshot of an endpoint.

    accepted, rejected, dialed, dial_failures and the bytes are totals; inbound, outbound and idle are streams that are open
    now. rejected clients were accepted first, and closed for want of a place; inbound streams have a job; idle ones wait
    for the next dial. Bytes are those of the streams: inside TLS, not around it.
    """

    accepted: int
    rejected: int
    dialed: int
    dial_failures: int
    inbound: int
    outbound: int
    idle: int
    bytes_received: int
    bytes_sent: int


@dataclass(slots=True)
class Tally:
    """The counters behind the snapshot."""

    accepted: int = 0
    rejected: int = 0
    dialed: int = 0
    dial_failures: int = 0
    inbound: int = 0
    outbound: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0

    def snapshot(self, idle: int) -> EndpointStatistics:
        """Return the counts as they are now."""
        return EndpointStatistics(
            self.accepted,
            self.rejected,
            self.dialed,
            self.dial_failures,
            self.inbound,
            self.outbound,
            idle,
            self.bytes_received,
            self.bytes_sent,
        )
