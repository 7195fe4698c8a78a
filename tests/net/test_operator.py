"""What an operator sees of a server: where it listens, who is there, when it is full, who was turned away, what it lacks."""

import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import job
from job import net, tasks
from job.net._streams.stream import connection_of
from job.testing import MemoryTransport

Build = Callable[[net.Stream], Any]


def echo(stream: net.Stream) -> job.Job[Any]:
    """Return a job that sends back what it receives, until EOF."""

    async def run(task: job.Task) -> None:
        data = await stream.receive_some()
        if not data:
            return task.done()
        await stream.send_all(data)
        return task.tick()

    j = job.Job[Any](name="conn")
    j.add_task(run)
    return j


class Log:
    """The lines of a log: event, level and fields."""

    def __init__(self, level: int = 2) -> None:
        self.lines: list[tuple[str, int, dict[str, Any]]] = []
        self.level = level

    def hear(self, level: int, event: str, fields: Any) -> None:
        """Be the handler of a level."""
        self.lines.append((event, level, dict(fields)))

    def register(self, j: job.Job[Any]) -> None:
        """Listen to a job."""
        j.register_logger({level: partial(self.hear, level) for level in range(3)}, level=self.level)

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of the lines of one kind."""
        return [fields for each, _, fields in self.lines if each == event]

    def levels(self, event: str) -> list[int]:
        """Return the levels of the lines of one kind."""
        return [level for each, level, _ in self.lines if each == event]


@asynccontextmanager
async def serving(
    endpoint: net.Endpoint, build: Build = echo, *, log: Log | None = None, **options: Any
) -> AsyncIterator[job.Job[Any]]:
    """Run a server for the length of the block."""
    j = job.Job[Any](name="server", **options)
    if log is not None:
        log.register(j)
    j.add_task(net.serve(endpoint, build))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        yield j
        j.finish(0)


def local(**options: Any) -> net.Endpoint:
    """Return an endpoint on a free port."""
    return net.Endpoint("127.0.0.1:0", close_timeout=0.1, **options)


async def come(endpoint: net.Endpoint, stack: AsyncExitStack) -> net.Stream:
    """Be a client until the stack is left."""
    transport = endpoint._options.transport
    client = net.Endpoint(endpoint.addresses[0], transport=transport, close_timeout=0.1)
    return await stack.enter_async_context(await client.dial())


async def roundtrip(client: net.Stream) -> None:
    """Be served."""
    await client.send_all(b"x")
    with trio.fail_after(2):
        assert await client.receive_some() == b"x"


async def until(true: Callable[[], object]) -> None:
    """Wait until something is so, which other tasks bring about."""
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody
            await trio.sleep(0.001)


# -- where, and who


async def test_listening(autojump_clock: MockClock) -> None:
    """A server says where it listens, at level 1, before its first client."""
    log = Log()
    endpoint = net.Endpoint("server:0", transport=MemoryTransport())
    async with serving(endpoint, log=log):
        [line] = log.of("listening")
        assert line["addresses"] == endpoint.addresses == ("server:49152",)
        assert (line["task"], log.levels("listening")) == ("serve", [1])


async def test_connection_started(autojump_clock: MockClock) -> None:
    """A connection that begins leaves a line of its own job at level 2, and so does its end at level 1."""
    log = Log()
    endpoint = net.Endpoint("server:1", transport=MemoryTransport())
    async with serving(endpoint, log=log), AsyncExitStack() as stack:
        await roundtrip(await come(endpoint, stack))
        [line] = log.of("connection.started")
        assert (line["job"], line["client"], line["listener"]) == ("conn", "client:1", "server:1")
        assert log.levels("connection.started") == [2]


async def test_connections(autojump_clock: MockClock) -> None:
    """The open connections are there to see, the oldest first; one that is closed is none, though its job goes on."""
    endpoint = net.Endpoint("server:1", transport=MemoryTransport())
    async with serving(endpoint), AsyncExitStack() as stack:
        assert endpoint.connections == ()
        clients = [await come(endpoint, stack) for _ in range(3)]
        for client in clients:
            await roundtrip(client)
        first, second, third = endpoint.connections
        assert [stream.peer for stream in (first, second, third)] == ["client:1", "client:2", "client:3"]
        await clients[1].send_eof()
        await wait_all_tasks_blocked()
        assert endpoint.connections == (first, third)
        await first.aclose()
        assert endpoint.connections == (third,)
    assert endpoint.connections == ()


async def test_connection_of_accept_task(autojump_clock: MockClock) -> None:
    """The client of an `accept_task` is one of them."""
    network = MemoryTransport()
    endpoint = net.Endpoint("server:1", transport=network)
    j = job.Job[net.Stream](keep_open=True)
    j.add_oneshot_task(endpoint.accept_task)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await wait_all_tasks_blocked()
        await network.dial("server:1")
        await wait_all_tasks_blocked()
        assert endpoint.connections == (j.value,)
        assert endpoint.statistics().inbound == endpoint.statistics().taken == 1
        j.finish()
    assert endpoint.connections == ()


@pytest.mark.parametrize(("on_limit", "taken"), [("wait", {2, 3}), ("queue", {2}), ("reject", {2})])
async def test_places(on_limit: Any, taken: set[int], autojump_clock: MockClock) -> None:
    """The statistics tell the limit, and how many places are taken."""
    endpoint = net.Endpoint("server:1", transport=MemoryTransport(), limit=5, on_limit=on_limit)
    assert (endpoint.statistics().limit, endpoint.statistics().taken) == (5, 0)
    async with serving(endpoint), AsyncExitStack() as stack:
        for _ in range(2):
            await roundtrip(await come(endpoint, stack))
        assert endpoint.statistics().taken in taken
    assert endpoint.statistics().taken == 0


# -- full


@pytest.mark.parametrize("on_limit", ["wait", "queue", "reject"])
async def test_limit_reached(on_limit: Any) -> None:
    """A server that is full says so at once, in one warning however many come."""
    log = Log(level=0)
    endpoint = local(limit=1, on_limit=on_limit)
    async with serving(endpoint, log=log), AsyncExitStack() as stack:
        first, *_ = [await come(endpoint, stack) for _ in range(4)]
        await roundtrip(first)
        await until(lambda: log.of("limit.reached"))
        await trio.sleep(0.05)
        [line] = log.of("limit.reached")
        assert (line["address"], line["limit"], line["on_limit"]) == ("127.0.0.1:0", 1, on_limit)


async def test_limit_that_keeps_nobody_waiting() -> None:
    """A server whose places are just taken, with nobody in front of the door, has nothing to say."""
    log = Log(level=0)
    endpoint = local(limit=2)
    async with serving(endpoint, log=log), AsyncExitStack() as stack:
        for _ in range(2):
            await roundtrip(await come(endpoint, stack))
        await trio.sleep(0.05)
        assert log.lines == []
        for _ in range(2):
            await come(endpoint, stack)
        await until(lambda: log.of("limit.reached"))


async def test_place_that_comes_free_before_the_next_client() -> None:
    """A client that comes when a place is free again does not find it taken by an accept that waited for it."""
    log = Log(level=0)
    endpoint = local(limit=1)
    async with serving(endpoint, log=log):
        for _ in range(3):
            async with AsyncExitStack() as stack:
                await roundtrip(await come(endpoint, stack))
            await until(lambda: not endpoint.connections)
        assert log.lines == []


@pytest.mark.parametrize("on_limit", ["wait", "queue"])
async def test_limit_that_lasts(on_limit: Any, autojump_clock: MockClock) -> None:
    """While it lasts there is a line every ten seconds."""
    log = Log(level=0)
    endpoint = net.Endpoint("server:1", transport=MemoryTransport(), limit=1, on_limit=on_limit, queue_timeout=1000)
    async with serving(endpoint, log=log), AsyncExitStack() as stack:
        for _ in range(2):
            await come(endpoint, stack)
        await trio.sleep(35)
        assert len(log.of("limit.reached")) == 4


async def test_limit_that_is_reached_anew(autojump_clock: MockClock) -> None:
    """When it is over there is no other line, and when it begins anew there is one at once."""
    log = Log(level=0)
    endpoint = net.Endpoint("server:1", transport=MemoryTransport(), limit=1, on_limit="queue")
    async with serving(endpoint, log=log):
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await come(endpoint, stack)
            await wait_all_tasks_blocked()
        await trio.sleep(100)
        assert len(log.of("limit.reached")) == 1
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await come(endpoint, stack)
            await wait_all_tasks_blocked()
            assert len(log.of("limit.reached")) == 2


async def test_rejects_that_go_on(autojump_clock: MockClock) -> None:
    """Where clients are rejected one after the other, that is one line in ten seconds, too."""
    log = Log(level=0)
    endpoint = net.Endpoint("server:1", transport=MemoryTransport(), limit=1, on_limit="reject")
    async with serving(endpoint, log=log), AsyncExitStack() as stack:
        for _ in range(35):
            await come(endpoint, stack)
            await trio.sleep(1)
        assert len(log.of("limit.reached")) == 4


# -- turned away


def rejecting(stream: net.Stream) -> net.Reject:
    """Return it."""
    return net.Reject("acl")


def raising(stream: net.Stream) -> job.Job[Any]:
    """Raise it."""
    raise net.Reject("acl")


@pytest.mark.parametrize("build", [rejecting, raising])
async def test_reject(build: Build, autojump_clock: MockClock) -> None:
    """A client is turned away with one quiet line that says why, and its place is free again."""
    log = Log()
    endpoint = net.Endpoint("server:1", transport=MemoryTransport(), limit=1)
    async with serving(endpoint, build, log=log), AsyncExitStack() as stack:
        for _ in range(2):
            client = await come(endpoint, stack)
            assert await client.receive_some() == b""
        assert (endpoint.statistics().accepted, endpoint.statistics().rejected) == (2, 2)
    first, second = log.of("client.rejected")
    assert (first["reason"], first["closed_by"], first["client"], first["listener"]) == (
        "acl",
        "proxy",
        "client:1",
        "server:1",
    )
    assert second["client"] == "client:2"
    assert log.levels("client.rejected") == [1, 1]


@pytest.mark.parametrize(("reason", "error"), [(None, TypeError), ("", ValueError)])
def test_reject_without_a_reason(reason: Any, error: type[Exception]) -> None:
    """A client is turned away for a reason, in a word."""
    with pytest.raises(error, match="reason must"):
        net.Reject(reason)


# -- gone


def reset(client: net.Stream) -> None:
    """Close so that the other side gets a reset."""
    sock = connection_of(client).plain
    assert sock is not None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client._link.wire.abandon()


@pytest.mark.parametrize("on_limit", ["wait", "queue"])
async def test_reset_in_the_queue(on_limit: Any) -> None:
    """Clients that gave up while they waited get no place, be it our queue or the kernel's; a line says who went."""
    built: list[str] = []
    log = Log()

    def build(stream: net.Stream) -> job.Job[Any]:
        built.append(stream.peer)
        return echo(stream)

    endpoint = local(limit=1, on_limit=on_limit)
    async with serving(endpoint, build, log=log), AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            await roundtrip(await come(endpoint, first))
            for _ in range(3):
                client = await come(endpoint, stack)
                await client.send_all(b"unread")
                await trio.sleep(0.01)
                reset(client)
        await roundtrip(await come(endpoint, stack))
        assert len(built) == 2
        gone = log.of("client.gone")
        assert [(line["reason"], line["closed_by"]) for line in gone] == [("reset", "client")] * 3
        assert log.levels("client.gone") == [1, 1, 1]
        assert endpoint.statistics().rejected == 0


@pytest.mark.parametrize("on_limit", ["wait", "queue"])
async def test_reset_in_a_queue_in_memory(on_limit: Any, autojump_clock: MockClock) -> None:
    """The network in memory tells of it as a socket does."""
    log = Log()
    endpoint = net.Endpoint("server:1", transport=MemoryTransport(), limit=1, on_limit=on_limit)
    async with serving(endpoint, log=log), AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            await roundtrip(await come(endpoint, first))
            (await come(endpoint, stack)).abort()
        await roundtrip(await come(endpoint, stack))
        assert [line["client"] for line in log.of("client.gone")] == ["client:2"]


@pytest.mark.parametrize("on_limit", ["wait", "queue"])
async def test_half_closed_in_the_queue(on_limit: Any) -> None:
    """An EOF is no farewell: a client that asked and half-closed while it waited gets its answer."""
    endpoint = local(limit=1, on_limit=on_limit)
    async with serving(endpoint), AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            await roundtrip(await come(endpoint, first))
            patient = await come(endpoint, stack)
            await patient.send_all(b"hello")
            await patient.send_eof()
            await trio.sleep(0.02)
        with trio.fail_after(2):
            assert await patient.receive_exactly(5) == b"hello"
            assert await patient.receive_some() == b""


# -- what this machine lacks, and what is no client's fault


class Lacking(MemoryTransport):
    """A network on which a dial meets a lack of our own."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    async def dial(self, address: str) -> Any:
        """Fail."""
        await trio.lowlevel.checkpoint()
        raise OSError(self.number, "lacking")


def by_connect_task(upstream: net.Endpoint, client: net.Stream) -> job.Job[Any]:
    """Dial by the oneshot of the endpoint."""
    j = job.Job[Any](name="conn", quiet=net.PEER_FAULTS)
    j.add_oneshot_task(upstream.connect_task)
    return j


def by_connect(upstream: net.Endpoint, client: net.Stream) -> job.Job[Any]:
    """Dial in a oneshot."""

    async def run(task: job.Task) -> None:
        await upstream.connect(task)

    j = job.Job[Any](name="conn", quiet=net.PEER_FAULTS)
    j.add_oneshot_task(run)
    return j


def by_hand(upstream: net.Endpoint, client: net.Stream) -> job.Job[Any]:
    """Dial in a task like any other."""

    async def run(task: job.Task) -> None:
        await upstream.dial()

    j = job.Job[Any](name="conn", quiet=net.PEER_FAULTS)
    j.add_task(run)
    return j


@pytest.mark.parametrize("build", [by_connect_task, by_connect, by_hand])
@pytest.mark.parametrize("lack", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"])
async def test_shortage_at_a_dial(build: Any, lack: str, autojump_clock: MockClock) -> None:
    """What this machine lacks at a dial is no upstream's fault: `proxy_error` by the proxy, a warning, whatever is quiet."""
    log = Log()
    network = MemoryTransport()
    upstream = net.Endpoint("db:1", transport=Lacking(getattr(errno, lack)))
    endpoint = net.Endpoint("server:1", transport=network)
    async with serving(endpoint, partial(build, upstream), log=log), AsyncExitStack() as stack:
        with pytest.raises(trio.BrokenResourceError):
            await (await come(endpoint, stack)).receive_some()
        await wait_all_tasks_blocked()
        [line] = log.of("job.ended")
        assert (line["reason"], line["closed_by"]) == ("proxy_error", "proxy")
        assert log.levels("job.ended") == [0]


async def test_refusal_at_a_dial(autojump_clock: MockClock) -> None:
    """The other side of it: a refusal is the upstream's, and quiet."""
    log = Log()
    network = MemoryTransport()
    endpoint = net.Endpoint("server:1", transport=network)
    upstream = net.Endpoint("db:1", transport=network)
    async with serving(endpoint, partial(by_connect_task, upstream), log=log), AsyncExitStack() as stack:
        with pytest.raises(trio.BrokenResourceError):
            await (await come(endpoint, stack)).receive_some()
        await wait_all_tasks_blocked()
        [line] = log.of("job.ended")
        assert (line["reason"], line["closed_by"]) == ("connect_failed", "upstream")
        assert log.levels("job.ended") == [1]


async def test_shortage_outside_of_a_job() -> None:
    """A dial by hand, outside of any job, raises it and that is all."""
    with pytest.raises(OSError, match="lacking"):
        await net.Endpoint("db:1", transport=Lacking(errno.EMFILE)).dial()


async def test_survived_shortage(autojump_clock: MockClock) -> None:
    """An attempt that met a lack of our own is a warning too, where a retry makes another."""
    log = Log()
    j = job.Job[Any](name="conn", quiet=net.PEER_FAULTS)
    log.register(j)
    connect = net.Endpoint("db:1", transport=Lacking(errno.EMFILE)).connect_task
    j.add_oneshot_task(tasks.retry(connect, attempts=2))
    with pytest.raises(OSError, match="lacking"):
        await j.run()
    assert log.levels("task.failed") == [0]


def serve_task(endpoint: net.Endpoint, j: job.Job[Any]) -> None:
    """Serve."""
    j.add_task(net.serve(endpoint, echo))


def accept_task(endpoint: net.Endpoint, j: job.Job[Any]) -> None:
    """Accept one."""
    j.add_oneshot_task(endpoint.accept_task)


@pytest.mark.parametrize("add", [serve_task, accept_task])
async def test_taken_port(add: Any) -> None:
    """A port that is taken is a warning, whatever the server's `quiet` says of its clients."""
    log = Log(level=0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        j = job.Job[Any](name="server", quiet=[OSError])
        log.register(j)
        add(net.Endpoint(address), j)
        async with trio.open_nursery() as nursery:
            await j.run_in_background(nursery)
    [line] = log.of("job.ended")
    assert address in line["error"]


class Broken(MemoryTransport):
    """A network whose listeners break at once."""

    async def listen(self, address: str) -> Any:
        """Give one that does."""
        await trio.lowlevel.checkpoint()
        return [self]

    async def accept(self) -> Any:
        """Break."""
        await trio.sleep(1)
        raise OSError(errno.EINVAL, "the listener broke")

    async def aclose(self) -> None:
        """Close."""
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("add", [serve_task, accept_task])
async def test_broken_listener(add: Any, autojump_clock: MockClock) -> None:
    """So is a listener that breaks."""
    log = Log(level=0)
    j = job.Job[Any](name="server", quiet=[OSError])
    log.register(j)
    add(net.Endpoint("server:1", transport=Broken()), j)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert log.levels("job.ended") == [0]
