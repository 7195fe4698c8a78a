"""An HTTP proxy for CONNECT (RFC 9110, 9.3.6): `curl --proxy http://127.0.0.1:3128 https://example.org/`."""

import argparse
import sys
from functools import partial

import h11
import trio

import job
from job import net

STATUS: dict[type, int] = {net.ProtocolError: 400, net.ConnectTimeoutError: 504}  # any other error: 502


async def requested(client: net.Stream, http: h11.Connection) -> net.Endpoint:
    """Read the request, within 10 s, and return where it leads."""
    try:
        with trio.fail_after(10):
            while (head := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await client.receive_some())
        if not isinstance(head, h11.Request) or head.method != b"CONNECT" or head.target.startswith((b"unix:", b":")):
            raise ValueError("expected CONNECT host:port")
        return net.Endpoint(head.target.decode(), connect_timeout=4)
    except (h11.RemoteProtocolError, trio.TooSlowError, ValueError) as error:
        raise net.ProtocolError(f"no good request: {error!r}") from error


async def tunnel(client: net.Stream, task: job.Task) -> None:
    """Connect the job to where the client wants to go, and tell the client."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
    try:
        upstream = await requested(client, http)
        task.job.fields["upstream"] = upstream.address
        task.job.value = await task.enter(await upstream.dial())
    except net.PEER_FAULTS as error:
        status, headers = STATUS.get(type(error), 502), [("Connection", "close"), ("Content-Length", "0")]
        await client.send_all(http.send(h11.Response(status_code=status, headers=headers)))
        raise
    await client.send_all(http.send(h11.Response(status_code=200, headers=[])))
    client.unread(http.trailing_data[0])  # what came right behind the request
    task.done()


def connection(client: net.Stream) -> job.Job[net.Stream]:
    """Build the job of one client."""
    j: job.Job[net.Stream] = job.Job(name=f"CONNECT {client.peer}")
    j.add_oneshot_task(partial(tunnel, client))
    j.add_task(net.relay_task(client))
    return j


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="connect_proxy", description="Open tunnels for HTTP CONNECT.")
    parser.add_argument("--listen", type=net.Endpoint, default="127.0.0.1:3128", metavar="ADDRESS")
    inbound = parser.parse_args().listen
    server: job.Job[None] = job.Job(name="CONNECT proxy", grace=20)
    server.add_task(net.serve(inbound, connection))
    sys.exit(job.run(server))
