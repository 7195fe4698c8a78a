"""What is cut looks cut, who is gone is told of at once, and a stop has one budget: the relay's ends, and those of jobs."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

import job
from job import net
from job.net import EndReason
from job.net.balancer import Balancer, Upstream
from job.testing import MemoryTransport
from tests.net.certificates import client_context, server_context

Handler = Callable[[net.Stream], Awaitable[object]]


class Proxy:
    """A forwarder in front of a server whose clients are handled by `handler`; over TCP, or in memory."""

    def __init__(
        self, handler: Handler, *, memory: bool = True, tls: bool = False, grace: float = 0, **relay: Any
    ) -> None:
        network = MemoryTransport() if memory else None
        name = "{}:1" if memory else "127.0.0.1:0"
        secured = {"ssl_context": server_context()} if tls else {}
        self.back = net.Endpoint(name.format("back"), transport=network, close_timeout=2)
        self.inbound = net.Endpoint(name.format("front"), transport=network, close_timeout=2, **secured)
        self.network, self.tls, self.relay = network, tls, relay
        self.jobs: list[job.Job[Any]] = []
        self.behind = job.Job[None](name="behind", parent=None)
        self.behind.add_task(net.serve(self.back, handled(handler)))
        self.server = job.Job[None](name="proxy", grace=grace, parent=None)
        self.server.add_task(net.serve(self.inbound, self.connection))

    def connection(self, client: net.Stream) -> job.Job[Any]:
        """Forward one client."""
        j = job.Job[Any](name="connection")
        upstream = net.Endpoint(self.back.addresses[0], transport=self.network, close_timeout=2)
        j.add_oneshot_task(upstream.connect_task)
        j.add_task(net.relay_task(client, **self.relay))
        self.jobs.append(j)
        return j

    async def dial(self) -> net.Stream:
        """Be a client."""
        secured = {"ssl_context": client_context(), "server_hostname": "localhost"} if self.tls else {}
        endpoint = net.Endpoint(self.inbound.addresses[0], transport=self.network, close_timeout=0.1, **secured)
        return await endpoint.dial()

    @property
    def result(self) -> net.RelayResult:
        """What the relay of the first connection says."""
        task = self.jobs[0].get_task(1)
        assert task is not None
        result: net.RelayResult = task.result
        return result


def handled(handler: Handler) -> Callable[[net.Stream], job.Job[Any]]:
    """Return a build_job whose connections run the handler."""

    def build(stream: net.Stream) -> job.Job[Any]:
        async def run(task: job.Task) -> None:
            await handler(stream)
            task.done()

        j = job.Job[Any](stream, name="handled")
        j.add_task(run)
        return j

    return build


@asynccontextmanager
async def forwarding(handler: Handler, **options: Any) -> AsyncIterator[Proxy]:
    """Run a proxy for the length of the block."""
    proxy = Proxy(handler, **options)
    async with trio.open_nursery() as nursery:
        for each in (proxy.behind, proxy.server):
            await each.run_in_background(nursery)
        yield proxy
        proxy.server.finish(0)
        proxy.behind.cancel()


async def ending(stream: trio.abc.ReceiveStream) -> tuple[bytes, str]:
    """Receive all there is, and say how it ended."""
    data = b""
    try:
        while chunk := await stream.receive_some():
            data += chunk
    except trio.BrokenResourceError:
        return data, "cut"
    return data, "EOF"


async def half(stream: net.Stream) -> None:
    """Answer by half, and then say nothing."""
    await stream.receive_some()
    await stream.send_all(b"half")
    await trio.sleep_forever()


async def half_and_abort(stream: net.Stream) -> None:
    """Answer by half, and break."""
    await stream.receive_some()
    await stream.send_all(b"half")
    await trio.sleep(0.1)
    stream.abort()


KINDS: dict[str, dict[str, Any]] = {"memory": {}, "tcp": {"memory": False}, "tls": {"memory": False, "tls": True}}
NETWORKS = pytest.mark.parametrize("network", KINDS.values(), ids=KINDS)


@NETWORKS
async def test_a_reset_is_passed_on(network: dict[str, Any]) -> None:
    """An upstream that breaks is a cut for the client, after all that it had sent."""
    async with forwarding(half_and_abort, **network) as proxy, await proxy.dial() as client:
        await client.send_all(b"get")
        assert await ending(client) == (b"half", "cut")
        assert (proxy.result.reason, proxy.result.closed_by) == (EndReason.RESET, net.Side.UPSTREAM)


@NETWORKS
@pytest.mark.parametrize("timeout", ["idle_timeout", "half_close_timeout"])
async def test_a_timeout_is_a_cut(network: dict[str, Any], timeout: str) -> None:
    """A relay that is still for too long is cut for both."""
    async with forwarding(half, **network, **{timeout: 0.1}) as proxy, await proxy.dial() as client:
        await client.send_all(b"get")
        if timeout == "half_close_timeout":
            await client.send_eof()
        assert await ending(client) == (b"half", "cut")
        assert proxy.result.reason is (
            EndReason.TIMEOUT_IDLE if timeout == "idle_timeout" else EndReason.TIMEOUT_HALF_CLOSE
        )


@NETWORKS
@pytest.mark.parametrize("stop", ["finish", "cancel", "cancel the connection", "fail"])
async def test_a_stop_is_a_cut(network: dict[str, Any], stop: str) -> None:
    """So is one that a stop cuts, whatever stops it."""
    async with forwarding(half, **network) as proxy, await proxy.dial() as client:
        await client.send_all(b"get")
        assert await client.receive_some() == b"half"
        if stop == "finish":
            proxy.server.finish(0.1)
        elif stop == "cancel":
            proxy.server.cancel()
        else:
            proxy.jobs[0].cancel(ValueError("ours") if stop == "fail" else None)
        assert await ending(client) == (b"", "cut")
        assert proxy.result.reason is (EndReason.DRAINED if stop == "finish" else EndReason.CANCELLED)


@NETWORKS
@pytest.mark.parametrize("cut", ["drain", "timeout", "fault"])
async def test_what_was_taken_is_delivered_to_a_slow_reader(network: dict[str, Any], cut: str) -> None:
    """Whatever ends a relay whose reader is slow: all that it took arrives, byte for byte, and then the cut."""
    data = random.Random(3).randbytes(32 << 20)
    ours: list[net.Stream] = []

    async def floods(stream: net.Stream) -> None:
        ours.append(stream)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(data)

    timeout = {"idle_timeout": 0.3} if cut == "timeout" else {}
    async with forwarding(floods, **network, **timeout) as proxy, await proxy.dial() as client:
        await trio.sleep(0.2)
        if cut == "drain":
            proxy.server.finish(0.1)
        elif cut == "fault":
            ours[0].abort()
        await trio.sleep(0.4)
        received, how = await ending(client)
        await proxy.jobs[0].wait()
        assert how == "cut"
        assert 0 < len(received) == proxy.result.bytes_down
        assert data.startswith(received)


async def test_what_a_drain_took_is_delivered(autojump_clock: MockClock) -> None:
    """At the end of the grace a slow reader gets what was taken for it, within close_timeout, and then the cut."""
    data = bytes(range(256)) * 1000

    async def floods(stream: net.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)

    async with forwarding(floods) as proxy, await proxy.dial() as client:
        await wait_all_tasks_blocked()
        proxy.server.finish(1)
        await trio.sleep(2)
        received, how = await ending(client)
        await proxy.jobs[0].wait()
        assert how == "cut"
        assert 0 < len(received) == proxy.result.bytes_down
        assert data.startswith(received)


async def test_a_reader_that_never_reads_has_the_close_timeout(autojump_clock: MockClock) -> None:
    """What finds no reader within close_timeout after the grace is lost: a stop has one budget."""

    async def floods(stream: net.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(bytes(1 << 20))

    async with forwarding(floods) as proxy, await proxy.dial():
        await wait_all_tasks_blocked()
        proxy.server.finish(10)
        await proxy.server.wait()
        assert trio.current_time() == 12


async def test_a_cancel_ends_the_delivery(autojump_clock: MockClock) -> None:
    """A cancel after the end of the grace delivers nothing any more."""

    async def floods(stream: net.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(bytes(1 << 20))

    async with forwarding(floods) as proxy, await proxy.dial():
        await wait_all_tasks_blocked()
        proxy.server.finish(10)
        await trio.sleep(11)
        proxy.server.cancel()
        await proxy.server.wait()
        assert trio.current_time() == 11


# --- one side is gone


@NETWORKS
async def test_a_server_whose_client_is_gone_is_told_at_once(network: dict[str, Any]) -> None:
    """Nothing more is fetched for a client that broke off its download."""
    told = trio.Event()

    async def floods(stream: net.Stream) -> None:
        try:
            while True:
                await stream.send_all(bytes(65536))
        except trio.BrokenResourceError:
            told.set()

    async with forwarding(floods, **network) as proxy, await proxy.dial() as client:
        await client.receive_some()
        client.abort()
        with trio.fail_after(1):
            await told.wait()
        await proxy.jobs[0].wait()
        assert (proxy.result.reason, proxy.result.closed_by) == (EndReason.RESET, net.Side.CLIENT)


@NETWORKS
@pytest.mark.parametrize("last_words", [b"", b"413"])
async def test_a_client_whose_server_is_gone_is_told_at_once(network: dict[str, Any], last_words: bytes) -> None:
    """Nothing more is taken from a client whose server broke off its upload; its last words come first, and no EOF."""

    async def dies(stream: net.Stream) -> None:
        await stream.receive_exactly(100_000)
        if last_words:
            await stream.send_all(last_words)
            await trio.sleep(0.1)
        stream.abort()

    async with forwarding(dies, **network) as proxy, await proxy.dial() as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await client.send_all(bytes(65536))

        with trio.fail_after(1.5):
            assert await ending(client) == (last_words, "cut")
        await proxy.jobs[0].wait()
        assert (proxy.result.reason, proxy.result.closed_by) == (EndReason.RESET, net.Side.UPSTREAM)


# --- closes of jobs without a relay


async def answer(stream: net.Stream) -> None:
    """Answer, and hang up."""
    await stream.receive_some()
    await stream.send_all(b"answer")


@asynccontextmanager
async def answered(
    grace: float = 0, handler: Handler = answer
) -> AsyncIterator[tuple[job.Job[Any], trio.SocketStream]]:
    """Give a server and a client that has asked, got its answer, and does not hang up."""
    endpoint = net.Endpoint("127.0.0.1:0", close_timeout=0.5)
    server = job.Job[Any](name="server", grace=grace, parent=None)
    server.add_task(net.serve(endpoint, handled(handler)))
    async with trio.open_nursery() as nursery:
        await server.run_in_background(nursery)
        host, _, port = endpoint.addresses[0].rpartition(":")
        client = await trio.open_tcp_stream(host, int(port))
        await client.send_all(b"x")
        assert await client.receive_some() == b"answer"
        yield server, client
        await trio.aclose_forcefully(client)
        server.cancel()


async def test_a_close_that_lingers_is_in_the_budget() -> None:
    """A connection that ended well lingers, also beyond the grace, but only for close_timeout."""
    async with answered() as (server, client):
        assert await client.receive_some() == b""
        before = trio.current_time()
        server.finish(0.1)
        await server.wait()
        assert 0.1 < trio.current_time() - before < 1


async def test_a_cancel_does_not_linger() -> None:
    """A cancel ends the close that waits for the peer."""
    async with answered(grace=20) as (server, _):
        await trio.sleep(0.05)
        before = trio.current_time()
        server.cancel()
        await server.wait()
        assert trio.current_time() - before < 0.3


async def test_an_outer_cancellation_does_not_linger() -> None:
    """Nor does a cancellation from outside, and nor does a `finish` that was before."""
    endpoint = net.Endpoint("127.0.0.1:0", close_timeout=3)
    server = job.Job[Any](name="server", parent=None)
    server.add_task(net.serve(endpoint, handled(answer)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        while not endpoint.addresses:
            await trio.lowlevel.checkpoint()
        host, _, port = endpoint.addresses[0].rpartition(":")
        client = await trio.open_tcp_stream(host, int(port))
        await client.send_all(b"x")
        assert await ending(client) == (b"answer", "EOF")
        server.finish(20)
        before = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - before < 0.5
    await client.aclose()


@pytest.mark.parametrize("says_so", [False, True])
async def test_a_job_that_fails_after_its_last_word(says_so: bool) -> None:
    """Where `send_eof` has said that this was all, a job that fails closes in good order; else its peer sees a cut."""

    async def refuse(stream: net.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"answer")
        if says_so:
            await stream.send_eof()
        raise net.ProtocolError("no")

    async with answered(handler=refuse) as (_, client):
        assert await ending(client) == (b"", "EOF" if says_so else "cut")


@pytest.mark.parametrize("way", ["connect_task", "connect", "balancer.connect_task", "balancer.connect"])
async def test_the_upstream_of_a_job_that_fails_sees_a_cut(way: str, autojump_clock: MockClock) -> None:
    """Whatever has connected a job closes by how it ended."""
    network = MemoryTransport()
    (listener,) = await network.listen("up:1")
    endpoint = net.Endpoint("up:1", transport=network)
    balancer = Balancer([Upstream("up:1", transport=network)])

    async def connect(task: job.Task) -> None:
        await (endpoint.connect(task) if way == "connect" else balancer.connect(task))
        task.done()

    async def fail(task: job.Task) -> None:
        await trio.sleep(1)
        raise ValueError("ours")

    j = job.Job[Any](parent=None)
    ready_made = {"connect_task": endpoint.connect_task, "balancer.connect_task": balancer.connect_task()}
    j.add_oneshot_task(ready_made.get(way, connect))
    j.add_task(fail)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        assert await ending(await listener.accept()) == (b"", "cut")
    assert balancer.upstreams[0].active == 0


# --- drain_idle


async def echo(stream: net.Stream) -> None:
    """Send back what comes."""
    while data := await stream.receive_some():
        await stream.send_all(data)


@NETWORKS
async def test_a_relay_at_rest_ends_well(network: dict[str, Any]) -> None:
    """With drain_idle a stop closes a relay at rest in good order, with an EOF to both."""
    async with forwarding(echo, **network, drain_idle=0.1) as proxy, await proxy.dial() as client:
        await client.send_all(b"x")
        assert await client.receive_some() == b"x"
        proxy.server.finish(20)
        with trio.fail_after(2):
            assert await ending(client) == (b"", "EOF")
        await client.aclose()
        await proxy.jobs[0].wait()
        assert (proxy.result.reason, proxy.result.closed_by) == (EndReason.DRAINED, net.Side.PROXY)
        assert proxy.jobs[0].fields["reason"] == "drained"


async def test_a_relay_that_moves_is_not_at_rest(autojump_clock: MockClock) -> None:
    """As long as bytes move it goes on; when they do not any more, it ends."""
    async with forwarding(echo, drain_idle=3) as proxy, await proxy.dial() as client:
        await trio.sleep(1)
        proxy.server.finish(100)
        for _ in range(5):
            await client.send_all(b"x")
            assert await client.receive_some() == b"x"
            await trio.sleep(2)
        assert await ending(client) == (b"", "EOF")
        assert trio.current_time() == 12


async def test_a_relay_with_a_slow_reader_is_not_at_rest(autojump_clock: MockClock) -> None:
    """While a chunk waits for its reader something is in the middle of something."""

    async def floods(stream: net.Stream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(bytes(1 << 20))
            await stream.receive_some()

    async with forwarding(floods, drain_idle=1) as proxy, await proxy.dial() as client:
        await wait_all_tasks_blocked()
        proxy.server.finish(20)
        await trio.sleep(10)
        received = 0
        while received < 1 << 20:
            received += len(await client.receive_some())
        assert await ending(client) == (b"", "EOF")
        assert trio.current_time() < 13


async def test_a_relay_that_waits_for_an_answer_is_not_at_rest(autojump_clock: MockClock) -> None:
    """Where one direction has ended, an EOF would pass for an empty answer."""

    async def thinks(stream: net.Stream) -> None:
        await ending(stream)
        await trio.sleep(5)
        await stream.send_all(b"answer")

    async with forwarding(thinks, drain_idle=1) as proxy, await proxy.dial() as client:
        await client.send_all(b"question")
        await client.send_eof()
        await wait_all_tasks_blocked()
        proxy.server.finish(20)
        assert await ending(client) == (b"answer", "EOF")


async def test_a_drain_idle_that_is_none() -> None:
    """A wrong one is refused at the call, by name."""
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(ValueError, match="drain_idle"):
        net.relay_task(near, drain_idle=-1)
    with pytest.raises(TypeError, match="drain_idle"):
        net.relay_task(near, drain_idle="soon")  # type: ignore[arg-type]
