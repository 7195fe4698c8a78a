"""The counters of an endpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointStatistics:
    """A snapshot of an endpoint.

    accepted, rejected, dialed, dial_failures and the bytes are totals; inbound, outbound and idle count streams that are open
    now. Rejected clients were accepted, then closed because the limit was reached or by `Reject`; inbound streams have a job;
    idle ones wait for the next dial. Bytes are those of the streams: inside TLS, not around it.

    limit is the option; taken counts the places that connections hold. It may be one more than there are connections: with
    `on_limit="wait"` a place is taken before the accept.
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
    limit: int | None
    taken: int


@dataclass(slots=True)
class Counters:
    """The counters behind the snapshot."""

    accepted: int = 0
    rejected: int = 0
    dialed: int = 0
    dial_failures: int = 0
    outbound: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0

    def snapshot(self, *, inbound: int, idle: int, limit: int | None, taken: int) -> EndpointStatistics:
        """Return the counters as they are now."""
        return EndpointStatistics(
            accepted=self.accepted,
            rejected=self.rejected,
            dialed=self.dialed,
            dial_failures=self.dial_failures,
            inbound=inbound,
            outbound=self.outbound,
            idle=idle,
            bytes_received=self.bytes_received,
            bytes_sent=self.bytes_sent,
            limit=limit,
            taken=taken,
        )
