"""An endpoint dials, listens for one client, keeps connections for reuse and counts all of it."""

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

import job
from job import net
from job.net import frames
from job.net._addresses import TcpAddress
from job.net._endpoints.listeners import _open_tcp
from job.net._streams.stream import connection_of
from job.testing import MemoryStream, MemoryTransport
from tests.net.pairs import connected


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 0}, ValueError, "limit must be 1 or more, got 0"),
        ({"limit": -1}, ValueError, "limit must be 1 or more, got -1"),
        ({"limit": 1.5}, TypeError, "limit must be an int"),
        ({"on_limit": "drop"}, ValueError, "on_limit must be 'wait', 'queue' or 'reject', got 'drop'"),
        ({"queue_timeout": -1}, ValueError, "queue_timeout must be 0 or more seconds"),
        ({"connect_timeout": 0}, ValueError, "connect_timeout must be more than 0 seconds"),
        ({"close_timeout": "1"}, TypeError, "close_timeout must be a number of seconds"),
        ({"read_size": 0}, ValueError, "read_size must be 1 or more, got 0"),
        ({"max_idle": -1}, ValueError, "max_idle must be 0 or more, got -1"),
        ({"max_idle": False}, TypeError, "max_idle must be an int, got False"),
        ({"max_idle_age": 0}, ValueError, "max_idle_age must be more than 0 seconds, got 0"),
        ({"ssl_context": True}, TypeError, "ssl_context must be an ssl.SSLContext or None"),
        ({"server_hostname": ""}, ValueError, "server_hostname must not be empty"),
        ({"codec": bytes}, TypeError, "codec must have the methods encode and decode"),
        ({"transport": object()}, TypeError, "transport must have the methods dial and listen"),
    ],
)
def test_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A wrong option is refused at the call, by name and value."""
    with pytest.raises(error, match=message):
        net.Endpoint("127.0.0.1:80", **options)


def test_address() -> None:
    """A wrong address is refused; a transport may have names of its own, but not none."""
    with pytest.raises(ValueError, match="address must be"):
        net.Endpoint("nowhere")
    assert net.Endpoint("nowhere", transport=MemoryTransport()).address == "nowhere"
    with pytest.raises(ValueError, match="address must not be empty"):
        net.Endpoint("", transport=MemoryTransport())


def test_repr() -> None:
    """It shows the address and the live counts."""
    assert repr(net.Endpoint(":80")) == "<Endpoint :80, 0 inbound, 0 outbound>"


# -- dialing


@pytest.fixture(params=["127.0.0.1", "localhost", ""])
def listening(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the address of something that listens, as a number, a name and nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"{request.param}:{server.getsockname()[1]}"


async def test_dial(listening: str) -> None:
    """It connects to a number, to a name, and without a host to this machine."""
    endpoint = net.Endpoint(listening)
    stream = await endpoint.dial()
    assert endpoint.statistics().dialed == endpoint.statistics().outbound == 1
    await stream.aclose()
    assert endpoint.statistics().outbound == 0


def unused_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_refused(host: str) -> None:
    """A dial that is refused raises just that."""
    endpoint = net.Endpoint(f"{host}:{unused_port()}")
    with pytest.raises(ConnectionRefusedError), assert_checkpoints():
        await endpoint.dial()
    assert endpoint.statistics().dial_failures == 1
    assert endpoint.statistics().dialed == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_causes_of_a_refusal(host: str) -> None:
    """Who follows the causes of a refusal, into the groups of attempts too, comes to an end."""
    with pytest.raises(ConnectionRefusedError) as caught:
        await net.Endpoint(f"{host}:{unused_port()}").dial()
    met: list[BaseException] = []
    todo: list[BaseException | None] = [caught.value]
    while todo:
        error = todo.pop()
        if error is not None:
            assert error not in met
            met.append(error)
            todo += [error.__cause__, *(error.exceptions if isinstance(error, BaseExceptionGroup) else ())]


async def test_no_answer() -> None:
    """A dial that nobody answers, neither yes nor no, ends with its timeout."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as others:
        for _ in range(4):  # the kernel's queue is full then, and it drops what comes
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        endpoint = net.Endpoint(f"127.0.0.1:{server.getsockname()[1]}", connect_timeout=0.05)
        with pytest.raises(net.ConnectTimeoutError, match=r"0\.05 s"):
            await endpoint.dial()


async def test_unknown_host() -> None:
    """A name that nobody knows is an OSError."""
    with pytest.raises(socket.gaierror):
        await net.Endpoint("nobody.invalid:80").dial()


@pytest.mark.parametrize("host", ["a..b", "a" * 64])
async def test_no_name_of_a_host(host: str) -> None:
    """What can be no name, and may come from a client, is a dial that failed, not a ValueError."""
    with pytest.raises(OSError, match=r"no name of a host: .*:80"):
        await net.Endpoint(f"{host}:80").dial()


async def test_dial_another_address() -> None:
    """Another address may be dialed with the same options."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        async with await net.Endpoint("127.0.0.1:1", read_size=3).dial(address) as stream:
            assert stream.peer == address


async def test_no_descriptor_left_behind() -> None:
    """A dial that is cancelled or refused leaves no socket open: a ResourceWarning would be an error here."""
    endpoint = net.Endpoint(f"127.0.0.1:{unused_port()}")
    with trio.CancelScope() as scope:
        scope.cancel()
        await endpoint.dial()
    assert endpoint.statistics().dial_failures == 0


class Silent:
    """A transport that never answers."""

    async def dial(self, address: str) -> Any:
        """Wait for ever."""
        await trio.sleep_forever()

    async def listen(self, address: str) -> Any:
        """Nobody comes here."""
        raise AssertionError(address)


async def test_connect_timeout(autojump_clock: MockClock) -> None:
    """A dial that takes too long is a ConnectTimeoutError that tells the address and the time."""
    endpoint = net.Endpoint("far:80", transport=Silent(), connect_timeout=4)
    start = trio.current_time()
    with pytest.raises(net.ConnectTimeoutError, match="far:80: no connection within 4 s"):
        await endpoint.dial()
    assert trio.current_time() - start == 4
    assert endpoint.statistics().dial_failures == 1


async def test_transport_gives_a_socket() -> None:
    """A transport may hand in sockets of trio's, connected and listening."""

    class Sockets:
        async def dial(self, address: str) -> Any:
            return await trio.open_tcp_stream("127.0.0.1", int(address))

        async def listen(self, address: str) -> Any:
            return await trio.open_tcp_listeners(0, host="127.0.0.1")

    server = net.Endpoint("any", transport=Sockets())
    async with server._binding.listening() as doors:
        port = server.addresses[0].rpartition(":")[2]
        near = await net.Endpoint(port, transport=Sockets(), close_timeout=0.05).dial()
        [door] = doors
        await door.wait()
        wire = await door.accept()
        assert wire is not None
        async with await server._handshake(wire) as far:
            await near.send_all(b"x")
            assert await far.receive_some() == b"x"
            assert connection_of(near).plain is not None
            assert connection_of(far).plain is not None
            assert far.local == near.peer == f"127.0.0.1:{port}"
            await near.aclose()


async def test_connect_task() -> None:
    """The task leaves the stream in the job's value; its finalizer closes it, the last of all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = net.Endpoint(f"127.0.0.1:{server.getsockname()[1]}")
        j = job.Job[net.Stream]()
        assert j.add_oneshot_task(endpoint.connect_task).name == "connect"
        seen: list[bool] = []

        def last(j: job.Job[net.Stream]) -> job.Routines:
            return job.Routines(None, None, lambda task: seen.append(j.value.closed))

        j.add_task(last)
        await j.run()
        assert seen == [False]
        assert j.value.closed


async def test_connect_task_fails() -> None:
    """A dial that fails fails the job, with its own error."""
    j = job.Job[net.Stream]()
    j.add_oneshot_task(net.Endpoint(f"127.0.0.1:{unused_port()}").connect_task)
    with pytest.raises(ConnectionRefusedError):
        await j.run()


# -- accepting one client


async def test_accept_task(autojump_clock: MockClock) -> None:
    """It listens from its init on, accepts one client, and closes it at the end."""
    network = MemoryTransport()
    endpoint = net.Endpoint("server:0", transport=network)
    j = job.Job[net.Stream](keep_open=True)
    assert j.add_oneshot_task(endpoint.accept_task).name == "accept"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await wait_all_tasks_blocked()
        assert endpoint.addresses == ("server:49152",)
        client = await network.dial("server:49152")
        await wait_all_tasks_blocked()
        assert j.value.inbound
        assert j.value.peer == client.local
        statistics = endpoint.statistics()
        assert (statistics.accepted, statistics.inbound, statistics.outbound) == (1, 1, 0)
        j.finish()
    assert await client.receive_some() == b""
    assert endpoint.addresses == ()
    assert endpoint.statistics().inbound == 0


async def test_accept_within_the_limit(autojump_clock: MockClock) -> None:
    """Several jobs share the listener; each accepts one client, and no more of them than the limit at once."""
    network = MemoryTransport()
    endpoint = net.Endpoint("server:80", transport=network, limit=1)
    jobs = [job.Job[net.Stream](keep_open=True) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for j in jobs:
            j.add_oneshot_task(endpoint.accept_task)
            nursery.start_soon(j.run)
        await wait_all_tasks_blocked()
        for _ in jobs:
            await network.dial("server:80")
        await wait_all_tasks_blocked()
        [first] = [j for j in jobs if j.state is job.JobState.RECURRENT_RUNNING]
        first.finish()
        await first.wait()
        await wait_all_tasks_blocked()
        [second] = [j for j in jobs if j.state is job.JobState.RECURRENT_RUNNING]
        second.finish()


async def test_accept_one_each() -> None:
    """On a socket one client wakes all that wait for one, and one of them gets it."""
    endpoint = net.Endpoint("127.0.0.1:0", close_timeout=0.05)
    jobs = [job.Job[net.Stream](keep_open=True) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for j in jobs:
            j.add_oneshot_task(endpoint.accept_task)
            nursery.start_soon(j.run)
        await wait_all_tasks_blocked()
        for count in (1, 2):
            client = socket.create_connection(("127.0.0.1", int(endpoint.addresses[0].split(":")[1])))
            while endpoint.statistics().inbound < count:
                await trio.lowlevel.checkpoint()
            await wait_all_tasks_blocked()
            assert sum(j.value is not None for j in jobs) == count
            client.close()
        for j in jobs:
            j.finish()


async def test_accept_cancelled(autojump_clock: MockClock) -> None:
    """An accept that is cancelled gives its place back."""
    endpoint = net.Endpoint("server:80", transport=MemoryTransport(), limit=1)
    j = job.Job[net.Stream](timeout=1)
    j.add_oneshot_task(endpoint.accept_task)
    with pytest.raises(job.JobTimeoutError):
        await j.run()
    assert endpoint._slots.taken == 0


async def test_bind_error() -> None:
    """An address that is taken fails the job in its init."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = net.Endpoint(f"127.0.0.1:{server.getsockname()[1]}")
        j = job.Job[net.Stream]()
        task = j.add_oneshot_task(endpoint.accept_task)
        with pytest.raises(OSError, match="in use"):
            await j.run()
        assert j.errors[0] == job.TaskError(task, job.Phase.INIT, j.errors[0].error)


async def test_all_interfaces() -> None:
    """Without a host it listens on all interfaces, at the same port on each."""
    endpoint = net.Endpoint(":0")
    async with endpoint._binding.listening():
        ports = {address.rpartition(":")[2] for address in endpoint.addresses}
        assert len(ports) == 1
        assert "0" not in ports
        async with await net.Endpoint(f"127.0.0.1:{ports.pop()}").dial():
            pass


async def test_missing_interface() -> None:
    """An interface that this machine does not have is passed over, unless it is the only one."""
    here, nowhere = (socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("192.0.2.1", 0))
    [door] = _open_tcp(TcpAddress(None, 0), [nowhere, here])
    await door.aclose()
    with pytest.raises(OSError, match=r"192\.0\.2\.1") as caught:
        _open_tcp(TcpAddress(None, 0), [nowhere])
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_no_common_port() -> None:
    """Where no port is free on all interfaces it gives up in the end, with nothing left open."""
    twice = [(socket.AF_INET, ("127.0.0.1", 0))] * 2
    with pytest.raises(OSError, match="in use"):
        _open_tcp(TcpAddress(None, 0), twice)


async def test_accept_at_either_door() -> None:
    """One client is let in through whichever door it comes."""

    class Doors:
        async def dial(self, address: str) -> Any:
            raise AssertionError(address)

        async def listen(self, address: str) -> Any:
            return [
                *await trio.open_tcp_listeners(0, host="127.0.0.1"),
                *await trio.open_tcp_listeners(0, host="127.0.0.1"),
            ]

    endpoint = net.Endpoint("any", transport=Doors())
    j = job.Job[net.Stream](keep_open=True)
    j.add_oneshot_task(endpoint.accept_task)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        await wait_all_tasks_blocked()
        async with await net.Endpoint(endpoint.addresses[1]).dial():
            while j.value is None:
                await trio.lowlevel.checkpoint()
            assert j.value.local == endpoint.addresses[1]
            j.finish()


# -- reuse


async def released(**options: Any) -> tuple[net.Endpoint, net.Stream, MemoryStream, MemoryTransport]:
    """Return an endpoint with a stream to it that may be reused, its other end, and their network."""
    network = MemoryTransport()
    [listener] = await network.listen("server:80")
    endpoint = net.Endpoint("server:80", transport=network, **{"codec": frames.Codec(), "max_idle": 1, **options})
    return endpoint, await endpoint.dial(), await listener.accept(), network


async def test_release(autojump_clock: MockClock) -> None:
    """A released stream is closed, and its connection is what the next dial gives."""
    endpoint, stream, far, _ = await released()
    await stream.send(b"x")
    with assert_checkpoints():
        await stream.release()
    assert stream.closed
    statistics = endpoint.statistics()
    assert (statistics.idle, statistics.outbound, statistics.dialed) == (1, 0, 1)
    again = await endpoint.dial()
    statistics = endpoint.statistics()
    assert (statistics.idle, statistics.outbound, statistics.dialed) == (0, 1, 1)
    await again.send(b"y")
    assert await far.receive_some() == b"\0\0\0\1x\0\0\0\1y"
    assert again.bytes_sent == 5


async def test_reused_on_a_socket() -> None:
    """On a socket, too."""
    async with connected(codec=frames.Codec(), max_idle=1) as (near, far):
        await near.release()
        again = await near.endpoint.dial()
        assert again.local == far.peer
        await again.aclose()


async def test_kept_for_its_address(autojump_clock: MockClock) -> None:
    """A connection is kept for the address that it was dialed to."""
    endpoint, stream, _, network = await released()
    await network.listen("other:80")
    await stream.release()
    await endpoint.dial("other:80")
    assert endpoint.statistics().idle == 1


@pytest.mark.parametrize("sign", ["send_all", "aclose"])
async def test_looks_before_reuse(sign: str, autojump_clock: MockClock) -> None:
    """A kept connection on which anything arrived, EOF included, is closed instead."""
    endpoint, stream, far, _ = await released()
    await stream.release()
    await (far.send_all(b"x") if sign == "send_all" else far.aclose())
    await endpoint.dial()
    assert endpoint.statistics().dialed == 2
    assert endpoint.statistics().idle == 0


async def test_too_old_for_reuse(autojump_clock: MockClock) -> None:
    """One that was kept for too long is not used again, nor counted, and is closed at the next dial."""
    endpoint, stream, far, _ = await released(max_idle_age=60)
    await stream.release()
    await trio.sleep(59)
    assert endpoint.statistics().idle == 1
    await trio.sleep(1)
    assert endpoint.statistics().idle == 0
    await endpoint.dial()
    assert endpoint.statistics().dialed == 2
    assert await far.receive_some() == b""


async def test_the_old_make_room(autojump_clock: MockClock) -> None:
    """A release closes what is too old, whatever its address, and has its place."""
    endpoint, stream, far, network = await released(max_idle_age=60)
    await network.listen("other:80")
    other = await endpoint.dial("other:80")
    await stream.release()
    await trio.sleep(60)
    await other.release()
    assert endpoint.statistics().idle == 1
    assert await far.receive_some() == b""


def test_what_is_kept_after_the_run() -> None:
    """Outside of trio there is no time, and nothing is too old."""
    endpoint = net.Endpoint("127.0.0.1:80", transport=MemoryTransport(), codec=frames.Codec(), max_idle=1)

    async def main() -> None:
        await endpoint._options.transport.listen("127.0.0.1:80")  # type: ignore[union-attr]
        await (await endpoint.dial()).release()

    trio.run(main, clock=MockClock())
    assert endpoint.statistics().idle == 1


async def test_cancelled_look(autojump_clock: MockClock) -> None:
    """A dial that is cancelled while it looks closes what it looked at."""
    async with connected(MemoryTransport(), codec=frames.Codec(), max_idle=1) as (near, far):
        await near.release()
        with trio.CancelScope() as scope:
            scope.cancel()
            await near.endpoint.dial()
        assert near.endpoint.statistics().idle == 0
        assert await far.receive_some() == b""


async def put_back(stream: net.Stream) -> None:
    """Leave a byte unread."""
    stream.unread(b"x")


async def make_raw(stream: net.Stream) -> None:
    """Take the codec away."""
    stream.codec = None


async def cut_a_message(stream: net.Stream) -> None:
    """Leave a message half sent."""
    with trio.move_on_after(1):
        await stream.send(bytes(100_000))


async def cut_bytes(stream: net.Stream) -> None:
    """Leave bytes half sent."""
    with trio.move_on_after(1):
        await stream.send_all(bytes(100_000))


async def send_raw(stream: net.Stream) -> None:
    """Send half a frame as bytes."""
    await stream.send_all(b"\0\0\0\2x")


async def lend(stream: net.Stream) -> None:
    """Have a relay move bytes."""
    stream._link.lend(lambda: None)
    stream._link.take_back()


@pytest.mark.parametrize(
    "spoil", [put_back, make_raw, cut_a_message, cut_bytes, send_raw, lend, net.Stream.send_eof, net.Stream.aclose]
)
async def test_not_reusable(spoil: Any, autojump_clock: MockClock) -> None:
    """A stream that is raw, closed, or not between two messages both ways is closed instead."""
    endpoint, stream, _, _ = await released()
    await spoil(stream)
    await stream.release()
    assert stream.closed
    assert endpoint.statistics().idle == 0


@pytest.mark.parametrize("take", ["receive_some", "receive_exactly", "receive_until"])
async def test_not_reusable_after_raw_bytes(take: str, autojump_clock: MockClock) -> None:
    """Nor one of which bytes were taken past the codec, unless the program says that now there is a boundary."""
    endpoint, stream, far, _ = await released(max_idle=2)
    for there in (False, True):
        await far.send_all(b"ok\r\n")
        options: dict[str, Any] = {"limit": 4} if take == "receive_until" else {}
        await getattr(stream, take)({"receive_until": b"\r\n"}.get(take, 4), **options)
        if there:
            stream.codec = frames.Codec()
        assert connection_of(stream)._is_reusable() == there
    await stream.release()
    assert endpoint.statistics().idle == 1


async def test_not_reusable_after_eof(autojump_clock: MockClock) -> None:
    """Neither is one whose peer has ended."""
    endpoint, stream, far, _ = await released()
    await far.send_eof()
    await stream.receive_some()
    await stream.release()
    assert endpoint.statistics().idle == 0


async def test_inbound_is_not_reused(autojump_clock: MockClock) -> None:
    """A stream that was accepted is closed."""
    async with connected(MemoryTransport(), codec=frames.Codec(), max_idle=1) as (near, far):
        await far.release()
        assert await near.receive_some() == b""


async def test_max_idle(autojump_clock: MockClock) -> None:
    """No more than `max_idle` are kept."""
    endpoint, stream, _, _ = await released()
    another = await endpoint.dial()
    await stream.release()
    await another.release()
    assert endpoint.statistics().idle == 1


def test_tls_needs_a_hostname() -> None:
    """A context that checks names is not bent to an address without one."""
    context = ssl.create_default_context()
    assert net.Endpoint("unix:/x", ssl_context=context, server_hostname="a.org").address == "unix:/x"
