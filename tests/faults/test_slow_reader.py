"""Scenario 4: clients that never read cost next to nothing, and nobody else notices."""

import tracemalloc
from typing import Any

import trio
import trio.testing

from tests.faults.networks import Network
from tests.faults.proxies import Server, forwarding, read_exactly

SIZE = 200 * 1024 * 1024
PIECE = bytes(16384)
SLOW = {"tcp": 20, "unix": 20, "tls": 5}


async def test_slow_readers(network: Network, traced: None) -> None:
    """Upstreams that send without end are held back, in less than 64 KiB for each connection."""
    finished, slow = 0, SLOW[network.name]

    async def flood(stream: Any) -> None:
        nonlocal finished
        if await read_exactly(stream, 1) == b"?":
            await stream.send_all(b"!" + await read_exactly(stream, 3))
            return
        for _ in range(SIZE // len(PIECE)):
            await stream.send_all(PIECE)
        finished += 1

    async with forwarding(network, flood) as proxy:
        clients = [await network.connect(proxy.address) for _ in range(slow)]
        await proxy.until(lambda: proxy.jobs == slow)
        await trio.testing.wait_all_tasks_blocked()
        before, _ = tracemalloc.get_traced_memory()
        for client in clients:
            await client.send_all(b"x")
        await until_stuck(proxy)
        after, _ = tracemalloc.get_traced_memory()
        async with await network.connect(proxy.address) as quick:
            await quick.send_all(b"?abc")
            assert await read_exactly(quick, 4) == b"!abc"
        for client in clients:
            await trio.aclose_forcefully(client)
    assert finished == 0
    assert after - before < slow * 64 * 1024


async def until_stuck(proxy: Server) -> None:
    """Wait until nothing moves any more."""
    moved = -1
    while moved != (moved := proxy.front.statistics().bytes_sent):  # noqa: ASYNC110 - nobody tells of it
        await trio.sleep(0.1)
