"""A SOCKS5 proxy for programs that speak it, as curl, ssh and browsers do.

Try `python -m examples.socks5_proxy` and `curl --proxy socks5h://127.0.0.1:1080 https://example.org/`.

Run as a program it leads to public addresses only; `--allow NETWORK` adds others. Who may use it is a matter of `--listen`: on
an address that strangers reach it is an open relay, see `docs/how-to/open-relay.md`.
"""

import argparse
import sys
from contextlib import suppress
from functools import partial

import trio

import job
from job import net

from . import reach
from .socks5_handshake import greet, reply, requested

PATIENCE = 10  # seconds for the handshake


async def handshake(client: net.Stream) -> str | None:
    """Return where the client wants to go; None where it hangs up without a word, as health checks do."""
    with trio.move_on_after(PATIENCE):
        return await requested(client) if await greet(client) else None
    raise net.ProtocolError(f"no request within {PATIENCE} s")


async def tunnel(client: net.Stream, allow: reach.Allow | None, task: job.Task) -> None:
    """Connect the job to where the client wants to go, and tell the client."""
    try:
        target = await handshake(client)
        if target is None:
            return task.finish_job()
        await net.Endpoint(target, connect_timeout=4, allow=allow).connect(task)
    except OSError as error:
        with suppress(*net.PEER_FAULTS):
            await client.send_all(reply(error))
            await client.send_eof()  # that was all: what a failed job has to say is cut else
            await client.send_eof()  # that was all; without an end said, a connection that fails is cut
        raise
    await client.send_all(reply())
    return task.done()


def connection(client: net.Stream, *, allow: reach.Allow | None = None) -> job.Job[net.Stream]:
    """Build the job of one client. It may lead anywhere, unless `allow` says what it may connect to."""
    j: job.Job[net.Stream] = job.Job(name=f"SOCKS {client.peer}")
    j.add_oneshot_task(partial(tunnel, client, allow))
    j.add_task(net.relay_task(client, drain_idle=2))
    return j


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="socks5_proxy", description="Open tunnels for SOCKS5 clients.")
    parser.add_argument("--listen", type=net.Endpoint, default="127.0.0.1:1080", metavar="ADDRESS")
    reach.add_option(parser)
    options = parser.parse_args()
    server: job.Job[None] = job.Job(name="SOCKS5 proxy", grace=20)
    server.add_task(net.serve(options.listen, partial(connection, allow=reach.public(options.allow))))
    sys.exit(job.run(server))
