"""A tunnel through TLS: one forwarder of `jobs` encrypts, another one decrypts, both in this process."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable

import trio

import job
from job import net


async def main(backend: int, certificate: str) -> None:
    """Serve until killed."""
    client = ssl.create_default_context(cafile=certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    decrypting = net.Endpoint("localhost:0", ssl_context=server)
    encrypting = net.Endpoint("127.0.0.1:0")
    tunnel = job.Job[None](name="tunnel")
    tunnel.add_task(net.serve(decrypting, forward_to(net.Endpoint(f"127.0.0.1:{backend}"))))
    async with trio.open_nursery() as nursery:
        await tunnel.run_in_background(nursery)
        far_end = net.Endpoint(decrypting.addresses[0], ssl_context=client, server_hostname="localhost")
        tunnel.add_task(net.serve(encrypting, forward_to(far_end)))
        while not encrypting.addresses:
            await trio.lowlevel.checkpoint()
        print(encrypting.addresses[0].rpartition(":")[2], flush=True)


def forward_to(upstream: net.Endpoint) -> Callable[[net.Stream], job.Job[net.Stream]]:
    """Return what builds the job of a connection."""

    def forward(client: net.Stream) -> job.Job[net.Stream]:
        j = job.Job[net.Stream](name="connection")
        j.add_oneshot_task(upstream.connect_task)
        j.add_task(net.relay_task(client, idle_timeout=600, half_close_timeout=30))
        return j

    return forward


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])
