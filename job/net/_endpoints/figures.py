"""What endpoints show of themselves to metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Final, Protocol

from ..._core.registry import Figure, Kind
from .statistics import EndpointStatistics

_NAMES: Final = tuple(field.name for field in fields(EndpointStatistics))
_NOW: Final = frozenset({"inbound", "outbound", "idle", "limit", "taken"})  # the others are totals


class Counted(Protocol):
    """What is read of an endpoint."""

    @property
    def addresses(self) -> tuple[str, ...]: ...
    def statistics(self) -> EndpointStatistics: ...


def endpoint_figures(endpoint: Counted) -> Iterator[Figure]:
    """Yield the statistics of an endpoint that is bound, without a limit if it has none."""
    bound = endpoint.addresses
    if not bound:
        return
    statistics, labels = endpoint.statistics(), (("endpoint", bound[0]),)
    for name in _NAMES:
        value = getattr(statistics, name)
        if value is not None:
            kind: Kind = "gauge" if name in _NOW else "counter"
            yield Figure(f"endpoint_{name}", value, labels, kind, f"Endpoint: {name.replace('_', ' ')}.")
