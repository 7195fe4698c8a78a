"""Scenario 14: struck at any checkpoint of connect, lease, relay, serve, drain or reuse, no place, stream or task is leaked."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio

import job
from job import net
from job.net import frames
from job.net.balancer import Balancer, NoUpstreamError, RoundRobin, Upstream
from job.testing import Ask, MemoryStream, MemoryTransport, cancel_at_each_checkpoint, check_trace
from tests.faults.networks import GONE
from tests.faults.proxies import check_behind, echo

Visit = Callable[[MemoryStream], Awaitable[object]]
DOWN = "down:80"


class World(MemoryTransport):
    """A network that knows all its streams, and a job in which all happens that goes on in it."""

    def __init__(self) -> None:
        super().__init__(buffer=8)
        self.streams: list[MemoryStream] = []
        self.endpoints: list[net.Endpoint] = []
        self.balancers: list[Balancer] = []
        self.job = job.Job[Any](name="world", grace=2)
        self.job.register_logger({0: lambda event, fields: None})
        self._visitors = 0

    def _pair(self, client: str, server: str) -> tuple[MemoryStream, MemoryStream]:
        self.streams += (pair := super()._pair(client, server))
        return pair

    def endpoint(self, address: str, **options: Any) -> net.Endpoint:
        """Return an endpoint on this network."""
        self.endpoints.append(net.Endpoint(address, transport=self, **{"close_timeout": 1, **options}))
        return self.endpoints[-1]

    def balancer(self, *addresses: str, **options: Any) -> Balancer:
        """Return a balancer on this network."""
        upstreams = [Upstream(address, transport=self, close_timeout=1, **options) for address in addresses]
        self.balancers.append(Balancer(upstreams, choose=RoundRobin(), fall=1, max_ejected=1))
        return self.balancers[-1]

    def serve(self, address: str, build_job: Callable[[net.Stream], job.Job[Any]], **options: Any) -> net.Endpoint:
        """Have clients served."""
        endpoint = self.endpoint(address, **options)
        self.job.add_task(net.serve(endpoint, build_job, lame_duck=0.5))
        return endpoint

    def visit(self, address: str, visit: Visit, *, after: float = 0) -> None:
        """Be a client, after so many seconds; when the last one has gone the job is finished."""
        self._visitors += 1

        async def run(task: job.Task) -> None:
            await trio.sleep(after)
            with suppress(*GONE, OSError):
                async with await self.dial(address) as stream:
                    await visit(stream)
            self.leave(task)

        self.job.add_task(run, name=f"client{self._visitors}")

    def work(self, work: Callable[[], Awaitable[object]]) -> None:
        """Be somebody who uses the toolkit directly."""
        self._visitors += 1

        async def run(task: job.Task) -> None:
            with suppress(*GONE, OSError, net.ProtocolError, NoUpstreamError):
                await work()
            self.leave(task)

        self.job.add_task(run, name=f"worker{self._visitors}")

    def leave(self, task: job.Task) -> None:
        """Be done, and the job with the last one."""
        self._visitors -= 1
        if self._visitors:
            task.done()
        else:
            task.finish_job()

    def check_end(self) -> None:
        """Hold everything to where it began."""
        kept = 0
        for endpoint in self.endpoints:
            statistics = endpoint.statistics()
            assert (statistics.inbound, statistics.outbound) == (0, 0)
            assert (endpoint.addresses, endpoint._slots.taken, len(endpoint._slots._waiters)) == ((), 0, 0)
            kept += statistics.idle
        for balancer in self.balancers:
            check_behind(balancer)
            assert len(balancer._wait_queue) == 0
        assert self._listeners == {}
        # A connection that is kept for the next dial is closed with its endpoint.
        assert sum(not stream._closed for stream in self.streams) <= 2 * kept


def connecting(world: World) -> None:
    """Dial an upstream, speak, and close."""
    world.serve("up:80", echoing)
    upstream = world.endpoint("up:80")
    j = job.Job[Any](name="conn", parent=world.job)
    j.add_oneshot_task(upstream.connect_task)

    async def speak(task: job.Task) -> None:
        await j.value.send_all(b"hello")
        assert await j.value.receive_exactly(5) == b"hello"
        task.done()

    j.add_task(speak)
    world.work(j.run)


def accepting(world: World) -> None:
    """Accept one client and answer it."""
    endpoint = world.endpoint("server:80", limit=1)
    world.serve("other:80", echoing)
    j = job.Job[Any](name="conn", parent=world.job)
    j.add_oneshot_task(endpoint.accept_task)

    async def answer(task: job.Task) -> None:
        await j.value.send(await j.value.receive_exactly(4))
        task.done()

    j.add_task(answer)
    world.work(j.run)
    world.visit("server:80", ask, after=1)


def forwarding(world: World) -> None:
    """Forward one client by way of an upstream that refuses, to one that answers."""
    world.serve("up:80", echoing)
    balancer = world.balancer(DOWN, "up:80", limit=1)
    world.serve("front:80", partial(forward, balancer))
    world.visit("front:80", ask)


def holding(on_limit: str) -> Callable[[World], None]:
    """Have three clients come where there is place for one."""

    def build(world: World) -> None:
        world.serve("front:80", echoing, limit=1, on_limit=on_limit, queue_timeout=3)
        for _ in range(3):
            world.visit("front:80", ask)

    return build


def acquiring(world: World) -> None:
    """Wait for the one place of an upstream, in turn."""
    balancer = world.balancer("up:80", limit=1)

    async def use(seconds: float) -> None:
        with await balancer.acquire(timeout=3) as upstream:
            assert upstream.active == 1
            await trio.sleep(seconds)

    world.serve("up:80", echoing)
    for seconds in (1, 1, 2.5, 1):
        world.work(partial(use, seconds))


def leasing(world: World) -> None:
    """Take what place there is, and dial."""
    balancer = world.balancer("up:80", limit=2)

    async def use() -> None:
        with balancer.lease() as upstream:
            async with await upstream.endpoint.dial() as stream:
                await ask(stream)

    world.serve("up:80", echoing)
    for _ in range(3):
        world.work(use)


def reusing(world: World) -> None:
    """Send messages one after another over one connection that is kept between them."""
    world.serve("up:80", answering, codec=frames.Codec())
    upstream = world.endpoint("up:80", codec=frames.Codec(), max_idle=1)

    async def use() -> None:
        for _ in range(3):
            stream = await upstream.dial()
            try:
                await stream.send(b"question")
                async with stream.received() as data:
                    assert data == b"question"
            finally:
                await stream.release()

    world.work(use)


def checking(world: World) -> None:
    """Check upstreams, one of which is down."""
    world.serve("up:80", echoing)
    balancer = world.balancer(DOWN, "up:80")
    world.job.add_task(balancer.check_task(interval=1))
    world.work(partial(trio.sleep, 2.5))


def echoing(stream: net.Stream) -> job.Job[Any]:
    """Send back what comes."""

    async def run(task: job.Task) -> None:
        await echo(stream)
        task.done()

    j = job.Job[Any](name="echo")
    j.add_task(run)
    return j


def answering(stream: net.Stream) -> job.Job[Any]:
    """Send back each message, with the two sides of the stream as tasks."""

    async def run(task: job.Task) -> None:
        try:
            async with stream.received() as data:
                await stream.send(data)
        except trio.EndOfChannel:
            return task.finish_job()
        return task.tick()

    j = job.Job[Any](name="answer")
    j.add_task(stream.read_task)
    j.add_task(stream.write_task)
    j.add_task(run)
    return j


def forward(balancer: Balancer, stream: net.Stream) -> job.Job[Any]:
    """Relay to an upstream."""
    j = job.Job[Any](name="conn")
    j.add_oneshot_task(balancer.connect_task())
    j.add_task(net.relay_task(stream, half_close_timeout=1))
    return j


async def ask(stream: trio.abc.HalfCloseableStream) -> None:
    """Speak, half-close, and read the answer."""
    await stream.send_all(b"ping")
    await stream.send_eof()
    async for _ in stream:
        pass


STORIES = {
    "connect": connecting,
    "accept": accepting,
    "forward": forwarding,
    "wait": holding("wait"),
    "queue": holding("queue"),
    "reject": holding("reject"),
    "acquire": acquiring,
    "lease": leasing,
    "reuse": reusing,
    "check": checking,
}


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("by", Ask)
def test_struck_at_each_step(story: str, by: Ask) -> None:
    """Cancelled, finished or struck from outside at any step: all is given back."""
    worlds: list[World] = []

    def build() -> job.Job[Any]:
        worlds.append(World())
        STORIES[story](worlds[-1])
        return worlds[-1].job

    for struck in cancel_at_each_checkpoint(build, by=by):
        for trace in struck.traces:
            check_trace(trace)
        worlds.pop().check_end()
    worlds.pop().check_end()
    assert struck.step > 20
