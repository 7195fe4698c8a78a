"""A worker process of the chaos test: it writes down each message that it has done."""

import os
import sys
from pathlib import Path
from typing import Any

import trio

import job
from job import Task, queue

LEASE = 5
LIMIT = 8


def source(url: str) -> queue.RedisStream[bytes]:
    """Return the queue of the chaos."""
    return queue.RedisStream(url, "chaos", lease=LEASE)


def main(url: str, path: str) -> int:
    """Work until told to stop."""
    book = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def build(message: queue.Message[bytes]) -> job.Job[Any]:
        async def work(task: Task) -> None:
            await trio.sleep(0.001)
            os.write(book, message.payload + b"\n")
            task.done()

        j: job.Job[Any] = job.Job()
        j.add_task(work)
        return j

    def tell_ready(task: Task) -> None:  # signals are held by now
        Path(f"{path}.ready").touch()
        task.done()

    worker: job.Job[Any] = job.Job(name="worker", grace=3)
    worker.add_task(queue.consume(source(url), build, limit=LIMIT, prefetch=LIMIT))
    worker.add_task(lambda _: (None, tell_ready, None), name="ready")
    job.register_default_logger({0: lambda event, fields: sys.stderr.write(f"{event} {fields}\n")}, level=0)
    return job.run(worker)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
