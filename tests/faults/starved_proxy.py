"""A program that forwards to the address of its argument, with 128 descriptors and no more."""

import resource
import sys
from typing import Any

import job
from job import net

inbound = net.Endpoint("127.0.0.1:0", close_timeout=0.1)
upstream = net.Endpoint(sys.argv[1], close_timeout=0.1)


def forward(client: net.Stream) -> job.Job[Any]:
    """Relay to the upstream."""
    j = job.Job[Any](name="conn")
    j.add_oneshot_task(upstream.connect_task)
    j.add_task(net.relay_task(client))
    return j


def tell(j: job.Job[Any]) -> job.Routines:
    """Tell the address once it is bound."""

    def run(task: job.Task) -> None:
        sys.stdout.write(f"{inbound.addresses[0]}\n")
        sys.stdout.flush()
        task.done()

    return job.Routines(run=run)


server = job.Job[None](name="starved", grace=2)
server.add_task(net.serve(inbound, forward))
server.add_task(tell)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
sys.exit(job.run(server))
