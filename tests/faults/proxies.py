"""The proxy that is put to the test, and the common end of all scenarios."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest
import trio

import job
from job import net
from job.net.balancer import Balancer
from tests.faults.networks import Handler, Network

Relay = Callable[[net.Stream], Callable[[job.Job[Any]], job.Routines]]
Behind = net.Endpoint | Balancer
Line = tuple[int, str, dict[str, Any]]


class Server:
    """A server of connection jobs, and its log; `jobs` is how many there were, `most` how many at once."""

    def __init__(self, network: Network, build_job: Callable[[net.Stream], job.Job[Any]], **options: Any) -> None:
        self.front = net.Endpoint(network.free_address(), **network.listening, **{"close_timeout": 0.25, **options})
        self.lines: list[Line] = []
        self.jobs = self.most = 0
        self.job = job.Job[None](name="server", grace=5)
        self.job.register_logger({level: partial(self._hear, level) for level in range(3)}, level=2)
        self.job.add_task(net.serve(self.front, partial(self._build, build_job)))

    def _build(self, build_job: Callable[[net.Stream], job.Job[Any]], stream: net.Stream) -> job.Job[Any]:
        self.jobs += 1
        self.most = max(self.most, self.front.statistics().inbound + 1)
        return build_job(stream)

    def _hear(self, level: int, event: str, fields: Mapping[str, Any]) -> None:
        self.lines.append((level, event, dict(fields)))

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.front.addresses[0]

    @property
    def ended(self) -> list[dict[str, Any]]:
        """The records of the connections that have ended."""
        return [fields for _, event, fields in self.lines if event == "job.ended" and "client" in fields]

    def count(self, field: str) -> dict[Any, int]:
        """Count the records by the value of a field."""
        values = [fields.get(field) for fields in self.ended]
        return {value: values.count(value) for value in values}

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until something is so, which other tasks bring about."""
        with trio.fail_after(20):
            while not true():  # noqa: ASYNC110 - what is waited for tells nobody
                await trio.sleep(0.001)

    async def until_quiet(self) -> None:
        """Wait until no client is left."""
        await self.until(lambda: self.front.statistics().inbound == 0 and self.front._slots.taken == 0)

    def check_end(self) -> None:
        """Hold the counters to where they began, and the log to one quiet line for each connection."""
        statistics = self.front.statistics()
        assert (statistics.inbound, statistics.outbound, statistics.idle, self.front._slots.taken) == (0, 0, 0, 0)
        assert len(self.ended) == self.jobs
        told = ("upstream.down", "upstream.up", "limit.reached")  # news that is always said, and no fault of ours
        assert [line for line in self.lines if line[0] == 0 and line[1] not in told] == []


@asynccontextmanager
async def serving(
    network: Network, build_job: Callable[[net.Stream], job.Job[Any]], **options: Any
) -> AsyncIterator[Server]:
    """Run a server for the length of the block; then all has to be as it was before."""
    living = trio.lowlevel.current_statistics().tasks_living
    server = Server(network, build_job, **options)
    async with trio.open_nursery() as nursery:
        await server.job.run_in_background(nursery)
        yield server
        await server.until_quiet()
        server.job.finish()
    await server.until(lambda: trio.lowlevel.current_statistics().tasks_living == living)
    server.check_end()


@asynccontextmanager
async def proxying(
    network: Network,
    behind: Behind,
    *,
    relay: Relay = net.relay_task,
    connect: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> AsyncIterator[Server]:
    """Run a proxy to `behind` for the length of the block; then all has to be as it was before."""

    def build(client: net.Stream) -> job.Job[Any]:
        j = job.Job[Any](name="conn")
        j.add_oneshot_task(behind.connect_task(**connect) if isinstance(behind, Balancer) else behind.connect_task)
        j.add_task(relay(client))
        return j

    async with serving(network, build, **options) as server:
        yield server
    check_behind(behind)


@asynccontextmanager
async def forwarding(
    network: Network, handler: Handler, *, relay: Relay = net.relay_task, **options: Any
) -> AsyncIterator[Server]:
    """Run a proxy and the one upstream that it goes to, of which `handler(stream)` is what it does for each connection."""
    async with (
        network.upstream(handler) as address,
        proxying(network, behind(network, address, **options), relay=relay, **options) as proxy,
    ):
        yield proxy


def check_behind(behind: Behind) -> None:
    """Hold the counters of the way to the upstreams to where they began."""
    if isinstance(behind, Balancer):
        assert [upstream.active for upstream in behind.upstreams] == [0] * len(behind.upstreams)
    endpoints = [upstream.endpoint for upstream in behind.upstreams] if isinstance(behind, Balancer) else [behind]
    for statistics in (endpoint.statistics() for endpoint in endpoints):
        assert (statistics.outbound, statistics.idle) == (0, 0)


def behind(network: Network, address: str, **options: Any) -> net.Endpoint:
    """Return the way to an upstream."""
    return net.Endpoint(address, **network.dialing, **{"close_timeout": 0.25, **options})


async def echo(stream: Any) -> None:
    """Be an upstream that sends back what it gets."""
    async for chunk in stream:
        await stream.send_all(chunk)


async def roundtrip(client: Any, data: bytes = b"ping") -> None:
    """Have something sent back."""
    await client.send_all(data)
    assert await read_exactly(client, len(data)) == data


async def read_exactly(stream: Any, size: int) -> bytes:
    """Read so many bytes."""
    data = bytearray()
    while len(data) < size:
        chunk = await stream.receive_some(min(size - len(data), 65536))
        assert chunk, f"EOF after {len(data)} bytes of {size}"
        data += chunk
    return bytes(data)


async def read_all(stream: Any) -> bytes:
    """Read until EOF."""
    return b"".join([bytes(chunk) async for chunk in stream])


async def be_cut(network: Network, stream: Any) -> None:
    """Get no byte more, and see that it was no end: by a reset, where the network has one."""
    with pytest.raises(trio.BrokenResourceError) if network.resets else nullcontext():
        assert await read_all(stream) == b""
