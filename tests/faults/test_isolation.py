"""Scenario 15: what an upstream says late, or too much of, never reaches another client."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import job
from job import net
from job.net import frames
from tests.faults.networks import Network
from tests.faults.proxies import Server, check_behind, read_exactly, serving

LATER = 0.03
Misbehave = Callable[[Any, bytes], Awaitable[None]]


def frame(payload: bytes) -> bytes:
    """Return the frame of a payload."""
    return frames.encode(payload)


async def behave(stream: Any, reply: bytes) -> None:
    """Say what was asked for, and no more."""
    await stream.send_all(frame(reply))


async def say_more(stream: Any, reply: bytes) -> None:
    """Say it twice, in one piece."""
    await stream.send_all(frame(reply) * 2)


async def begin_another(stream: Any, reply: bytes) -> None:
    """Begin a second reply."""
    await stream.send_all(frame(reply) + frame(reply)[:5])


async def say_more_later(stream: Any, reply: bytes) -> None:
    """Say it again when the first client has been answered."""
    await stream.send_all(frame(reply))
    await trio.sleep(LATER)
    await stream.send_all(frame(reply))


async def hang_up(stream: Any, reply: bytes) -> None:
    """Say it, and close."""
    await stream.send_all(frame(reply))
    await trio.sleep(LATER)
    await stream.aclose()


@pytest.mark.parametrize(
    ("misbehave", "dials"), [(behave, 1), (say_more, 4), (begin_another, 4), (say_more_later, 4), (hang_up, 4)]
)
async def test_reuse(network: Network, misbehave: Misbehave, dials: int) -> None:
    """Clients one after another get the reply to their own request, over one connection only where it is clean."""

    said = 0

    async def answer(stream: Any) -> None:
        nonlocal said
        while True:
            size = int.from_bytes(await read_exactly(stream, 4), "big")
            question = await read_exactly(stream, size)
            try:
                await misbehave(stream, b"re: " + question)
            finally:
                said += 1

    async with network.upstream(tolerant(answer)) as address:
        upstream = net.Endpoint(address, codec=frames.Codec(), max_idle=1, close_timeout=0.2, **network.dialing)
        async with serving(network, asking(upstream), codec=frames.Codec()) as server:
            for number in range(4):
                question = b"question %d" % number
                assert await ask(network, server, question) == b"re: " + question
                await server.until(lambda: said > number)  # noqa: B023 - it is called here and now
            assert upstream.statistics().dialed == dials
            await (await upstream.dial()).aclose()  # the one that is still kept
        check_behind(upstream)


def tolerant(handler: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """Return the handler of an upstream that does not mind an early EOF."""

    async def handle(stream: Any) -> None:
        try:
            await handler(stream)
        except AssertionError:
            return

    return handle


def asking(upstream: net.Endpoint) -> Callable[[net.Stream], job.Job[Any]]:
    """Make jobs that pass one request on, and give the connection back."""

    def build(client: net.Stream) -> job.Job[Any]:
        async def run(task: job.Task) -> None:
            behind = await upstream.dial()
            try:
                async with client.received() as request:
                    await behind.send(request)
                async with behind.received() as reply:
                    await client.send(reply)
            finally:
                await behind.release()
            task.done()

        j = job.Job[Any](name="conn")
        j.add_task(run)
        return j

    return build


async def ask(network: Network, server: Server, question: bytes) -> bytes:
    """Be a client: ask, and read all that comes."""
    async with await network.connect(server.address) as client:
        await client.send_all(frame(question))
        size = int.from_bytes(await read_exactly(client, 4), "big")
        reply = await read_exactly(client, size)
        assert await client.receive_some() == b""
        return reply


async def test_raw_streams_are_not_reused(network: Network) -> None:
    """Without frames nobody can tell whether a reply is complete: each client has a connection of its own."""

    async def answer(stream: Any) -> None:
        await stream.send_all(b"re: " + await stream.receive_some())

    def build(client: net.Stream) -> job.Job[Any]:
        async def run(task: job.Task) -> None:
            behind = await upstream.dial()
            await behind.send_all(await client.receive_some())
            await client.send_all(await behind.receive_some())
            await behind.release()
            task.done()

        j = job.Job[Any](name="conn")
        j.add_task(run)
        return j

    async with network.upstream(answer) as address:
        upstream = net.Endpoint(address, max_idle=5, close_timeout=0.2, **network.dialing)
        async with serving(network, build) as server:
            for number in range(3):
                async with await network.connect(server.address) as client:
                    await client.send_all(b"%d" % number)
                    assert await read_exactly(client, 5) == b"re: %d" % number
        assert (upstream.statistics().dialed, upstream.statistics().idle) == (3, 0)
        check_behind(upstream)
