"""A port forwarder: passes each connection on to another address.

Try `python -m examples.forwarder --to 127.0.0.1:80` and `curl http://127.0.0.1:8080/`. An address is `host:port`, `:port` or
`unix:path`. One line per connection tells how it ended. SIGTERM closes the listener and leaves the connections `--grace`
seconds to end by themselves; those at rest for two seconds, as pooled ones are, it closes in good order.
`docs/tutorial/forwarder.md` builds it step by step.
"""

import argparse
import sys
from functools import partial

import job
from job import net


def connection(upstream: net.Endpoint, client: net.Stream) -> job.Job[net.Stream]:
    """Build the job of one connection."""
    j: job.Job[net.Stream] = job.Job(name=f"forward {client.peer}")
    j.add_oneshot_task(upstream.connect_task)
    j.add_task(net.relay_task(client, idle_timeout=600, half_close_timeout=30, drain_idle=2))
    return j


def forwarder(inbound: net.Endpoint, upstream: net.Endpoint, *, grace: float) -> job.Job[None]:
    """Build the job of the whole program."""
    server: job.Job[None] = job.Job(name="forwarder", grace=grace)
    server.add_task(net.serve(inbound, partial(connection, upstream)))
    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="forwarder", description="Pass each connection on to another address.")
    parser.add_argument("--listen", type=net.Endpoint, default="127.0.0.1:8080", metavar="ADDRESS")
    parser.add_argument("--to", type=net.Endpoint, required=True, metavar="ADDRESS")
    parser.add_argument("--grace", type=float, default=20, metavar="SECONDS")
    options = parser.parse_args()
    try:
        server = forwarder(options.listen, options.to, grace=options.grace)
    except ValueError as error:
        parser.error(str(error))
    sys.exit(job.run(server))
