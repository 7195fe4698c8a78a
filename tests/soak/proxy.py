"""The proxy of the soak: forwarders, with TLS on either side, and the example proxies, in one program.

`python -m tests.soak.proxy PLAIN TLS CERTIFICATE AUTHORITY`, the first two being ports of backends. It prints where it listens,
by kind, and at each SIGUSR1 its figures; both in JSON.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trio

import job
from examples import connect_proxy, socks5_proxy
from job import net

Builder: TypeAlias = Callable[[net.Stream], job.Job[net.Stream]]
PAGE = os.sysconf("SC_PAGE_SIZE")


def forward(upstream: net.Endpoint, client: net.Stream) -> job.Job[net.Stream]:
    """Build the job of a forwarded connection."""
    j: job.Job[net.Stream] = job.Job(name="forward")
    j.add_oneshot_task(upstream.connect_task)
    j.add_task(net.relay_task(client, idle_timeout=30, half_close_timeout=15))
    return j


def build(plain: str, tls: str, certificate: str, authority: str) -> job.Job[None]:
    """Build the job of the program."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    client_side = ssl.create_default_context(cafile=authority)
    upstreams = {
        "plain": net.Endpoint(f"127.0.0.1:{plain}", connect_timeout=4),
        "tls": net.Endpoint(
            f"127.0.0.1:{tls}", connect_timeout=4, ssl_context=client_side, server_hostname="localhost"
        ),
    }
    builders: dict[str, Builder] = {
        "forward": partial(forward, upstreams["plain"]),
        "tls_in": partial(forward, upstreams["plain"]),
        "tls_both": partial(forward, upstreams["tls"]),
        "connect": connect_proxy.connection,
        "socks5": socks5_proxy.connection,
    }
    inbound = {
        kind: net.Endpoint("127.0.0.1:0", limit=500, ssl_context=server_side if "tls" in kind else None)
        for kind in builders
    }

    async def report(task: job.Task) -> None:
        print(json.dumps({kind: endpoint.addresses[0] for kind, endpoint in inbound.items()}), flush=True)
        with trio.open_signal_receiver(signal.SIGUSR1) as signals, task.cancel_on_stop():
            async for _ in signals:
                print(json.dumps(figures({**inbound, **upstreams})), flush=True)

    j: job.Job[None] = job.Job(name="soak", grace=10)
    for kind, builder in builders.items():
        j.add_task(net.serve(inbound[kind], builder))
    j.add_task(report)
    return j


def figures(endpoints: dict[str, net.Endpoint]) -> dict[str, int]:
    """Return what must be back in the end, and what was counted."""
    all_of = [endpoint.statistics() for endpoint in endpoints.values()]
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "inbound": sum(each.inbound for each in all_of),
        "outbound": sum(each.outbound for each in all_of),
        "taken": sum(each.taken for each in all_of),
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        "accepted": sum(each.accepted for each in all_of),
        "dialed": sum(each.dialed for each in all_of),
        "dial_failures": sum(each.dial_failures for each in all_of),
        "bytes": sum(each.bytes_received for each in all_of),
    }


if __name__ == "__main__":
    sys.exit(job.run(build(*sys.argv[1:])))
