"""Servers for the tests of net, and what they may leave behind."""

import os

import job
from job import net


def descriptors() -> int:
    """Count the open descriptors of the process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def echo(stream: net.Stream) -> job.Job[net.Stream]:
    """Return a job that sends back what it receives, until EOF."""
    j = job.Job(stream, name="echo")

    async def answer(task: job.Task) -> None:
        data = await stream.receive_some()
        if not data:
            return task.done()
        await stream.send_all(data)
        return task.tick()

    j.add_task(answer)
    return j
