"""Spread connections over several upstreams: which are candidates, which one is chosen, which callers have to wait.

No I/O but in the two task factories, so it serves other protocols than those of `Endpoint` as well. For one upstream
use its `Endpoint` alone.
"""

from __future__ import annotations

from ..._core import door
from .._errors import NoUpstreamError
from ._balancer import Balancer, Choose
from ._choice import RoundRobin, least_connections, power_of_two, random_choice, rendezvous
from ._upstream import Lease, Upstream
from ._upstream_news import UpstreamChanged

__all__ = [
    "Balancer",
    "Choose",
    "Lease",
    "NoUpstreamError",
    "RoundRobin",
    "Upstream",
    "UpstreamChanged",
    "least_connections",
    "power_of_two",
    "random_choice",
    "rendezvous",
]

door.export(globals())
