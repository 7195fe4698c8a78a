"""The client of `examples.framed_service`: asks once, prints the answer, and has five seconds for that.

Try `python -m examples.framed_client --to 127.0.0.1:7001 3 1 4 1 5`.
"""

import argparse
import sys
from functools import partial

import trio

import job
from job import net

from .framed_messages import SUMMARIES, Sample


async def ask(sample: Sample, task: job.Task) -> None:
    """Send the request and wait for the reply."""
    server: net.Stream = task.job.value
    await server.send(sample)
    async with server.received() as summary:
        print(f"mean {summary.mean:g}, median {summary.median:g}")
    task.done()


def service(address: str) -> net.Endpoint:
    """Return where to connect."""
    return net.Endpoint(address, codec=SUMMARIES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="framed_client", description="Ask for a summary of numbers.")
    parser.add_argument("--to", type=service, default="127.0.0.1:7001", metavar="ADDRESS")
    parser.add_argument("numbers", type=float, nargs="*", metavar="NUMBER")
    options = parser.parse_args()
    client: job.Job[net.Stream] = job.Job(name="framed client", timeout=5, quiet=[*net.PEER_FAULTS, trio.EndOfChannel])
    client.add_oneshot_task(options.to.connect_task)
    client.add_task(partial(ask, Sample(options.numbers)))
    sys.exit(job.run(client))
