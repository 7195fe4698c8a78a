"""`make queue-demo`: a redis-server, two workers, one killed in the middle; a table that lives, and nothing is lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio
from rich.live import Live
from rich.table import Table

from job import queue

from .resize_queue import LEASE, STREAM, Order, put_all
from .tcpbalancer.drawing import draw_pictures

TIMES = 3


def main() -> int:
    """Run the demo; return 0 where every picture was made."""
    if shutil.which("redis-server") is None:
        sys.stderr.write("queue-demo: redis-server is missing (Debian's package redis-server)\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(partial(demo, Path(folder)))


async def demo(folder: Path) -> int:
    """Put the work, let two workers do it, kill one, and count."""
    url = f"unix://{folder}/redis.sock"
    pictures, output = folder / "pictures", folder / "output"
    for each in (pictures, output):
        each.mkdir()
    draw_pictures(pictures)
    orders = [
        Order(str(picture), str(output / f"{time}-{picture.name}"), 320, 320)
        for time in range(TIMES)
        for picture in sorted(pictures.iterdir())
    ]
    source = queue.RedisStream(url, STREAM, type=Order, lease=LEASE)
    with server(folder), workers(url) as (first, _):
        await until_up(source)
        await put_all(source, orders)
        await watch(source, first, len(orders))
    made = len(list(output.glob("[!.]*")))  # the one that was killed has left a part of one
    print(f"{made} of {len(orders)} pictures were made; one of two workers was killed in the middle")
    return int(made != len(orders))


async def watch(source: queue.Source[Order], victim: subprocess.Popen[bytes], total: int) -> None:
    """Show the queue until it is empty; kill one worker when a third is done."""
    async with source:
        with Live(auto_refresh=False) as live:
            while True:
                statistics = await source.statistics()
                left = statistics.depth + statistics.pending + statistics.delayed
                live.update(table(statistics, total - left, victim), refresh=True)
                if left == 0:
                    return
                if left < total * 2 / 3:
                    victim.kill()
                await trio.sleep(0.1)


def table(statistics: queue.QueueStatistics, done: int, victim: subprocess.Popen[bytes]) -> Table:
    """Return one picture of the queue."""
    found = Table("done", "ready", "pending", "delayed", "dead", "first worker")
    state = "runs" if victim.poll() is None else "killed"
    numbers = (done, statistics.depth, statistics.pending, statistics.delayed, statistics.dead)
    found.add_row(*map(str, numbers), state)
    return found


async def until_up(source: queue.Source[Order]) -> None:
    """Wait until the server answers."""
    async with source:
        for _ in range(100):
            try:
                await source.statistics()
            except queue.UnavailableError:
                await trio.sleep(0.05)
            else:
                return


@contextmanager
def server(folder: Path) -> Iterator[None]:
    """Run a redis-server of the demo's own."""
    command = [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        f"{folder}/redis.sock",
        "--dir",
        str(folder),
        "--save",
        "",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def workers(url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run two workers; those that still run at the end are told to stop."""
    command = [sys.executable, "-m", "examples.resize_queue", "--redis", url]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
