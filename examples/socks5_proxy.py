"""A SOCKS5 proxy for programs that speak it, as curl, ssh and browsers do.

Try `python -m examples.socks5_proxy` and `curl --proxy socks5h://127.0.0.1:1080 https://example.org/`.
"""

import argparse
import sys
from functools import partial

import trio

import job
from job import net

from .socks5_handshake import greet, reply, requested


async def handshake(client: net.Stream) -> net.Endpoint:
    """Return where the client wants to go; it has ten seconds to say so."""
    with trio.move_on_after(10):
        await greet(client)
        return await requested(client)
    raise net.ProtocolError("no request within 10 s")


async def tunnel(client: net.Stream, task: job.Task) -> None:
    """Connect the job to where the client wants to go, and tell the client."""
    try:
        upstream = await handshake(client)
        task.job.fields["upstream"] = upstream.address
        task.job.value = await task.enter(await upstream.dial())
    except OSError as error:
        await client.send_all(reply(error))
        raise
    await client.send_all(reply())
    task.done()


def connection(client: net.Stream) -> job.Job[net.Stream]:
    """Build the job of one client."""
    j: job.Job[net.Stream] = job.Job(name=f"SOCKS {client.peer}")
    j.add_oneshot_task(partial(tunnel, client))
    j.add_task(net.relay_task(client))
    return j


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="socks5_proxy", description="Open tunnels for SOCKS5 clients.")
    parser.add_argument("--listen", type=net.Endpoint, default="127.0.0.1:1080", metavar="ADDRESS")
    inbound = parser.parse_args().listen
    server: job.Job[None] = job.Job(name="SOCKS5 proxy", grace=20)
    server.add_task(net.serve(inbound, connection))
    sys.exit(job.run(server))
