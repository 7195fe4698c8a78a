"""One `job.ended` for each connection tells the whole story; a peer's fault is one quiet line, our own has a traceback."""

import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import job
from job import net, tasks
from job.net.balancer import Balancer, RoundRobin, Upstream
from job.testing import MemoryStream, MemoryTransport

Build = Callable[[net.Stream], job.Job[Any]]
Line = tuple[int, str, dict[str, Any]]


def hear(lines: list[Line], level: int, event: str, fields: Mapping[str, Any]) -> None:
    """Be the handler of a level; that something begins, or is full, is another story."""
    if event not in ("listening", "connection.started", "limit.reached"):
        lines.append((level, event, dict(fields)))


class Slow(MemoryTransport):
    """A network on which it takes a second to reach an upstream; the one called silent is never reached."""

    async def dial(self, address: str) -> MemoryStream:
        """Connect."""
        if address == "silent:80":
            await trio.sleep_forever()
        if address != "server:80":
            await trio.sleep(1)
        return await super().dial(address)


class Served:
    """A server in memory that keeps the lines of its log, each with its level."""

    def __init__(self, build_job: Build, **options: Any) -> None:
        self.network = Slow()
        self.endpoint = net.Endpoint("server:80", transport=self.network, **options)
        self.lines: list[Line] = []
        self.job = job.Job[None](name="server", grace=5)
        self.job.register_logger({level: partial(hear, self.lines, level) for level in range(3)}, level=2)
        self.job.add_task(net.serve(self.endpoint, build_job))

    async def one_client(self, *, says: bytes = b"") -> bytes:
        """Come, speak, and go when the server has said all, or cut the connection."""
        heard = b""
        async with await self.network.dial("server:80") as client:
            await client.send_all(says)
            await client.send_eof()
            with suppress(trio.BrokenResourceError):
                async for chunk in client:
                    heard += chunk
        await wait_all_tasks_blocked()
        return heard

    @property
    def ended(self) -> dict[str, Any]:
        """The one record of the one connection."""
        [fields] = [fields for _, event, fields in self.lines if event == "job.ended" and fields["job"] == "conn"]
        return fields


def upstream(network: MemoryTransport, address: str = "up:80") -> net.Endpoint:
    """Return the way to an upstream."""
    return net.Endpoint(address, transport=network)


@asynccontextmanager
async def serving(build: Callable[["Served", net.Stream], job.Job[Any]], **options: Any) -> AsyncIterator[Served]:
    """Run a server, with an upstream behind it that answers with what it got and a mark."""
    served = Served(lambda stream: build(served, stream), **options)
    behind = job.Job[None]()
    behind.add_task(net.serve(net.Endpoint("up:80", transport=served.network), shout))
    async with trio.open_nursery() as nursery:
        for each in (behind, served.job):
            await each.run_in_background(nursery)
        yield served
        behind.finish()
        served.job.finish()


def shout(stream: net.Stream) -> job.Job[Any]:
    """Send back what comes, with a mark behind it."""

    async def run(task: job.Task) -> None:
        said = b"".join([chunk async for chunk in stream])
        await stream.send_all(said + b"!")
        task.done()

    j = job.Job[Any](name="conn")
    j.add_task(run)
    return j


def answering(served: Served, stream: net.Stream) -> job.Job[Any]:
    """Answer without an upstream."""
    return shout(stream)


def balancing(*addresses: str, **options: Any) -> Callable[[Served, net.Stream], job.Job[Any]]:
    """Make jobs that relay to the first of these upstreams that answers."""

    def build(served: Served, stream: net.Stream) -> job.Job[Any]:
        upstreams = [Upstream(address, transport=served.network) for address in addresses]
        j = job.Job[Any](name="conn")
        j.add_oneshot_task(Balancer(upstreams, choose=RoundRobin()).connect_task(**options))
        j.add_task(net.relay_task(stream))
        return j

    return build


def relaying(served: Served, stream: net.Stream) -> job.Job[Any]:
    """Relay to the upstream."""
    j = job.Job[Any](name="conn")
    j.add_oneshot_task(upstream(served.network).connect_task)
    j.add_task(net.relay_task(stream))
    return j


def failing(error: Exception) -> Callable[[Served, net.Stream], job.Job[Any]]:
    """Make jobs that fail."""

    async def run(task: job.Task) -> None:
        raise error

    def build(served: Served, stream: net.Stream) -> job.Job[Any]:
        j = job.Job[Any](name="conn")
        j.add_task(run)
        return j

    return build


def told(served: Served, *names: str) -> list[Any]:
    """Return what the record says of these."""
    return [served.ended.get(name) for name in names]


async def test_whole_story(autojump_clock: MockClock) -> None:
    """Who, where, to whom, how long each part took, what was moved, and how it ended: one line."""
    async with serving(balancing("down:80", "up:80")) as served:
        assert await served.one_client(says=b"hello") == b"hello!"
        assert told(served, "client", "listener", "queue_time") == ["client:1", "server:80", 0.0]
        assert told(served, "upstream", "attempts", "connect_time") == ["up:80", 2, 2.0]
        assert told(served, "bytes_up", "bytes_down", "seconds") == [5, 6, 2.0]
        assert told(served, "reason", "closed_by", "code") == ["eof", "client", "finished"]
        assert [(level, event) for level, event, _ in served.lines] == [(1, "job.ended")]


async def test_socket_addresses() -> None:
    """On a socket the client and the listener have the addresses that the endpoint tells."""
    endpoint = net.Endpoint("127.0.0.1:0")
    jobs: list[job.Job[Any]] = []

    def build(stream: net.Stream) -> job.Job[Any]:
        jobs.append(shout(stream))
        return jobs[0]

    server = job.Job[None]()
    server.add_task(net.serve(endpoint, build))
    async with server:
        async with await net.Endpoint(endpoint.addresses[0]).dial() as client:
            await client.send_eof()
            await client.receive_exactly(1)
        await jobs[0].wait()
        assert (jobs[0].fields["client"], jobs[0].fields["listener"]) == (client.local, endpoint.addresses[0])


async def test_one_upstream(autojump_clock: MockClock) -> None:
    """The connect task of an endpoint tells the same as a balancer's."""
    async with serving(relaying) as served:
        await served.one_client()
        assert told(served, "upstream", "attempts", "connect_time") == ["up:80", 1, 1.0]


@pytest.mark.parametrize(
    ("addresses", "options", "story"),
    [
        (["down:80"], {}, ["down:80", 1, 1.0, "connect_failed", "upstream"]),
        (["down:80", "lost:80"], {}, ["lost:80", 2, 2.0, "connect_failed", "upstream"]),
        (["silent:80"], {"timeout": 3}, ["silent:80", 1, 3.0, "timeout_connect", "proxy"]),
        ([], {}, [None, None, None, "no_upstream", "proxy"]),
    ],
)
async def test_failed_dial(
    addresses: list[str], options: dict[str, Any], story: list[Any], autojump_clock: MockClock
) -> None:
    """A dial that fails tells how far it came, and why the connection ended."""
    async with serving(balancing(*addresses, **options)) as served:
        assert await served.one_client() == b""
        assert told(served, "upstream", "attempts", "connect_time", "reason", "closed_by") == story
        assert told(served, "bytes_up", "bytes_down") == [0, 0]


async def test_cancelled_dial(autojump_clock: MockClock) -> None:
    """A dial that is cut tells, too."""
    async with serving(balancing("silent:80")) as served:
        await served.network.dial("server:80")
        await trio.sleep(2)
        served.job.finish(1)
    assert told(served, "upstream", "attempts", "connect_time") == ["silent:80", 1, 3.0]
    assert told(served, "reason", "closed_by", "code") == ["drained", "proxy", "parent-cut@connect:run"]


async def test_dialed_again(autojump_clock: MockClock) -> None:
    """A connect task that is tried again tells of all its dials, and not of the waits between them."""

    def build(served: Served, stream: net.Stream) -> job.Job[Any]:
        j = job.Job[Any](name="conn")
        connect = upstream(served.network, "down:80").connect_task
        j.add_oneshot_task(tasks.retry(connect, attempts=3, wait=10))
        return j

    async with serving(build) as served:
        await served.one_client()
        assert told(served, "attempts", "connect_time") == [3, 3.0]


async def test_without_a_relay(autojump_clock: MockClock) -> None:
    """A service that does not relay has a reason by its verdict, and the bytes of its client."""
    async with serving(answering) as served:
        await served.one_client(says=b"hello")
        assert told(served, "reason", "bytes_up", "bytes_down") == ["eof", 5, 6]
        assert "closed_by" not in served.ended


async def test_queue_time(autojump_clock: MockClock) -> None:
    """A client that was held tells for how long."""
    limits: dict[str, Any] = {"limit": 1, "on_limit": "queue"}
    async with serving(answering, **limits) as served, trio.open_nursery() as nursery:
        first = await served.network.dial("server:80")
        await wait_all_tasks_blocked()
        nursery.start_soon(served.one_client)
        await trio.sleep(2)
        await first.aclose()
    times = [fields["queue_time"] for _, event, fields in served.lines if event == "job.ended" and "client" in fields]
    assert times == [0.0, 2.0]


@pytest.mark.parametrize(("on_limit", "waited"), [("queue", 3.0), ("reject", 0.0)])
async def test_rejected(on_limit: Any, waited: float, autojump_clock: MockClock) -> None:
    """A client without a place has no job; its one line says why it was closed."""
    async with serving(answering, limit=1, on_limit=on_limit, queue_timeout=3) as served:
        await served.network.dial("server:80")
        await wait_all_tasks_blocked()
        assert await served.one_client() == b""
        [(level, event, fields)] = served.lines
        assert (level, event, fields["client"], fields["listener"]) == (
            1,
            "client.rejected",
            "client:2",
            "server:80",
        )
        assert (fields["reason"], fields["closed_by"], fields["queue_time"]) == ("limit", "proxy", waited)


async def test_what_the_program_says_stays(autojump_clock: MockClock) -> None:
    """Fields that are set already are not overwritten, whether at the start or later."""
    own = {"client": "Ann", "upstream": "blue", "closed_by": "nobody", "listener": None, "bytes_up": "few"}

    def build(served: Served, stream: net.Stream) -> job.Job[Any]:
        j = job.Job[Any](name="conn", fields=own)
        j.add_oneshot_task(upstream(served.network).connect_task)

        async def say(task: job.Task) -> None:
            j.fields["reason"] = "boredom"
            task.done()

        j.add_task(say)
        return j

    async with serving(build) as served:
        await served.one_client()
        assert served.ended.items() >= {**own, "reason": "boredom", "bytes_down": 0, "queue_time": 0.0}.items()


async def test_observers_hear_it(autojump_clock: MockClock) -> None:
    """The story is complete before an observer hears of the end."""
    heard: list[str] = []

    class Listener:
        def on_event(self, event: object) -> None:
            if isinstance(event, job.JobEnded):
                heard.append(event.job.fields["reason"])

    def build(served: Served, stream: net.Stream) -> job.Job[Any]:
        return job.Job[Any](name="conn", observers=[Listener()])

    async with serving(build) as served:
        await served.one_client()
    assert heard == ["eof"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError("gone"), "reset"),
        (trio.BrokenResourceError("gone"), "reset"),
        (net.ProtocolError("nonsense"), "protocol_error"),
        (net.ConnectTimeoutError("late"), "timeout_connect"),
    ],
)
async def test_fault_of_a_peer(error: Exception, reason: str, autojump_clock: MockClock) -> None:
    """It is one line at level 1, without a traceback."""
    async with serving(failing(error)) as served:
        await served.one_client()
        assert [(level, event) for level, event, _ in served.lines] == [(1, "job.ended")]
        assert told(served, "reason", "error", "exc_info") == [reason, repr(error), None]


async def test_fault_of_our_own(autojump_clock: MockClock) -> None:
    """It is one line at level 0, with the traceback, and the story is the same."""
    error = KeyError("ours")
    async with serving(failing(error)) as served:
        await served.one_client()
        assert [(level, event) for level, event, _ in served.lines] == [(0, "job.ended")]
        assert told(served, "reason", "closed_by", "exc_info") == ["proxy_error", "proxy", error]
        assert told(served, "client", "listener") == ["client:1", "server:80"]


async def test_reset_under_the_relay() -> None:
    """A client that resets its connection under a relay is a reason, at level 1, too."""
    front, behind = net.Endpoint("127.0.0.1:0"), net.Endpoint("127.0.0.1:0")
    lines: list[Line] = []
    jobs: list[job.Job[Any]] = []

    def build(stream: net.Stream) -> job.Job[Any]:
        j = job.Job[Any](name="conn")
        j.add_oneshot_task(net.Endpoint(behind.addresses[0]).connect_task)
        j.add_task(net.relay_task(stream))
        for_level = {level: partial(hear, lines, level) for level in range(2)}
        j.register_logger(for_level, level=1)
        jobs.append(j)
        return j

    async with job.Job[None](keep_open=True) as server:
        server.add_task(net.serve(behind, shout))
        server.add_task(net.serve(front, build))
        await wait_all_tasks_blocked()
        with socket.create_connection(("127.0.0.1", int(front.addresses[0].rpartition(":")[2]))) as client:
            client.sendall(b"hello")
            while not (jobs and jobs[0].state is job.JobState.RECURRENT_RUNNING):
                await trio.lowlevel.checkpoint()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await jobs[0].wait()
    [(level, event, fields)] = lines
    assert (level, event, fields["reason"], fields["closed_by"]) == (1, "job.ended", "reset", "client")
    assert "exc_info" not in fields


async def test_accept_task(autojump_clock: MockClock) -> None:
    """A job that accepts one client knows who came, and where."""
    network = MemoryTransport()
    j = job.Job[Any]()
    j.add_oneshot_task(net.Endpoint("server:80", transport=network).accept_task)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await wait_all_tasks_blocked()
        await network.dial("server:80")
    assert j.fields == {"client": "client:1", "listener": "server:80"}
