"""A job for each connection, as the documentation of `job.net` has it."""

from __future__ import annotations

import sys

import trio

import job
from job import net


async def main(backend: int) -> None:
    """Serve until killed."""
    inbound = net.Endpoint("127.0.0.1:0")
    upstream = net.Endpoint(f"127.0.0.1:{backend}")

    def forward(client: net.Stream) -> job.Job[net.Stream]:
        j = job.Job[net.Stream](name="connection")
        j.add_oneshot_task(upstream.connect_task)
        j.add_task(net.relay_task(client, idle_timeout=600, half_close_timeout=30))
        return j

    server = job.Job[None](name="forwarder")
    server.add_task(net.serve(inbound, forward))
    async with trio.open_nursery() as nursery:
        await server.run_in_background(nursery)
        print(inbound.addresses[0].rpartition(":")[2], flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
