"""Pictures resized through a queue: the same jobs in one process, or on as many machines as you like.

    python -m examples.resize_queue PICTURE... --output DIR                  # one process, a queue in memory
    python -m examples.resize_queue --redis URL                              # a worker: start as many as you like
    python -m examples.resize_queue PICTURE... --output DIR --redis URL      # put the work into the queue, and leave

`make queue-demo` shows it with a redis-server and two workers, one of which is killed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trio

import job
from job import queue
from job.testing import MemoryQueue

from .tcpbalancer import images

STREAM = "images"
LEASE = 3.0


@dataclass
class Order:
    """What is put: a picture, and what to make of it. Workers on other machines need the paths, too."""

    source: str
    target: str
    width: int
    height: int


Orders: TypeAlias = queue.Source[Order]


def resize(message: queue.Message[Order]) -> job.Job:
    """Return the job of one picture. It may be run again, so it must bear that: the last one to write wins, whole."""

    async def work(task: job.Task) -> None:
        await trio.to_thread.run_sync(make, message.payload, abandon_on_cancel=True)
        task.done()

    j = job.Job(name=f"resize {Path(message.payload.source).name}", timeout=60)
    j.add_task(work)
    return j


def make(order: Order) -> None:
    """Resize one picture. Called in a thread."""
    try:
        small = images.resize(Path(order.source).read_bytes(), order.width, order.height)
    except (images.BadImageError, FileNotFoundError) as error:  # no other attempt can mend it
        raise queue.Reject(f"{order.source}: {error}") from error
    target = Path(order.target)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.write_bytes(small)
    part.replace(target)


def worker(source: Orders, *, limit: int = 4) -> job.Job:
    """Return the job of a worker: it takes pictures from the queue until it is told to stop."""
    j = job.Job(name="worker", grace=30)
    j.add_task(queue.consume(source, resize, limit=limit))
    return j


async def put_all(source: Orders, orders: Sequence[Order]) -> None:
    """Put the work into the queue."""
    async with source:
        for order in orders:
            await source.put(order)


def in_one_process(orders: Sequence[Order]) -> job.Job:
    """Return the job that does all of it by itself: a worker, and a task that waits until nothing is left."""
    source = MemoryQueue(type=Order)
    j = worker(source)

    async def feed(task: job.Task) -> None:
        await put_all(source, orders)
        given_up = await until_done(source)
        task.assert_true(given_up == 0, f"{given_up} pictures were given up")
        task.finish_job()

    j.add_task(feed)
    return j


async def until_done(source: Orders) -> int:
    """Wait until no message is left; say which have died, and return how many."""
    async with source:
        while True:
            if await left(source) == 0:
                break
            await trio.sleep(0.1)
        letters = await source.dead_letters()
    for letter in letters:
        print(f"given up: {letter.error}", flush=True)
    return len(letters)


async def left(source: Orders) -> int:
    """Return how many messages are neither done nor dead."""
    statistics = await source.statistics()
    return statistics.depth + statistics.pending + statistics.delayed


def orders_of(options: argparse.Namespace) -> list[Order]:
    """Return the orders of the command line."""
    options.output.mkdir(parents=True, exist_ok=True)
    return [
        Order(str(picture.resolve()), str((options.output / picture.name).resolve()), options.width, options.height)
        for picture in options.pictures
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the three, and return its exit code."""
    parser = argparse.ArgumentParser(description="Resize pictures through a queue.")
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=320)
    parser.add_argument("--redis", metavar="URL", help="redis://HOST[:PORT][/DB]")
    options = parser.parse_args(arguments)
    if options.redis is None:
        return job.run(in_one_process(orders_of(options)))
    source = queue.RedisStream(options.redis, STREAM, type=Order, lease=LEASE)
    if not options.pictures:
        return job.run(worker(source))
    trio.run(partial(put_all, source, orders_of(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
