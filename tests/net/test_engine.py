"""The relay engine: who is served, in what turns, and what is left of it."""

import errno
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from job import net
from job.net import EndReason, RelayResult, Side, relay
from job.net._addresses import written
from job.net._relays.engine import Engine, engine
from job.net._relays.engine_pump import Driven, EnginePump
from job.net._relays.leg import Leg
from job.net._relays.pump import Pump
from job.net._streams.stream import connection_of
from tests.net.servers import descriptors

MIB = 1 << 20


class Pair:
    """A mover of bytes at one end of a pair of sockets; it counts its turns and, where told to, raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.near, self.far = socket.socketpair()
        self.error = error
        self.failed: BaseException | None = None
        self.turns = 0

    def readable(self, now: float) -> None:
        """Take a byte."""
        self._turn()
        self.near.recv(1)

    def writable(self, now: float) -> None:
        """Send a byte."""
        self._turn()
        self.near.send(b"x")

    def _turn(self) -> None:
        self.turns += 1
        if self.error is not None:
            raise self.error

    def fail(self, error: BaseException) -> None:
        """Wait for nothing any more."""
        self.failed = error
        engine().read(self.near.fileno(), None)
        engine().write(self.near.fileno(), None)

    def close(self) -> None:
        """Close both ends."""
        self.near.close()
        self.far.close()


@pytest.mark.parametrize("wait", ["read", "write"])
async def test_error_of_one(wait: str) -> None:
    """What one mover raises is told to that one, and the others go on."""
    faulty, sound = Pair(ValueError("faulty")), Pair()
    with engine() as running:
        for pair in (faulty, sound):
            getattr(running, wait)(pair.near.fileno(), pair)
            pair.far.send(b"x")
        await wait_until(lambda: sound.turns > 0)
        assert faulty.failed is faulty.error
        assert faulty.turns == 1
        sound.fail(ValueError())
    faulty.close()
    sound.close()


async def test_others_have_their_turn() -> None:
    """A mover that always has something to do leaves turns to the other tasks of the run."""
    greedy = Pair()
    greedy.far.send(bytes(100_000))
    with engine() as running:
        running.read(greedy.near.fileno(), greedy)
        await wait_until(lambda: greedy.turns > 10)
        assert greedy.turns < 100_000
        greedy.fail(ValueError())
    greedy.close()


async def test_unwatched_hang_up() -> None:
    """A descriptor that nobody waits for is not in the set: its hang-up wakes nobody."""
    pair = Pair()
    with engine() as running:
        running.read(pair.near.fileno(), pair)
        running.read(pair.near.fileno(), None)
        pair.far.close()
        await wait_all_tasks_blocked()
        assert pair.turns == 0
    pair.close()


async def test_outlived_by_its_user() -> None:
    """A user that is still there when the trio run ends is left alone."""
    pair = Pair()
    entered: list[Engine] = []

    async def main() -> None:
        async def stay() -> None:
            with engine() as running:
                entered.append(running)
                running.read(pair.near.fileno(), pair)
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        while not running.closed:
                            await trio.lowlevel.checkpoint()
                    running.read(pair.near.fileno(), None)

        trio.lowlevel.spawn_system_task(stay)
        await wait_all_tasks_blocked()

    await trio.to_thread.run_sync(trio.run, main)
    assert entered[0].closed
    pair.close()


async def wait_until(reached: Any) -> None:
    """Wait for a condition."""
    with trio.fail_after(5):
        while not reached():
            await trio.lowlevel.checkpoint()


# -- relays


@asynccontextmanager
async def dialed(path: Path | None = None) -> AsyncIterator[tuple[net.Stream, socket.socket]]:
    """Give a stream of ours, and a socket at its other end that does not block; over TCP, or unix where a path is given."""
    with socket.create_server(("127.0.0.1", 0)) if path is None else socket.socket(socket.AF_UNIX) as listener:
        if path is not None:
            listener.bind(str(path))
            listener.listen()
        near = await net.Endpoint(written(listener.family, listener.getsockname())).dial()
        far = listener.accept()[0]
    far.setblocking(False)
    try:
        yield near, far
    finally:
        far.close()
        await near.aclose()


async def send(sock: socket.socket, data: bytes) -> None:
    """Send all bytes, and EOF."""
    rest = memoryview(data)
    while rest:
        await trio.lowlevel.wait_writable(sock)
        rest = rest[sock.send(rest) :]
    sock.shutdown(socket.SHUT_WR)


async def receive(sock: socket.socket) -> bytes:
    """Receive until EOF."""
    received = bytearray()
    while True:
        await trio.lowlevel.wait_readable(sock)
        data = sock.recv(MIB)
        if not data:
            return bytes(received)
        received += data


async def exchange(
    client: net.Stream,
    client_far: socket.socket,
    upstream: net.Stream,
    upstream_far: socket.socket,
    data: bytes = b"hi",
) -> None:
    """Send up through a relay, and see that it arrives."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay, client, upstream)
        nursery.start_soon(send, client_far, data)
        assert await receive(upstream_far) == data
        upstream_far.shutdown(socket.SHUT_WR)


async def test_closed_behind_a_slow_reader() -> None:
    """A sender that closes while its bytes find no room has hung up, but not ended: every byte arrives."""
    data = random.Random(3).randbytes(24 * MIB)
    async with dialed() as (client, client_far), dialed() as (upstream, upstream_far), trio.open_nursery() as nursery:
        nursery.start_soon(relay, client, upstream)
        nursery.start_soon(send, upstream_far, data)
        client_far.shutdown(socket.SHUT_WR)
        await trio.sleep(0.1)  # for the kernel, whose buffers fill up
        assert await receive(client_far) == data


async def test_sink_breaks_with_a_rest_in_hand() -> None:
    """A sink that breaks while it has no room ended the relay."""
    results: list[RelayResult] = []

    async def go() -> None:
        results.append(await relay(client, upstream))

    async with dialed() as (client, client_far), dialed() as (upstream, upstream_far), trio.open_nursery() as nursery:
        nursery.start_soon(go)
        with trio.move_on_after(0.1):
            await send(client_far, bytes(64 * MIB))
        upstream_far.close()  # with unread input: the kernel resets
        await wait_until(lambda: results or upstream.bytes_received)
    assert (results[0].reason, results[0].closed_by) == (EndReason.RESET, Side.UPSTREAM)


class Unable:
    """Pipes that the kernel does not splice through."""

    held = 0

    def borrow(self) -> Any:
        """Lend one."""
        return self

    def give_back(self, pipe: Any) -> None:
        """Take it back."""

    def fill(self, fd: int) -> int:
        """Fail."""
        raise OSError(errno.EINVAL, "no splice")

    def close(self) -> None:
        """Do nothing."""


async def test_no_splice() -> None:
    """Where the kernel does not splice, all bytes are copied."""
    data = random.Random(6).randbytes(8 * MIB)
    async with dialed() as (client, client_far), dialed() as (upstream, upstream_far):
        with engine() as running:
            running.pipes.close()
            running.pipes = Unable()  # type: ignore[assignment]
            await exchange(client, client_far, upstream, upstream_far, data)


@pytest.mark.parametrize("ending", ["cut", "source resets", "sink resets"])
async def test_ends_in_full_flow(ending: str) -> None:
    """A relay that ends while its pipe is full leaves no pipe behind, nor its two sockets."""
    data = random.Random(7).randbytes(64 * MIB)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        with suppress(OSError):
            while True:
                await trio.lowlevel.wait_writable(client_far)
                sent += client_far.send(memoryview(data)[sent : sent + MIB])

    async with dialed() as (client, client_far), dialed() as (upstream, upstream_far):
        before = descriptors()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, client, upstream)
            with trio.move_on_after(0.2):
                await flood()
            if ending == "cut":
                nursery.cancel_scope.cancel()
            else:
                far, other = (client_far, upstream_far) if ending == "source resets" else (upstream_far, client_far)
                reset(far)

                def ended() -> bool:
                    with suppress(OSError):
                        other.recv(MIB)
                    return client.closed and upstream.closed

                await wait_until(ended)
        assert descriptors() == before - (2 if ending == "cut" else 3)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def read(sock: socket.socket, size: int) -> bytes:
    """Receive so many bytes."""
    received = bytearray()
    while len(received) < size:
        await trio.lowlevel.wait_readable(sock)
        received += sock.recv(size - len(received))
    return bytes(received)


async def test_stream_is_lent() -> None:
    """Nobody else may receive from a stream while it is relayed, nor relay it, also not with itself."""
    async with dialed() as (client, client_far), dialed() as (upstream, upstream_far):
        with pytest.raises(trio.BusyResourceError):
            await relay(client, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay, client, upstream)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await client.receive_some()
            with pytest.raises(trio.BusyResourceError):
                await relay(upstream, client)
            upstream_far.send(b"x")
            assert await read(client_far, 1) == b"x"
            nursery.cancel_scope.cancel()


async def test_first_relay_keeps_its_sink() -> None:
    """A relay that is refused a stream takes nothing from the one that has it: what that holds still goes out."""
    data = random.Random(9).randbytes(16 * MIB)
    async with (
        dialed() as (client, client_far),
        dialed() as (upstream, upstream_far),
        dialed() as (other, _),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(relay, client, upstream)
        nursery.start_soon(send, client_far, data)
        await wait_until(lambda: engine()._writers)
        with pytest.raises(trio.BusyResourceError):
            await relay(other, upstream)
        assert await receive(upstream_far) == data
        upstream_far.shutdown(socket.SHUT_WR)


async def test_closed_before() -> None:
    """A stream that is closed already is a fault of ours."""
    async with dialed() as (client, _), dialed() as (upstream, _):
        await upstream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await relay(client, upstream)


class Log:
    """The course of a relay that only notes what its pump tells."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def moved(self, now: float) -> None:
        """Note it."""
        self.told.append("moved")

    def changed(self) -> None:
        """Note it."""
        self.told.append("changed")

    def ended(self, pump: Pump) -> bool:
        """Note it."""
        self.told.append("ended")
        return True

    def failed(self, pump: Pump, error: BaseException) -> None:
        """Note it."""
        self.told.append(type(error))


async def test_closed_underneath() -> None:
    """A socket that was closed below its stream is a fault of ours, too, of which the other peer is told by a cut."""
    async with dialed() as (client, _), dialed() as (upstream, upstream_far):
        assert connection_of(client).plain is not None
        connection_of(client).plain.close()
        with pytest.raises(ValueError, match="negative"):
            await relay(client, upstream)
        with pytest.raises(ConnectionResetError):
            upstream_far.recv(1)


async def test_closed_underneath_while_relayed() -> None:
    """Where that happens while it is relayed, the relay can be ended; the engine goes on."""
    async with dialed() as (client, _), dialed() as (upstream, _), trio.open_nursery() as nursery:
        nursery.start_soon(relay, client, upstream)
        await wait_all_tasks_blocked()
        assert connection_of(client).plain is not None
        connection_of(client).plain.close()
        nursery.cancel_scope.cancel()
    async with dialed() as (client, client_far), dialed() as (upstream, upstream_far):
        await exchange(client, client_far, upstream, upstream_far)


@pytest.mark.parametrize("flowing", [False, True])
@pytest.mark.parametrize("happening", ["nothing", "bytes", "reset"])
async def test_look_again(happening: str, flowing: bool) -> None:
    """A pump that is asked to looks at once: what has come counts, though the engine was not told of it yet."""
    course = Log()
    async with dialed() as (client, client_far), dialed() as (upstream, _):
        pump = EnginePump(Leg(Side.CLIENT, client), Leg(Side.UPSTREAM, upstream), course)
        with Driven(pump):
            pump._pipe = engine().pipes.borrow() if flowing else None
            if happening == "bytes":
                client_far.send(b"late")
            if happening == "reset":
                reset(client_far)
            pump.look_again()
            told = {"nothing": [], "bytes": ["moved"], "reset": [trio.BrokenResourceError, "changed"]}
            assert course.told == told[happening]


async def test_unix_sockets(tmp_path: Path) -> None:
    """Unix sockets are as good, also where they are spliced."""
    data = random.Random(8).randbytes(8 * MIB)
    async with dialed(tmp_path / "client") as near, dialed(tmp_path / "upstream") as far:
        await exchange(*near, *far, data)


async def test_rest_that_goes_out_bit_by_bit() -> None:
    """A sink that takes a little at a time gets all of it, in order."""
    data = random.Random(5).randbytes(MIB)
    async with dialed() as (client, client_far), dialed() as (upstream, upstream_far):
        assert connection_of(upstream).plain is not None
        connection_of(upstream).plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await exchange(client, client_far, upstream, upstream_far, data)


async def test_nothing_is_left() -> None:
    """When the last relay has ended, its descriptors and tasks are gone, and the next one finds a new engine."""
    before = descriptors(), trio.lowlevel.current_statistics().tasks_living
    for _ in range(3):
        async with dialed() as (client, _), dialed() as (upstream, _):
            with trio.move_on_after(0.01):
                await relay(client, upstream)
        await wait_all_tasks_blocked()
        assert (descriptors(), trio.lowlevel.current_statistics().tasks_living) == before


def test_runs_in_threads() -> None:
    """Each trio run has an engine of its own, and leaves nothing."""

    async def main() -> None:
        async with dialed() as (client, client_far), dialed() as (upstream, upstream_far):
            await exchange(client, client_far, upstream, upstream_far)
        done.append(None)

    done: list[None] = []
    trio.run(main)
    before = descriptors()
    threads = [threading.Thread(target=trio.run, args=(main,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trio.run(main)
    assert len(done) == 6
    assert descriptors() == before
