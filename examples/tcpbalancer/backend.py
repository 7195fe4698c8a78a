"""A backend: takes pictures, makes them smaller in threads, and sends them back.

    listener ── a job per connection:  receive ──> resize ──> send
                                          │          │         │
                                     room for all connections together, in each of the three

However many clients there are, and whatever they send or do not take, its memory stays within bounds: a request finds room
for its frame before it is received, and as much as it has pixels before it is unpacked, and an answer finds room before the
pixels are given back. Who does not get on with it is disconnecteded, so that none keeps its room for ever.

When it is asked to stop, a connection that is waiting for a request is closed at once, and one that is at work sends its
answer first.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from typing import Final, TypeVar, final

import trio

import job
from job import net

from . import images, program
from .messages import CODEC, MAX_FILE, MAX_FRAME, MAX_REASON, Refused, Resize, Resized
from .room import Room

CONNECTIONS: Final = 400
"""How many connections there may be; further ones wait."""
REQUESTS: Final = 2 * MAX_FRAME
"""How many bytes of requests there may be at a time, whole and in part, of all connections."""
ANSWERS: Final = MAX_FILE
"""How many bytes of answers may wait to be taken, of all connections."""
GRACE: Final = 10.0
"""Seconds for the requests under way when the backend is asked to stop."""
CLOSE_WITHIN: Final = 2.0
"""Seconds that a client has to close its side when this one has closed."""
SILENCE: Final = 600.0
"""Seconds after which a client that asks for nothing is disconnecteded."""
PIECE: Final = 1024 * 1024
"""How many bytes of a request or an answer must have moved each time that `MOVE_WITHIN` is over."""
MOVE_WITHIN: Final = 2.0
"""Seconds for a piece: who holds room that others wait for has no time to lose."""

T = TypeVar("T")

# What clients do, which is no news here.
_QUIET: Final = (*net.PEER_FAULTS, job.IdleTimeoutError)


def backend(address: str, *, name: str, threads: int) -> job.Job[None]:
    """Build the job of a backend that listens on `address` and works in up to `threads` threads."""
    works = Works(name, threads)

    def answer(client: net.Stream) -> job.Job[net.Stream]:
        j = job.Job(client, name=f"{name} <- {client.peer}", grace=GRACE, quiet=_QUIET)
        j.add_task(works.answer, idle_timeout=SILENCE)
        return j

    inbound = net.Endpoint(address, codec=CODEC, limit=CONNECTIONS, close_timeout=CLOSE_WITHIN)
    return program.server(name, inbound, answer, grace=GRACE)


class TooSlowError(net.ProtocolError):
    """A client does not get on with what it sends or takes."""


@final
class Works:
    """What the connections of a backend share: its threads, and room."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = trio.CapacityLimiter(threads)
        self._requests = Room(REQUESTS)
        self._pixels = Room(images.MOST_PIXELS)
        self._answers = Room(ANSWERS)

    async def answer(self, task: job.Task) -> None:
        """Answer one request, be the task's `run`.

        Only the wait for a request is given up for a stop: work that has begun is finished.
        """
        client: net.Stream = task.job.value
        try:
            size = await task.until_stop(announced, client)
            if size is None:
                return task.finish_job()
            with task.busy():
                task.log.debug("answered", answer=await self._exchange(client, size), bytes=size)
        except net.PEER_FAULTS as error:
            if isinstance(error, net.ProtocolError) and not isinstance(error, TooSlowError):
                with suppress(*net.PEER_FAULTS):
                    await client.send_eof()  # no answer is cut short by this
            raise error.with_traceback(None) from None  # it would hold the picture until the connection is closed
        return task.tick()

    async def _exchange(self, client: net.Stream, size: int) -> str:
        async with AsyncExitStack() as room:
            answer = await self._work(client, size, room)
            await send(client, net.frames.encode(CODEC.encode(answer), max_frame=MAX_FRAME))
        return type(answer).__name__

    async def _work(self, client: net.Stream, size: int, room: AsyncExitStack) -> Resized | Refused:
        """Receive a request of that size and return the answer, which has its place in the room."""
        async with self._requests.place(size):
            request = CODEC.decode(await received(client, size))
            if not isinstance(request, Resize):
                raise net.ProtocolError(f"expected a request, got {type(request).__name__}")
            try:
                return await self._resized(request, room)
            except images.BadImageError as error:
                return Refused(request.id, self._name, str(error)[:MAX_REASON])

    async def _resized(self, request: Resize, room: AsyncExitStack) -> Resized:
        pixels = await trio.to_thread.run_sync(measured, request, limiter=self._threads)
        async with self._pixels.place(pixels):
            image = await trio.to_thread.run_sync(resized, request, limiter=self._threads)
            await room.enter_async_context(self._answers.place(len(image)))
        return Resized(request.id, self._name, image)


async def announced(client: net.Stream) -> int | None:
    """Wait for the next request and return how long it is; None at the end of the connection."""
    beginning = await client.receive_some()
    if not beginning:
        return None
    client.unread(beginning)
    size = int.from_bytes(await client.receive_exactly(4))
    if size > MAX_FRAME:
        raise net.FrameError(f"a request of {size} bytes is longer than {MAX_FRAME}")
    return size


async def received(client: net.Stream, size: int) -> bytearray:
    """Receive so many bytes, piece by piece."""
    data = bytearray(size)
    for start in range(0, size, PIECE):
        end = min(start + PIECE, size)
        data[start:end] = await in_time(client.receive_exactly(end - start))
    return data


async def send(client: net.Stream, data: bytes) -> None:
    """Send the bytes, piece by piece."""
    for start in range(0, len(data), PIECE):
        await in_time(client.send_all(memoryview(data)[start : start + PIECE]))


async def in_time(move: Awaitable[T]) -> T:
    """Move a piece."""
    with trio.move_on_after(MOVE_WITHIN):
        return await move
    raise TooSlowError(f"the client is too slow: {PIECE} bytes took more than {MOVE_WITHIN:g} s")


def measured(request: Resize) -> int:
    """Return how many pixels the request takes. Called in a thread."""
    return images.pixels(request.image, request.width, request.height)


def resized(request: Resize) -> bytes:
    """Return the picture that was asked for. Called in a thread."""
    return images.resize(request.image, request.width, request.height, most=MAX_FILE)
