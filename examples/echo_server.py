"""An echo server: sends back what comes in.

Try `python -m examples.echo_server` and `echo hello | socat - TCP:127.0.0.1:7000`. It logs where it listens; port 0 takes
any free one. SIGTERM ends it when every answer that was begun is out.
"""

import argparse
import sys

import job
from job import net


async def echo(task: job.Task) -> None:
    """Send one chunk back."""
    client: net.Stream = task.job.value
    # A stop may abandon the wait for a chunk, but not an answer that is half sent.
    data = await task.until_stop(client.receive_some, default=b"")
    if not data:  # end of file, or a stop
        return task.done()
    await client.send_all(data)
    return task.tick()


def connection(client: net.Stream) -> job.Job[net.Stream]:
    """Build the job of one client; one that is silent for a minute is disconnecteded."""
    j = job.Job(client, name=f"echo {client.peer}", quiet=[job.IdleTimeoutError])
    j.add_task(echo, idle_timeout=60)
    return j


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="echo_server", description="Send back what comes in.")
    parser.add_argument("--listen", type=net.Endpoint, default="127.0.0.1:7000", metavar="ADDRESS")
    inbound = parser.parse_args().listen
    server: job.Job[None] = job.Job(name="echo server", grace=5)
    server.add_task(net.serve(inbound, connection))
    sys.exit(job.run(server))
