"""A server gives each client a job of its own, within its limit; no client, and no job, can bring it down."""

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import job
from job import net
from job._core.border import mark_started
from job.net._endpoints.listeners import SocketListener
from job.net._endpoints.serve import _Server
from job.net._endpoints.slots import Slots
from job.testing import MemoryStream, MemoryTransport
from tests.net.servers import echo

Lines = list[tuple[str, dict[str, Any]]]


class Served:
    """A server in memory, its log, and the way to it."""

    def __init__(self, build_job: Callable[[net.Stream], Any] = echo, *, lame_duck: float = 0, **options: Any) -> None:
        self.network = options.pop("transport", None) or MemoryTransport()
        self.endpoint = net.Endpoint("server:80", transport=self.network, **options)
        self.lines: Lines = []
        self.job = job.Job[None](name="server", grace=10)
        self.job.register_logger(
            {level: lambda event, fields: self.lines.append((event, dict(fields))) for level in range(3)}, level=2
        )
        self.task = self.job.add_task(net.serve(self.endpoint, build_job, lame_duck=lame_duck))

    async def dial(self) -> MemoryStream:
        """Be a client."""
        stream: MemoryStream = await self.network.dial("server:80")
        return stream

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what was logged of one kind."""
        return [fields for event, fields in self.lines if event == name]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Accepted, rejected, inbound."""
        statistics = self.endpoint.statistics()
        return statistics.accepted, statistics.rejected, statistics.inbound


@asynccontextmanager
async def serving(*args: Any, **options: Any) -> AsyncIterator[Served]:
    """Run a server in memory for the length of the block."""
    served = Served(*args, **options)
    async with trio.open_nursery() as nursery:
        await served.job.run_in_background(nursery)
        yield served
        served.job.finish(0)


async def roundtrip(client: Any, data: bytes = b"x") -> None:
    """Have something sent back."""
    await client.send_all(data)
    assert await client.receive_some() == data


@pytest.mark.parametrize(("arguments", "error"), [((None,), TypeError), ((echo, -1), ValueError)])
def test_arguments(arguments: Any, error: type[Exception]) -> None:
    """Wrong arguments are refused at the call."""
    build_job, *lame_duck = arguments
    with pytest.raises(
        error, match="build_job must be callable" if error is TypeError else "lame_duck must be 0 or more"
    ):
        net.serve(net.Endpoint(":80"), build_job, lame_duck=lame_duck[0] if lame_duck else 0)


def test_async_build_job() -> None:
    """A job is made by a plain function: what an async one gives would fail for each client anew."""

    async def connection(stream: net.Stream) -> job.Job[Any]:
        return job.Job[Any]()

    with pytest.raises(TypeError, match="build_job must be a plain function, as it is never awaited, got"):
        net.serve(net.Endpoint(":80"), connection)  # type: ignore[arg-type]


def test_no_endpoint() -> None:
    """An address is no endpoint."""
    with pytest.raises(TypeError, match="endpoint must be an Endpoint, got ':80'"):
        net.serve(":80", echo)  # type: ignore[arg-type]


# -- a job for each client


async def test_serves(autojump_clock: MockClock) -> None:
    """Each client has its own job, a child of the server's; its stream is closed when that has ended."""
    jobs: list[job.Job[Any]] = []

    def build(stream: net.Stream) -> job.Job[net.Stream]:
        jobs.append(echo(stream))
        return jobs[-1]

    async with serving(build) as served:
        assert served.task.name == "serve"
        clients = [await served.dial() for _ in range(3)]
        for client in clients:
            await roundtrip(client)
        assert served.counts == (3, 0, 3)
        assert [j.parent for j in jobs] == [served.job] * 3
        await clients[0].send_eof()
        assert await clients[0].receive_some() == b""
        await jobs[0].wait()
        await wait_all_tasks_blocked()
        assert served.counts == (3, 0, 2)
        assert jobs[0].value.closed


async def test_serves_sockets() -> None:
    """On sockets, at once, in a flood."""
    endpoint = net.Endpoint("127.0.0.1:0")
    server = job.Job[None]()
    server.add_task(net.serve(endpoint, echo))
    async with server:
        address = endpoint.addresses[0]
        upstream = net.Endpoint(address)

        async def be_client(number: int) -> None:
            async with await upstream.dial() as client:
                await roundtrip(client, b"%d" % number)

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(be_client, number)
    with pytest.raises(ConnectionRefusedError):
        await upstream.dial()
    statistics = endpoint.statistics()
    assert (statistics.accepted, statistics.rejected, statistics.inbound) == (200, 0, 0)
    assert statistics.bytes_received == statistics.bytes_sent == upstream.statistics().bytes_sent
    assert upstream.statistics().outbound == 0


async def test_queue_at_the_stop() -> None:
    """Who was in the kernel's queue when the server was asked to stop is served, and not reset."""
    endpoint = net.Endpoint("127.0.0.1:0")
    server = job.Job[None](grace=10)
    server.add_task(net.serve(endpoint, echo))
    async with trio.open_nursery() as nursery:
        await server.run_in_background(nursery)
        host, _, port = endpoint.addresses[0].rpartition(":")
        socks = [socket.create_connection((host, int(port)), timeout=5) for _ in range(300)]  # all of them in one turn
        server.finish()
        for sock in socks:
            client = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            await roundtrip(client)
            await client.aclose()
    assert endpoint.statistics().accepted == 300


async def test_bind_error() -> None:
    """A bad address fails the job in the init, before anything is up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = job.Job[None]()
        server.add_task(net.serve(net.Endpoint(f"127.0.0.1:{taken.getsockname()[1]}"), echo))
        with pytest.raises(OSError, match="in use"):
            await server.run()
        assert server.errors[0].phase is job.Phase.INIT


@pytest.mark.parametrize(
    ("error", "quiet"), [(ConnectionResetError("gone"), True), (net.ProtocolError("no"), True), (KeyError("us"), False)]
)
async def test_job_fails(error: Exception, quiet: bool, autojump_clock: MockClock) -> None:
    """A job that fails harms its own client alone, who sees a cut; a peer's fault is a quiet line, ours has a traceback."""

    def build(stream: net.Stream) -> job.Job[net.Stream]:
        async def fail(task: job.Task) -> None:
            raise error

        j = job.Job(stream, name="failing")
        j.add_task(fail)
        return j

    async with serving(build) as served:
        client = await served.dial()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await wait_all_tasks_blocked()
        [ended] = served.events("job.ended")
        assert ended["error"] == repr(error)
        assert ("exc_info" in ended) == (not quiet)
        assert served.job.state is job.JobState.RECURRENT_RUNNING


async def nothing() -> None:
    """Be no job."""


def wrong(stream: net.Stream) -> Any:
    """Return what is no job, and is yet to be awaited."""
    return nothing()


def broken(stream: net.Stream) -> job.Job[Any]:
    """Fail."""
    raise ConnectionError("ours, though it looks like a peer's")


def used(stream: net.Stream) -> job.Job[Any]:
    """Return a job that has been run."""
    j = echo(stream)
    mark_started(j)
    return j


@pytest.mark.parametrize("build_job", [wrong, broken, used, lambda stream: None])
async def test_build_job_fails(build_job: Any, autojump_clock: MockClock) -> None:
    """An error of build_job is logged with its traceback and closes that client only."""
    async with serving(build_job) as served:
        for _ in range(2):
            client = await served.dial()
            assert await client.receive_some() == b""
        await wait_all_tasks_blocked()
        errors = served.events("build_job.failed")
        assert len(errors) == 2
        assert isinstance(errors[0]["exc_info"], Exception)
        assert errors[0]["error"] == repr(errors[0]["exc_info"])
        assert errors[0]["client"] == "client:1"
        assert served.counts == (2, 0, 0)
    assert served.endpoint._slots.taken == 0


async def test_interrupt(autojump_clock: MockClock) -> None:
    """A KeyboardInterrupt in a connection's job goes through the server unchanged."""

    def build(stream: net.Stream) -> job.Job[net.Stream]:
        async def fail(task: job.Task) -> None:
            raise KeyboardInterrupt

        j = job.Job(stream)
        j.add_task(fail)
        return j

    served = Served(build)

    async def be_interrupted() -> None:
        with pytest.raises(KeyboardInterrupt):
            await served.job.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_interrupted)
        await wait_all_tasks_blocked()
        await served.dial()


# -- the limit


async def test_wait(autojump_clock: MockClock) -> None:
    """A client beyond the limit stays in the queue, and is served when another has gone."""
    async with serving(limit=2) as served:
        clients = [await served.dial() for _ in range(3)]
        await wait_all_tasks_blocked()
        assert served.counts == (2, 0, 2)
        await clients[0].aclose()
        await roundtrip(clients[2])
        assert served.counts == (3, 0, 2)


async def test_wait_on_a_socket() -> None:
    """On a socket the queue is the kernel's."""
    endpoint = net.Endpoint("127.0.0.1:0", limit=1)
    server = job.Job[None]()
    server.add_task(net.serve(endpoint, echo))
    async with server:
        first, second = [await net.Endpoint(endpoint.addresses[0]).dial() for _ in range(2)]
        await roundtrip(first)
        assert endpoint.statistics().accepted == 1
        await first.aclose()
        await roundtrip(second)
        await second.aclose()
    assert endpoint._slots.taken == 0


async def test_reject(autojump_clock: MockClock) -> None:
    """A client beyond the limit is accepted and closed."""
    async with serving(limit=1, on_limit="reject") as served:
        first = await served.dial()
        await roundtrip(first)
        assert await (await served.dial()).receive_some() == b""
        assert served.counts == (2, 1, 1)
        await first.aclose()
        await wait_all_tasks_blocked()
        await roundtrip(await served.dial())


async def test_reject_on_a_socket() -> None:
    """On a socket, too; the client sees EOF."""
    endpoint = net.Endpoint("127.0.0.1:0", limit=1, on_limit="reject")
    server = job.Job[None]()
    server.add_task(net.serve(endpoint, echo))
    async with server:
        upstream = net.Endpoint(endpoint.addresses[0])
        async with await upstream.dial() as first:
            await roundtrip(first)
            async with await upstream.dial() as second:
                assert await second.receive_some() == b""


async def test_queue(autojump_clock: MockClock) -> None:
    """A client beyond the limit is accepted and held until there is a place, or for too long."""
    async with serving(limit=1, on_limit="queue", queue_timeout=5) as served:
        first, second, third = [await served.dial() for _ in range(3)]
        start = trio.current_time()
        await wait_all_tasks_blocked()
        assert served.counts == (3, 0, 1)
        await trio.sleep(2)
        await first.aclose()
        served_one = {}

        async def find_out(client: MemoryStream) -> None:
            await client.send_all(b"x")
            served_one[client] = await client.receive_some() == b"x", trio.current_time() - start

        async with trio.open_nursery() as nursery:
            nursery.start_soon(find_out, second)
            nursery.start_soon(find_out, third)
        assert sorted(served_one.values()) == [(False, 5), (True, 2)]
        assert served.counts == (3, 1, 1)


async def test_queue_without_limit(autojump_clock: MockClock) -> None:
    """Without a limit no client is held, however many there are: each is served while all the others stay."""
    async with serving(on_limit="queue", queue_timeout=1) as served:
        clients = [await served.dial() for _ in range(50)]
        for client in clients:
            await roundtrip(client)
        assert trio.current_time() == 0
        assert served.counts == (50, 0, 50)
        assert served.endpoint.statistics().limit is None


async def test_slot_until_closed(autojump_clock: MockClock) -> None:
    """A place is taken until the job has ended, though its stream was closed before."""

    def build(stream: net.Stream) -> job.Job[net.Stream]:
        async def linger(task: job.Task) -> None:
            await stream.aclose()
            await trio.sleep(5)
            task.done()

        j = job.Job(stream)
        j.add_task(linger)
        return j

    async with serving(build, limit=1) as served:
        for _ in range(2):
            assert await (await served.dial()).receive_some() == b""
        assert trio.current_time() == 5


# -- stopping


async def test_finish_drains(autojump_clock: MockClock) -> None:
    """When the server is asked to stop it closes the listener, and is done when the last connection has ended."""
    served = Served()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.job.run)
        await wait_all_tasks_blocked()
        client = await served.dial()
        await wait_all_tasks_blocked()
        served.job.finish(10)
        await wait_all_tasks_blocked()
        assert served.endpoint.addresses == ()
        with pytest.raises(ConnectionRefusedError):
            await served.dial()
        await trio.sleep(3)
        await roundtrip(client)
    assert trio.current_time() == 3
    assert served.job.state is job.JobState.DONE


async def test_grace_cuts(autojump_clock: MockClock) -> None:
    """What has not ended within the grace is cut."""
    served = Served()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.job.run)
        await wait_all_tasks_blocked()
        client = await served.dial()
        await wait_all_tasks_blocked()
        served.job.finish()
    assert trio.current_time() == 10
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()
    assert served.endpoint._slots.taken == 0


async def test_lame_duck(autojump_clock: MockClock) -> None:
    """For a while the server that stops still accepts; that counts in the grace."""
    served = Served(lame_duck=4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.job.run)
        await wait_all_tasks_blocked()
        served.job.finish(10)
        await trio.sleep(3)
        client = await served.dial()
        await roundtrip(client)
        await trio.sleep(2)
        with pytest.raises(ConnectionRefusedError):
            await served.dial()
    assert trio.current_time() == 5
    assert served.job.state is job.JobState.DONE


async def test_cancel(autojump_clock: MockClock) -> None:
    """A cancel of the server cuts everything, and who was served sees it; those who wait for a place are turned away."""
    served = Served(limit=1, on_limit="queue", queue_timeout=100)
    async with trio.open_nursery() as nursery:
        await served.job.run_in_background(nursery)
        clients = [await served.dial() for _ in range(2)]
        await wait_all_tasks_blocked()
        served.job.cancel()
    assert trio.current_time() == 0
    with pytest.raises(trio.BrokenResourceError):
        await clients[0].receive_some()
    assert await clients[1].receive_some() == b""
    assert served.endpoint._slots.taken == 0
    assert served.counts == (2, 1, 0)


# -- the listener


class FaultyListener(trio.abc.Listener[Any]):
    """Raises what it is told to, in turn, and then accepts from another listener."""

    def __init__(self, listener: trio.abc.Listener[Any], errors: list[BaseException]) -> None:
        self.listener = listener
        self.errors = errors
        self.calls: list[float] = []

    async def accept(self) -> Any:
        """Accept, or not."""
        self.calls.append(trio.current_time())
        if self.errors:
            await trio.lowlevel.checkpoint()
            raise self.errors.pop(0)
        return await self.listener.accept()

    async def aclose(self) -> None:
        """Close."""
        await self.listener.aclose()


class FaultyTransport:
    """A transport with such a listener."""

    def __init__(self, *errors: BaseException) -> None:
        self.network = MemoryTransport()
        self.errors = list(errors)
        self.listener: FaultyListener

    async def dial(self, address: str) -> Any:
        """Connect."""
        return await self.network.dial(address)

    async def listen(self, address: str) -> Any:
        """Listen."""
        [listener] = await self.network.listen(address)
        self.listener = FaultyListener(listener, self.errors)
        return [self.listener]


async def test_shortage(autojump_clock: MockClock) -> None:
    """A shortage of descriptors is one line a second at most, without spinning, and then all goes on."""
    transport = FaultyTransport(*(OSError(errno.EMFILE, "Too many open files") for _ in range(25)))
    async with serving(transport=transport, limit=1) as served:
        await roundtrip(await served.dial())
        lines = served.events("accept.failed")
        assert len(lines) == 3
        assert sum(line["times"] for line in lines) > 20
        assert "Too many open files" in lines[0]["error"]
        assert 2.4 < trio.current_time() < 2.6


async def test_aborted(autojump_clock: MockClock) -> None:
    """A client that is gone before it was accepted is passed over."""
    transport = FaultyTransport(*(OSError(errno.ECONNABORTED, "gone") for _ in range(5)))
    async with serving(transport=transport, limit=1) as served:
        await roundtrip(await served.dial())
        assert served.events("accept.failed") == []
        assert served.counts == (1, 0, 1)


async def test_aborted_before_accept_task(autojump_clock: MockClock) -> None:
    """So it is for a task that accepts one client; any other error fails it."""
    for error, state in ((errno.ECONNABORTED, job.JobState.RECURRENT_RUNNING), (errno.EMFILE, job.JobState.CANCELLED)):
        transport = FaultyTransport(OSError(error, "no"))
        endpoint = net.Endpoint("server:80", transport=transport)
        j = job.Job[net.Stream](keep_open=True, quiet=(OSError,))
        j.add_oneshot_task(endpoint.accept_task)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(j.run_in_background, nursery)
            await wait_all_tasks_blocked()
            if state is job.JobState.RECURRENT_RUNNING:
                await transport.dial("server:80")
                await wait_all_tasks_blocked()
            assert j.state is state
            j.finish()


async def test_listener_breaks(autojump_clock: MockClock) -> None:
    """Any other error of the listener fails the server, itself, and ends its connections."""
    served = Served(transport=FaultyTransport())
    async with trio.open_nursery() as nursery:

        async def fail() -> None:
            with pytest.raises(OSError, match="broken") as caught:
                await served.job.run()
            assert caught.value.errno == errno.EBADF

        nursery.start_soon(fail)
        await wait_all_tasks_blocked()
        client = await served.dial()
        await wait_all_tasks_blocked()
        served.network.errors.append(OSError(errno.EBADF, "broken"))
        another = await served.dial()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await another.aclose()


SERVER = """
import resource, sys, job
from job import net
from tests.net.test_serve import echo

endpoint = net.Endpoint("127.0.0.1:0", close_timeout=0.1)

def tell(j):
    return job.Routines(lambda task: print(endpoint.addresses[0], flush=True))

server = job.Job()
server.add_task(net.serve(endpoint, echo))
server.add_task(tell)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
sys.exit(job.run(server))
"""


async def test_descriptors_run_out() -> None:
    """With no descriptor left clients see a quick end, and the server recovers at once; it says so a line a second."""
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                [sys.executable, "-c", SERVER],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                capture_stdout=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        address = (await process.stdout.receive_some()).decode().strip()
        upstream = net.Endpoint(address, close_timeout=0.1)
        clients = [await upstream.dial() for _ in range(60)]
        served = 0
        for client in clients:
            with suppress(trio.BrokenResourceError), trio.fail_after(5):
                await client.send_all(b"x")
                served += await client.receive_some() == b"x"
        assert 20 < served < 40
        for client in clients:
            await client.aclose()
        async with await upstream.dial() as client:
            await roundtrip(client)
        process.terminate()
        log = b""
        async for chunk in process.stderr:
            log += chunk
    assert process.returncode == 0
    assert 1 <= log.count(b"accept.failed") <= 3


@contextmanager
def no_descriptors(spare: int) -> Iterator[None]:
    """Let the process have no other descriptor than it has now; `spare` is the last one."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(spare))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_turned_away() -> None:
    """A client that comes when there is no descriptor left is accepted and rejected; those that are there stay."""
    endpoint = net.Endpoint("127.0.0.1:0")
    lines: Lines = []
    server = job.Job[None]()
    server.register_logger({0: lambda event, fields: lines.append((event, dict(fields)))})
    server.add_task(net.serve(endpoint, echo))
    async with server:
        [door] = endpoint._binding._listeners
        assert isinstance(door, SocketListener)
        assert door._spare is not None
        host, port = endpoint.addresses[0].split(":")
        clients = [socket.create_connection((host, int(port))) for _ in range(3)]
        with no_descriptors(door._spare):
            for client in clients:
                client.setblocking(False)
                await trio.lowlevel.wait_readable(client)
                assert client.recv(1) == b""
        for client in clients:
            client.close()
        async with await net.Endpoint(endpoint.addresses[0]).dial() as another:
            await roundtrip(another)
    assert len(lines) == 1
    statistics = endpoint.statistics()
    assert (statistics.accepted, statistics.rejected) == (4, 3)


async def test_spare_descriptor() -> None:
    """A door has a spare descriptor for that; without one it cannot help, and with nobody there it need not."""
    async with net.Endpoint("127.0.0.1:0")._binding.listening() as (door,):
        assert isinstance(door, SocketListener)
        with pytest.raises(trio.WouldBlock):
            door.reject_one()
        spare = door._spare
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            assert not door.reject_one()  # as if another had taken the descriptor
            assert not door.reject_one()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert door._spare is None
        with pytest.raises(trio.WouldBlock):
            door.reject_one()
        assert door._spare == spare
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        door.reject_one()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_slots_are_given_back_in_order() -> None:
    """A place goes to the first who waits; nobody overtakes."""

    async def main() -> list[int]:
        slots, order = Slots(1), list[int]()
        await slots.take()

        async def wait(number: int) -> None:
            await slots.take()
            order.append(number)
            slots.give_back()

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(wait, number)
                await wait_all_tasks_blocked()
            slots.give_back()
            assert not slots.take_nowait()
        assert slots.taken == 0
        return order

    assert trio.run(main) == [0, 1, 2]


async def test_shortage_with_nobody_at_the_door() -> None:
    """The kernel says that descriptors run out before it looks for a client: with none there, nobody is turned away."""
    endpoint = net.Endpoint("127.0.0.1:0")
    j = job.Job[None]()
    task = j.add_task(net.serve(endpoint, job.Job))
    async with endpoint._binding.listening() as (door,):
        server = _Server(endpoint, job.Job, task)
        assert not await server._reject_one(door, OSError(errno.EMFILE, "Too many open files"))
    assert endpoint.statistics().rejected == 0


class UnspeakableError(Exception):
    """An error that cannot be written."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Order(BaseException):
    """What is no Exception, and goes through everything."""


async def test_error_without_words(autojump_clock: MockClock) -> None:
    """A `build_job` whose error cannot even be written closes that client only."""

    def build(stream: net.Stream) -> job.Job[Any]:
        raise UnspeakableError

    async with serving(build, limit=1) as served:
        for _ in range(2):
            client = await served.dial()
            assert await client.receive_some() == b""
        first, _ = served.events("build_job.failed")
        assert "UnspeakableError" in first["error"]


async def test_no_job_without_words(autojump_clock: MockClock) -> None:
    """So does one that returns what is no job, and cannot be written either."""
    async with serving(lambda stream: UnspeakableError(), limit=1) as served:
        client = await served.dial()
        assert await client.receive_some() == b""
        [failed] = served.events("build_job.failed")
        assert "build_job must return a Job or a Reject" in failed["error"]


async def test_order_of_build_job(autojump_clock: MockClock) -> None:
    """What is no Exception ends the server, and the stream of that client is closed all the same."""
    streams: list[net.Stream] = []

    def build(stream: net.Stream) -> job.Job[Any]:
        streams.append(stream)
        raise Order

    network = MemoryTransport()
    j = job.Job[None](name="server")
    j.add_task(net.serve(net.Endpoint("server:80", transport=network), build))
    with pytest.raises(Order):
        async with j:
            await network.dial("server:80")
            await trio.sleep(1)
    assert streams[0].closed
