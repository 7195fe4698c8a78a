"""What endpoints and balancers show of themselves to metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Final

from ..._core.registry import Figure, Kind
from .statistics import EndpointStatistics

if TYPE_CHECKING:
    from ..balancer._balancer import Balancer
    from .endpoint import Endpoint

_NAMES: Final = tuple(field.name for field in fields(EndpointStatistics))
_NOW: Final = frozenset({"inbound", "outbound", "idle", "limit", "taken"})  # the others are totals


def endpoint_figures(endpoint: Endpoint) -> Iterator[Figure]:
    """Give the statistics of an endpoint that is bound; a limit that it does not have is left out."""
    bound = endpoint.addresses
    if not bound:
        return
    statistics, labels = endpoint.statistics(), (("endpoint", bound[0]),)
    for name in _NAMES:
        value = getattr(statistics, name)
        if value is not None:
            kind: Kind = "gauge" if name in _NOW else "counter"
            yield Figure(f"endpoint_{name}", value, labels, kind, f"Endpoint: {name.replace('_', ' ')}.")


def balancer_figures(balancer: Balancer) -> Iterator[Figure]:
    """Give what is known of the upstreams of a balancer."""
    for upstream in balancer.upstreams:
        labels, healthy = (("upstream", upstream.address),), upstream.healthy
        yield Figure("upstream_up", healthy, labels, text="Whether the upstream may get connections.")
        yield Figure("upstream_active", upstream.active, labels, text="Connections that the upstream has now.")
        yield Figure("upstream_ejected", not healthy, labels, text="Whether errors have taken the upstream out.")
