"""Scenario 10: clients that promise much and send little. They are cut at the deadline; nothing is allocated for a promise."""

import ssl
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import trio

import job
from job import net
from job.net import frames
from tests.faults.networks import GONE, NETWORKS, Network
from tests.faults.proxies import read_all, serving

DEADLINE = 0.2
TRICKLE = 0.03
GIB = 1024**3


async def test_slow_header(network: Network) -> None:
    """A header that comes byte by byte is cut at its deadline."""
    async with serving(network, read_header) as server, await network.connect(server.address) as client:
        await trickle(client, b"PROXY TCP4 192.0.2.1 192.0.2.2 " + b"1" * 1000)
    [record] = server.ended
    assert (record["reason"], record["bytes_up"] < 30) == ("protocol_error", True)


async def test_endless_header(network: Network) -> None:
    """A header that comes fast and never ends is cut at its limit."""
    async with serving(network, read_header) as server, await network.connect(server.address) as client:
        await client.send_all(b"P" * 5000)
        assert await ended(client)
    assert server.count("reason") == {"protocol_error": 1}


def read_header(stream: net.Stream) -> job.Job[Any]:
    """Read a line within the deadline, as of the PROXY protocol."""

    async def run(task: job.Task) -> None:
        with trio.move_on_after(DEADLINE):
            j.value = await stream.receive_until(b"\r\n", limit=107)
            return task.done()
        raise net.ProtocolError(f"no header within {DEADLINE} s")

    j = job.Job[Any](name="conn")
    j.add_oneshot_task(run)
    return j


async def test_slow_client_hello(tmp_path: Path) -> None:
    """A ClientHello that comes byte by byte is cut at `connect_timeout`, without a job; others are served meanwhile."""
    network = NETWORKS["tls"](tmp_path)
    async with (
        serving(network, read_header, connect_timeout=DEADLINE) as server,
        await network.reach(server.address) as slow,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(trickle, slow, client_hello())
        async with await network.connect(server.address) as quick:
            await quick.send_all(b"PROXY\r\n")
            assert await read_all(quick) == b""
    [failed] = [fields for _, event, fields in server.lines if event == "handshake.failed"]
    assert failed["reason"] == "timeout_connect"
    assert server.count("reason") == {"eof": 1}


def client_hello() -> bytes:
    """Return what a client says first."""
    said = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


@pytest.mark.parametrize(("max_frame", "reason"), [(frames.MAX_FRAME, "protocol_error"), (2 * GIB, "timeout_idle")])
async def test_large_claim(network: Network, max_frame: int, reason: str, traced: None) -> None:
    """A frame that claims 1 GiB is refused at once, or, where so much is allowed, waited for until the deadline."""
    options = {"codec": frames.Codec(max_frame=max_frame)}
    async with serving(network, read_frame, **options) as server, await network.connect(server.address) as client:
        tracemalloc.reset_peak()
        await client.send_all(GIB.to_bytes(4, "big") + b"some")
        assert await ended(client)
        _, peak = tracemalloc.get_traced_memory()
    assert server.count("reason") == {reason: 1}
    assert peak < GIB // 1000


def read_frame(stream: net.Stream) -> job.Job[Any]:
    """Read one frame."""

    async def run(task: job.Task) -> None:
        async with stream.received():
            task.done()

    j = job.Job[Any](name="conn", quiet=[job.IdleTimeoutError])
    j.add_task(run, idle_timeout=DEADLINE)
    return j


async def trickle(client: Any, data: bytes) -> None:
    """Send byte by byte until the other side has had enough."""
    with pytest.raises(GONE):
        for byte in data:
            await client.send_all(bytes([byte]))
            await trio.sleep(TRICKLE)


async def ended(client: Any) -> bool:
    """Wait for the end of a connection, by EOF or reset."""
    try:
        return await read_all(client) == b""
    except GONE:
        return True
