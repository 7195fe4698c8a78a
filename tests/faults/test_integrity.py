"""Scenario 1: many connections, random bytes both ways at once, in pieces of any size: every byte arrives, once, in order."""

import random
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

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
    "foreign": lambda client: net.relay_task(Wrapped(client)),
}
"""Each way in which bytes may go through a relay."""

CASES = [
    pytest.param("tcp", "relay", 200, SIZE, id="tcp"),
    pytest.param("unix", "relay", 60, SIZE, id="unix"),
    pytest.param("tcp", "foreign", 20, SIZE, id="foreign"),
    pytest.param("tls", "relay", 20, SIZE // 4, id="tls"),
]


@pytest.mark.parametrize(("name", "path", "connections", "size"), CASES)
async def test_integrity(name: str, path: str, connections: int, size: int, tmp_path: Path) -> None:
    """What arrives at one end is what the other end of the same connection sent, and the counters say the same."""
    network = NETWORKS[name](tmp_path)

    async def answer(stream: Any) -> None:
        number = int.from_bytes(await read_exactly(stream, 4), "big")
        await exchange(stream, outgoing=down(number, size), incoming=up(number, size))

    async def ask(address: str, number: int) -> None:
        async with await network.connect(address) as stream:
            await stream.send_all(number.to_bytes(4, "big"))
            await exchange(stream, outgoing=up(number, size), incoming=down(number, size))

    async with network.upstream(answer) as address:
        upstream = behind(network, address)
        async with proxying(network, upstream, relay=DATA_PATHS[path]) as proxy, trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(ask, proxy.address, number)
    assert {(fields["bytes_up"], fields["bytes_down"]) for fields in proxy.ended} == {(size + 4, size)}
    assert proxy.count("reason") == {"eof": connections}
    for endpoint, received in ((proxy.front, size + 4), (upstream, size)):
        statistics = endpoint.statistics()
        assert statistics.bytes_received == connections * received
        assert statistics.bytes_received + statistics.bytes_sent == connections * (2 * size + 4)


async def exchange(stream: Any, *, outgoing: memoryview, incoming: memoryview) -> None:
    """Send and receive at once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_in_pieces, stream, outgoing)
        received = await read_exactly(stream, len(incoming))
    assert sha256(received).digest() == sha256(incoming).digest()


async def send_in_pieces(stream: Any, data: memoryview) -> None:
    """Send pieces of 1 to 4096 bytes."""
    send_some = stream.send_all if isinstance(stream, trio.SSLStream) else partial(send_quickly, stream.socket)
    rng = random.Random(len(data))
    sent = 0
    while sent < len(data):
        piece = data[sent : sent + rng.randrange(1, 4097)]
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
