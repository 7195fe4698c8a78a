"""The balancer: passes on the bytes of each connection to one of several backends, without looking at them.

    listener ── a job per connection:  connect (oneshot, to a backend that answers) ──> relay
        └────── check: which backends are there

A backend that does not answer costs a client nothing: the connection goes to another. One that dies takes its connections
with it; what was under way there is for the client to send again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import job
from job import net
from job.net.balancer import Balancer, NoUpstreamError, Upstream

from . import program

GRACE: Final = 3.0
"""Seconds for the connections when the balancer is asked to stop. It cannot tell an idle one from one at work."""
CLOSE_WITHIN: Final = 2.0
"""Seconds that either side has to close when the other has closed."""
CHECK_EVERY: Final = 0.5
"""Seconds from one look at the backends to the next."""
CONNECT_WITHIN: Final = 2.0
"""Seconds in which a backend must have taken a connection."""

_QUIET: Final = (*net.PEER_FAULTS, NoUpstreamError)


def proxy(address: str, backends: Sequence[str], *, maxconns: int) -> job.Job[None]:
    """Build the job of a balancer that listens on `address`, for up to `maxconns` connections at once."""
    inbound = net.Endpoint(address, limit=maxconns, close_timeout=CLOSE_WITHIN)
    upstreams = [Upstream(each, connect_timeout=CONNECT_WITHIN, close_timeout=CLOSE_WITHIN) for each in backends]
    balancer = Balancer(upstreams, fall=1, rise=1)

    def forward(client: net.Stream) -> job.Job[net.Stream]:
        j: job.Job[net.Stream] = job.Job(name=f"balancer <- {client.peer}", quiet=_QUIET)
        j.add_oneshot_task(balancer.connect_task(attempts=len(backends)))
        j.add_task(net.relay_task(client))
        return j

    server = program.server("balancer", inbound, forward, grace=GRACE)
    server.add_task(balancer.check_task(interval=CHECK_EVERY, timeout=CONNECT_WITHIN + 1))
    return server
