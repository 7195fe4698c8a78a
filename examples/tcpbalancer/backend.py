"""A backend: takes pictures, makes them smaller in threads, and sends them back.

    listener ── a job per connection:  read ──> resize ──> write
                                                  │
                                       a bounded number of threads

When it is asked to stop, a connection that is waiting for a request is closed at once, and one that is at work sends its
answer first.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

import job
from job import net

from . import images, program
from .messages import CODEC, Message, Refused, Resize, Resized

GRACE: Final = 10.0
"""Seconds for the requests under way when the backend is asked to stop."""
CLOSE_WITHIN: Final = 2.0
"""Seconds that a client has to close its side when this one has closed."""
SILENCE: Final = 600.0
"""Seconds after which a client that asks for nothing is hung up on."""

# What clients do, which is no news here.
_QUIET: Final = (*net.PEER_FAULTS, job.IdleTimeoutError)


def backend(address: str, *, name: str, threads: int) -> job.Job[None]:
    """Build the job of a backend that listens on `address` and works in up to `threads` threads."""
    places = trio.CapacityLimiter(threads)

    def answer(client: net.Stream) -> job.Job[net.Stream]:
        j = job.Job(client, name=f"{name} <- {client.peer}", grace=GRACE, quiet=_QUIET)
        j.add_task(client.read_task)
        j.add_task(client.write_task)
        j.add_task(partial(resize_task, name=name, places=places), idle_timeout=SILENCE)
        return j

    return program.server(name, net.Endpoint(address, codec=CODEC, close_timeout=CLOSE_WITHIN), answer, grace=GRACE)


def resize_task(j: job.Job[net.Stream], *, name: str, places: trio.CapacityLimiter) -> job.Routines:
    """Answer one request per step."""

    async def run(task: job.Task) -> None:
        request = await next_request(task, j.value)
        if request is None:
            return task.finish_job()
        with task.busy():
            answer = await trio.to_thread.run_sync(resized, request, name, limiter=places)
        await j.value.send(answer)
        task.log.debug("answered", id=request.id, answer=type(answer).__name__, bytes=len(request.image))
        return task.tick()

    return job.Routines(run=run)


async def next_request(task: job.Task, client: net.Stream) -> Resize | None:
    """Wait for the next request; None at the end of the connection, and when the job is asked to stop.

    Only the wait is given up for a stop: work that has begun is finished.
    """
    with task.cancel_on_stop():
        try:
            async with client.received() as message:
                if not isinstance(message, Resize):
                    raise net.ProtocolError(f"expected a request, got {type(message).__name__}")
                return message
        except trio.EndOfChannel:
            pass
    return None


def resized(request: Resize, name: str) -> Message:
    """Return the answer to a request. Called in a thread."""
    try:
        image = images.resize(request.image, request.width, request.height)
    except images.BadImageError as error:
        return Refused(request.id, name, str(error))
    return Resized(request.id, name, image)
