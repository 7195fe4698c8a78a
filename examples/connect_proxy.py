"""An HTTP proxy for CONNECT (RFC 9110, 9.3.6): `curl --proxy http://127.0.0.1:3128 https://example.org/`.

Run as a program it leads to public addresses only; `--allow NETWORK` adds others. Who may use it is a matter of `--listen`: on
an address that strangers reach it is an open relay, see `docs/how-to/open-relay.md`.
"""

import argparse
import re
import sys
from contextlib import suppress
from functools import partial
from http import HTTPStatus

import h11
import trio

import job
from job import net

from . import reach

PATIENCE = 10  # seconds for a request
TARGET = re.compile(rb"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):0*[1-9][0-9]{0,4}")

# What the client is told for an error; any other is a bad gateway.
STATUS: dict[type, HTTPStatus] = {
    net.ProtocolError: HTTPStatus.BAD_REQUEST,
    net.ConnectTimeoutError: HTTPStatus.GATEWAY_TIMEOUT,
    PermissionError: HTTPStatus.FORBIDDEN,
}


async def requested(client: net.Stream) -> str | None:
    """Read the request and return where it leads; None where the client hangs up without one, as health checks do.

    What it holds comes into no message and so into no log: there may be a password in it.
    """
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
    with trio.move_on_after(PATIENCE):
        try:
            while (head := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await client.receive_some())
        except h11.RemoteProtocolError:
            raise net.ProtocolError("no good HTTP request") from None
        if isinstance(head, h11.ConnectionClosed):
            return None
        client.unread(http.trailing_data[0])  # what came right behind the request
        return target_of(head)
    raise net.ProtocolError(f"no request within {PATIENCE} s")


def target_of(head: object) -> str:
    """Return the `host:port` of a request for CONNECT that cannot be misread: no content, no user, no path."""
    if not isinstance(head, h11.Request) or head.method != b"CONNECT":
        raise net.ProtocolError("expected CONNECT")
    if any(name == b"transfer-encoding" or (name == b"content-length" and size != b"0") for name, size in head.headers):
        raise net.ProtocolError("expected CONNECT without content")
    if not TARGET.fullmatch(head.target):
        raise net.ProtocolError("expected CONNECT host:port")
    return head.target.decode()


async def tunnel(client: net.Stream, allow: reach.Allow | None, task: job.Task) -> None:
    """Connect the job to where the client wants to go, and tell the client."""
    try:
        target = await requested(client)
        if target is None:
            return task.finish_job()
        await endpoint(target, allow).connect(task)
    except net.PEER_FAULTS as error:
        with suppress(*net.PEER_FAULTS):
            await client.send_all(answer(STATUS.get(type(error), HTTPStatus.BAD_GATEWAY)))
            await client.send_eof()  # that was all; without an end said, a connection that fails is cut
        raise
    await client.send_all(answer(HTTPStatus.OK))
    return task.done()


def endpoint(target: str, allow: reach.Allow | None) -> net.Endpoint:
    """Return where to connect; a port beyond the last is the client's mistake."""
    try:
        return net.Endpoint(target, connect_timeout=4, allow=allow)
    except ValueError:
        raise net.ProtocolError("expected CONNECT host:port") from None


def answer(status: HTTPStatus) -> bytes:
    """Write a response without content; after one that says yes the tunnel begins (so it must not say how long it is)."""
    rest = "" if status is HTTPStatus.OK else "Connection: close\r\nContent-Length: 0\r\n"
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{rest}\r\n".encode()


def connection(client: net.Stream, *, allow: reach.Allow | None = None) -> job.Job[net.Stream]:
    """Build the job of one client. It may lead anywhere, unless `allow` says what it may connect to."""
    j: job.Job[net.Stream] = job.Job(name=f"CONNECT {client.peer}")
    j.add_oneshot_task(partial(tunnel, client, allow))
    j.add_task(net.relay_task(client, drain_idle=2))
    return j


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="connect_proxy", description="Open tunnels for HTTP CONNECT.")
    parser.add_argument("--listen", type=net.Endpoint, default="127.0.0.1:3128", metavar="ADDRESS")
    reach.add_option(parser)
    options = parser.parse_args()
    server: job.Job[None] = job.Job(name="CONNECT proxy", grace=20)
    server.add_task(net.serve(options.listen, partial(connection, allow=reach.public(options.allow))))
    sys.exit(job.run(server))
