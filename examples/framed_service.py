"""A service with typed messages: gets a `Sample` in a frame, sends a `Summary` back.

Try `python -m examples.framed_service` and `python -m examples.framed_client 3 1 4 1 5`. A client that sends anything else
is disconnecteded. SIGTERM ends the service when every answer that was begun is out.
"""

import argparse
import statistics
import sys
from contextlib import suppress

import trio

import job
from job import net

from .framed_messages import SAMPLES, Summary


async def answer(task: job.Task) -> None:
    """Answer one request."""
    client: net.Stream = task.job.value
    sample = None
    with task.cancel_on_stop(), suppress(trio.EndOfChannel):  # a stop may abandon the wait, but not an answer
        async with client.received() as sample:
            pass
    if sample is None:
        return task.done()
    await client.send(Summary(statistics.fmean(sample.numbers), statistics.median(sample.numbers)))
    return task.tick()


def connection(client: net.Stream) -> job.Job[net.Stream]:
    """Build the job of one client; one that asks for nothing for a minute is disconnecteded."""
    j = job.Job(client, name=f"summaries {client.peer}", quiet=[job.IdleTimeoutError])
    j.add_task(answer, idle_timeout=60)
    return j


def listener(address: str) -> net.Endpoint:
    """Return where to listen, for up to a hundred clients at a time."""
    return net.Endpoint(address, limit=100, codec=SAMPLES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="framed_service", description="Summarise numbers.")
    parser.add_argument("--listen", type=listener, default="127.0.0.1:7001", metavar="ADDRESS")
    inbound = parser.parse_args().listen
    server: job.Job[None] = job.Job(name="framed service", grace=5)
    server.add_task(net.serve(inbound, connection))
    sys.exit(job.run(server))
