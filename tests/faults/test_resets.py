"""Scenario 5: clients that break off, at any moment, by the thousand. The next one is served as if nothing had been."""

import random
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tests.faults.networks import Network
from tests.faults.proxies import Server, forwarding, roundtrip

AT_ONCE = 50
COUNT = {"tcp": 2000, "unix": 500, "tls": 200}
REPLY = bytes(100_000)


async def say_nothing(client: Any) -> None:
    """Leave at once."""


async def ask(client: Any) -> None:
    """Leave before the reply."""
    await client.send_all(b"?")


async def hear_the_beginning(client: Any) -> None:
    """Leave within the reply."""
    await client.send_all(b"?")
    await client.receive_some(1)


async def send_much(client: Any) -> None:
    """Leave before what was sent is read."""
    await client.send_all(REPLY[:30_000])


async def end(client: Any) -> None:
    """Leave after having said EOF, where that can be said."""
    if isinstance(client, trio.abc.HalfCloseableStream):
        await client.send_eof()


PHASES: list[Callable[[Any], Awaitable[None]]] = [say_nothing, ask, hear_the_beginning, send_much, end, roundtrip]


async def test_reset_storm(network: Network) -> None:
    """Resets before, within and after a transfer leave the accept loop alive and no traceback."""
    count, rng = COUNT[network.name], random.Random(5)
    async with forwarding(network, talk) as proxy:
        places = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(break_off, network, proxy, places, rng.choice([None, *PHASES]))
        async with await network.connect(proxy.address) as client:
            await roundtrip(client)
    assert proxy.front.statistics().accepted == count + 1
    without_a_job = sum(event == "handshake.failed" for _, event, _ in proxy.lines)
    assert sum(proxy.count("reason").values()) + without_a_job == count + 1
    assert set(proxy.count("reason")) <= {"eof", "reset", "tls_truncated"}


async def talk(stream: Any) -> None:
    """Echo; a question mark is answered at length."""
    async for chunk in stream:
        await stream.send_all(REPLY if chunk == b"?" else chunk)


async def break_off(
    network: Network, proxy: Server, places: trio.CapacityLimiter, phase: Callable[[Any], Awaitable[None]] | None
) -> None:
    """Connect, come so far, and reset the connection; no phase: before the handshake."""
    async with places:
        client = await (network.reach if phase is None else network.connect)(proxy.address)
        if phase is not None:
            await phase(client)
        reset(client)


def reset(client: Any) -> None:
    """Close a connection with RST."""
    sock = (client.transport_stream if isinstance(client, trio.SSLStream) else client).socket
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
