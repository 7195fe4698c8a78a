"""The toolkit for proxies and services: endpoints, streams, frames, relays, balancing.

- `Endpoint`: an address to dial or to listen on; `serve`: a job for each client
- `Stream`: a connection, with messages and handshakes on top of trio's stream; `read_task`, `write_task`: its two sides
- `relay`, `relay_task`: move bytes both ways; `end_reason`: why a connection ended
- `job.net.frames`: messages on a stream of bytes
- `job.net.balancer`: spread connections over several upstreams
"""

from __future__ import annotations

from .._core import door
from . import balancer as balancer
from . import frames as frames
from ._endpoints.endpoint import Endpoint
from ._endpoints.serve import serve
from ._endpoints.statistics import EndpointStatistics
from ._errors import PEER_FAULTS, ConnectTimeoutError, FrameError, NoUpstreamError, ProtocolError, Reject
from ._options import Transport
from ._reason import EndReason, Side, end_reason
from ._relays.relay import RelayResult, relay, relay_task
from ._streams.stream import Stream
from ._streams.tasks import read_task, write_task
from ._streams.tls_info import TLSInfo

__all__ = [
    "PEER_FAULTS",
    "ConnectTimeoutError",
    "EndReason",
    "Endpoint",
    "EndpointStatistics",
    "FrameError",
    "NoUpstreamError",
    "ProtocolError",
    "Reject",
    "RelayResult",
    "Side",
    "Stream",
    "TLSInfo",
    "Transport",
    "end_reason",
    "read_task",
    "relay",
    "relay_task",
    "serve",
    "write_task",
]

door.export(globals())
