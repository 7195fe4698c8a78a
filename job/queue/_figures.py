"""The counts of a queue in this process, for metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from .._core.registry import Figure, announce_figures

if TYPE_CHECKING:
    from ._message import QueueStatistics

LOOK_UP_EVERY: Final = 5.0
"""Seconds between two looks at a queue's statistics, while its figures are observed."""

_OBSERVED_FOR: Final = 120.0
"""Seconds after which an observer that has not returned counts as gone: by default, Prometheus scrapes once a minute."""


@final
class Figures:
    """Counts of one queue, by its name: later and parallel consumers of the same queue share them."""

    __slots__ = ("__weakref__", "_asked_at", "acks", "dead", "deliveries", "lease_renewals", "name", "statistics")

    def __init__(self, name: str) -> None:
        self.name = name
        self.deliveries = 0
        self.acks = 0
        self.dead = 0
        self.lease_renewals = 0
        self.statistics: QueueStatistics | None = None  # as it was last looked up
        self._asked_at = -float("inf")

    @property
    def observed(self) -> bool:
        """True while these figures are being collected."""
        return time.monotonic() - self._asked_at < _OBSERVED_FOR

    def read(self) -> tuple[Figure, ...]:
        """Return the present figures; any thread may call this."""
        self._asked_at = time.monotonic()
        labels = (("queue", self.name),)
        counters = (
            Figure("queue_deliveries", self.deliveries, labels, "counter", "Messages received."),
            Figure("queue_acks", self.acks, labels, "counter", "Messages acknowledged."),
            Figure("queue_dead", self.dead, labels, "counter", "Messages put to the dead letters."),
            Figure("queue_lease_renewals", self.lease_renewals, labels, "counter", "Leases renewed."),
        )
        found = self.statistics
        if found is None:
            return counters
        return (
            *counters,
            Figure("queue_depth", found.depth, labels, text="Messages that are ready and not taken."),
            Figure("queue_pending", found.pending, labels, text="Messages that are taken and not settled."),
            Figure("queue_delayed", found.delayed, labels, text="Messages to be ready later."),
            Figure("queue_oldest", found.oldest or 0, labels, text="Seconds since the oldest ready message was put."),
        )


_figures: Final[dict[str, Figures]] = {}


def figures_of(name: str) -> Figures:
    """Return the figures of a queue, and register them for good: a program has few queues."""
    if name not in _figures:
        _figures[name] = Figures(name)
        announce_figures(_figures[name], Figures.read)
    return _figures[name]
