"""Scenarios 7 and 8: upstreams that fail, one of them or all, and come back."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from job.net.balancer import Balancer, RoundRobin, Upstream
from tests.faults.networks import Network
from tests.faults.proxies import Server, be_cut, echo, proxying, roundtrip

Fault = Callable[[Network], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def refusing(network: Network) -> AsyncIterator[str]:
    """Give the address of an upstream that is not there."""
    listener, address = await network.listen()
    await listener.aclose()
    yield address


@asynccontextmanager
async def swallowing(network: Network) -> AsyncIterator[str]:
    """Give the address of an upstream where connections hang: its backlog is full, or over TLS it shakes no hands."""
    listener, address = await network.listen(backlog=0 if network.half_closes else None)
    clients = [half_connected(network, address) for _ in range(3)] if network.half_closes else []
    yield address
    for client in clients:
        client.close()
    await listener.aclose()


def half_connected(network: Network, address: str) -> socket.socket:
    """Begin to connect, and take a place in the backlog."""
    unix = network.name == "unix"
    client = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    client.setblocking(False)
    host, _, port = address.rpartition(":")
    client.connect_ex(address.removeprefix("unix:") if unix else (host, int(port)))
    return client


def balance(network: Network, *addresses: str, **options: Any) -> Balancer:
    """Return a balancer that takes them in turn."""
    upstreams = [Upstream(address, close_timeout=0.5, **network.dialing) for address in addresses]
    return Balancer(upstreams, choose=RoundRobin(), rise=1, **options)


async def be_served(network: Network, proxy: Server, times: int) -> None:
    """Be so many clients, one after another."""
    for _ in range(times):
        async with await network.connect(proxy.address) as client:
            await roundtrip(client)


@pytest.mark.parametrize("fault", [refusing, swallowing])
async def test_one_of_three(network: Network, fault: Fault) -> None:
    """All clients are served by the others; the faulty one is ejected, and comes back when it is well."""
    async with network.upstream(echo) as first, network.upstream(echo) as second:
        async with fault(network) as third:
            balancer = balance(network, first, second, third, fall=2)
            faulty = balancer.upstreams[2]
            async with proxying(network, balancer, connect={"timeout": 0.1}) as proxy:
                await be_served(network, proxy, 12)
                assert not faulty.healthy
        assert third not in proxy.count("upstream")
        assert proxy.count("attempts") == {1: 10, 2: 2}
        async with network.upstream(echo, third), proxying(network, balancer) as proxy:
            proxy.job.add_task(balancer.check_task(interval=0.05))
            await proxy.until(lambda: faulty.healthy)
            await be_served(network, proxy, 6)
        assert proxy.count("upstream") == {first: 2, second: 2, third: 2}


async def test_all_down_and_up(network: Network) -> None:
    """With no upstream clients are cut at once, and the log says why; the first check after they are back lets them in."""
    checks = 0

    async def probe(upstream: Upstream) -> None:
        nonlocal checks
        checks += 1
        await (await upstream.endpoint.dial()).aclose()

    async with refusing(network) as address:
        balancer = balance(network, address, fall=1, max_ejected=0)
        [upstream] = balancer.upstreams
        async with proxying(network, balancer) as proxy:
            await be_sent_away(network, proxy)
            proxy.job.add_task(balancer.check_task(interval=0.2, probe=probe))
            await proxy.until(lambda: not upstream.healthy)
            await be_sent_away(network, proxy)
            async with network.upstream(echo, address):
                before = checks
                await proxy.until(lambda: upstream.healthy)
                assert checks - before <= 1
                await be_served(network, proxy, 3)
                await proxy.until_quiet()
    assert proxy.count("reason") == {"connect_failed": 1, "no_upstream": 1, "eof": 3}


async def be_sent_away(network: Network, proxy: Server) -> None:
    """Be a client for whom there is no upstream."""
    async with await network.connect(proxy.address) as client:
        with trio.fail_after(5):
            await be_cut(network, client)
