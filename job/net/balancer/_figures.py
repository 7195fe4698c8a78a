"""What balancers show of themselves to metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..._core.registry import Figure
from ._upstream import Upstream


class HasUpstreams(Protocol):
    """What is read of a balancer."""

    @property
    def upstreams(self) -> tuple[Upstream, ...]: ...


def balancer_figures(balancer: HasUpstreams) -> Iterator[Figure]:
    """Yield the state of the upstreams of a balancer."""
    for upstream in balancer.upstreams:
        labels, healthy = (("upstream", upstream.address),), upstream.healthy
        yield Figure("upstream_up", healthy, labels, text="Whether the upstream may get connections.")
        yield Figure("upstream_active", upstream.active, labels, text="Connections that the upstream has now.")
        yield Figure("upstream_ejected", not healthy, labels, text="Whether errors have taken the upstream out.")
