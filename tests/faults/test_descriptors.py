"""Scenario 6: four times as many clients as there are descriptors. The proxy stays alive and calm, and recovers at once."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.faults.networks import GONE, Network
from tests.faults.proxies import echo, roundtrip

CLIENTS = 500
CALM = 0.3


async def test_no_descriptors_left(tmp_path: Path) -> None:
    """Some are served, the others are sent away; when they go, the next one is served."""
    network, log = Network(tmp_path), tmp_path / "log"
    async with network.upstream(echo) as address, starved_proxy(address, log) as proxy:
        front = (await proxy.stdout.receive_some()).decode().strip()
        clients = [client for _ in range(CLIENTS) if (client := await come_in(network, front)) is not None]
        served = [client for client in clients if await is_served(client)]
        assert 30 < len(served) < 64
        before = processor_time(proxy.pid)
        await trio.sleep(CALM)
        assert processor_time(proxy.pid) - before < CALM / 2
        for client in served:
            await roundtrip(client)
        for client in clients:
            await client.aclose()
        with trio.fail_after(5):
            while not await one_more_is_served(network, front):  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.01)
        proxy.terminate()
    assert proxy.returncode == 0
    assert 1 <= log.read_text().count("accept.failed") < 20
    assert "Traceback" not in log.read_text()


@asynccontextmanager
async def starved_proxy(upstream: str, log: Path) -> AsyncIterator[Any]:
    """Run the program, with its log in a file: a pipe that nobody reads would stop it."""
    command = [sys.executable, "-m", "tests.faults.starved_proxy", upstream]
    with log.open("wb") as stderr:
        run = partial(trio.run_process, command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=stderr)
        async with trio.open_nursery() as nursery:
            process = await nursery.start(partial(run, capture_stdout=False))
            yield process
            await process.stdout.aclose()


async def come_in(network: Network, front: str) -> Any:
    """Connect; None where the reset that sends a client away is quicker than its own look at what became of its connect."""
    try:
        return await network.connect(front)
    except OSError:
        return None


async def one_more_is_served(network: Network, front: str) -> bool:
    """Come when the others have gone; they may not all have been noticed to go."""
    client = await come_in(network, front)
    if client is None:
        return False
    async with client:
        return await is_served(client)


async def is_served(client: Any) -> bool:
    """Ask for an answer; closed without one counts as sent away."""
    with trio.fail_after(10):
        try:
            await client.send_all(b"x")
            return bool(await client.receive_some() == b"x")
        except GONE:
            return False


def processor_time(pid: int) -> float:
    """Return the seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
