"""Scenario 1: many connections, random bytes both ways at once, in pieces of any size: every byte arrives, once, in order."""

import random
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from job import net
from tests.faults.networks import NETWORKS
from tests.faults.proxies import Relay, behind, proxying, read_exactly

BLOCK = random.Random(1).randbytes(4 * 1024 * 1024)
SIZE = 1024 * 1024


class Wrapped(trio.abc.HalfCloseableStream):
    """A program's own stream around one of ours."""

    def __init__(self, stream: net.Stream) -> None:
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive."""
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        await self._stream.send_all(data)

    async def send_eof(self) -> None:
        """Half-close."""
        await self._stream.send_eof()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()


DATA_PATHS: dict[str, Relay] = {
    "relay": net.relay_task,
    "tasks": net.relay_task,  # as where the system has no epoll
    "foreign": lambda client: net.relay_task(Wrapped(client)),
}
"""Each way in which bytes may go through a relay."""

SMALL, LARGE = 4096, 512 * 1024  # the largest piece; what flows in large ones goes past our own memory


class Case(NamedTuple):
    """How much goes over which network, by which way."""

    network: str
    connections: int
    size: int = SIZE
    largest: int = SMALL
    path: str = "relay"


CASES = {
    "tcp": Case("tcp", 200),
    "unix": Case("unix", 60),
    "tcp-large": Case("tcp", 40, largest=LARGE),
    "unix-large": Case("unix", 40, largest=LARGE),
    "tasks": Case("tcp", 20, path="tasks"),
    "foreign": Case("tcp", 20, path="foreign"),
    "tls": Case("tls", 20, SIZE // 4),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_integrity(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives at one end is what the other end of the same connection sent, and the counters say the same."""
    monkeypatch.setattr("job.net._relays.session.AVAILABLE", case.path != "tasks")
    network, size, connections = NETWORKS[case.network](tmp_path), case.size, case.connections

    async def answer(stream: Any) -> None:
        number = int.from_bytes(await read_exactly(stream, 4), "big")
        await exchange(stream, case.largest, outgoing=down(number, size), incoming=up(number, size))

    async def ask(address: str, number: int) -> None:
        async with await network.connect(address) as stream:
            await stream.send_all(number.to_bytes(4, "big"))
            await exchange(stream, case.largest, outgoing=up(number, size), incoming=down(number, size))

    async with network.upstream(answer) as address:
        upstream = behind(network, address)
        async with proxying(network, upstream, relay=DATA_PATHS[case.path]) as proxy, trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(ask, proxy.address, number)
    assert {(fields["bytes_up"], fields["bytes_down"]) for fields in proxy.ended} == {(size + 4, size)}
    assert proxy.count("reason") == {"eof": connections}
    for endpoint, received in ((proxy.front, size + 4), (upstream, size)):
        statistics = endpoint.statistics()
        assert statistics.bytes_received == connections * received
        assert statistics.bytes_received + statistics.bytes_sent == connections * (2 * size + 4)


async def exchange(stream: Any, largest: int, *, outgoing: memoryview, incoming: memoryview) -> None:
    """Send and receive at once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_in_pieces, stream, outgoing, largest)
        received = await read_exactly(stream, len(incoming))
    assert sha256(received).digest() == sha256(incoming).digest()


async def send_in_pieces(stream: Any, data: memoryview, largest: int) -> None:
    """Send pieces of any size up to the largest."""
    send_some = stream.send_all if isinstance(stream, trio.SSLStream) else partial(send_quickly, stream.socket)
    rng = random.Random(len(data))
    sent = 0
    while sent < len(data):
        piece = data[sent : sent + rng.randint(1, largest)]
        await send_some(piece)
        sent += len(piece)


async def send_quickly(sock: Any, piece: memoryview) -> None:
    """Send by way of the socket below, which takes a tenth of the time: hundreds of thousands of pieces are sent here."""
    plain = sock._sock
    while piece:
        try:
            piece = piece[plain.send(piece) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(plain)


def up(number: int, size: int) -> memoryview:
    """Return what client `number` says; each says something else."""
    return memoryview(BLOCK)[number * 4099 :][:size]


def down(number: int, size: int) -> memoryview:
    """Return what it is told."""
    return memoryview(BLOCK)[2 * SIZE + number * 4099 :][:size]
