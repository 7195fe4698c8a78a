"""A balancer: gives each connection to one of several upstreams that are up.

Try `python -m examples.balancer --upstream 127.0.0.1:8001 --upstream 127.0.0.1:8002` and `curl http://127.0.0.1:8080/`.

An upstream that does not answer costs a client nothing: the connection goes to another, and the checks keep it out until
it is back. SIGTERM leaves the connections 20 seconds to end by themselves; those at rest for two seconds it closes.
"""

import argparse
import sys
from functools import partial

import job
from job import net, tasks
from job.net.balancer import Balancer, NoUpstreamError, Upstream


def connection(balancer: Balancer, client: net.Stream) -> job.Job[net.Stream]:
    """Build the job of one connection."""
    j: job.Job[net.Stream] = job.Job(name=f"balance {client.peer}", quiet=[NoUpstreamError])
    j.add_oneshot_task(balancer.connect_task(attempts=3, timeout=2))
    j.add_task(net.relay_task(client, drain_idle=2))
    return j


def server(inbound: net.Endpoint, balancer: Balancer, *, interval: float) -> job.Job[None]:
    """Build the job of the whole program."""

    async def watch(task: job.Task) -> None:
        up = [upstream.address for upstream in balancer.upstreams if upstream.healthy]
        if up != task.result:
            task.log.info("upstreams", up=up)
        task.result = up
        task.tick()

    j: job.Job[None] = job.Job(name="balancer", grace=20)
    j.add_task(net.serve(inbound, partial(connection, balancer)))
    j.add_task(balancer.check_task(interval=interval))
    j.add_task(tasks.every(interval, watch))
    return j


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="balancer", description="Give each connection to an upstream that is up.")
    parser.add_argument("--listen", type=net.Endpoint, default="127.0.0.1:8080", metavar="ADDRESS")
    parser.add_argument("--upstream", type=Upstream, action="append", required=True, metavar="ADDRESS")
    parser.add_argument("--interval", type=float, default=1, metavar="SECONDS", help="from one check to the next")
    options = parser.parse_args()
    try:
        main = server(options.listen, Balancer(options.upstream), interval=options.interval)
    except ValueError as error:
        parser.error(str(error))
    sys.exit(job.run(main))
