"""The two oneshot tasks of an endpoint: dial, and accept one client; and the dial of a task of the program's own."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from .._forms import Routines
from .._task import Task
from ._closing import close, closing
from ._doors import accept_one
from ._listening import Listening
from ._story import DialStory, Story, dials_of

if TYPE_CHECKING:
    from .._job import Job
    from ._doors import Door
    from ._endpoint import Endpoint
    from ._stream import Stream
    from ._wire import Wire


def connect_routines(endpoint: Endpoint, j: Job[Any]) -> Routines:
    """Return the routines that dial."""
    story = DialStory(j)
    dialed: Stream | None = None

    async def run(task: Task) -> None:
        nonlocal dialed
        with story.attempt(endpoint.address):
            dialed = j.value = await endpoint.dial()
        task.done()

    async def finalize(task: Task) -> None:
        if dialed is not None:
            await close(dialed, j)

    return Routines(None, run, finalize)


async def connect_in(task: Task, endpoint: Endpoint, address: str | None) -> Stream:
    """Do what `Endpoint.connect` promises."""
    if not isinstance(task, Task):
        raise TypeError(f"task must be a Task, got {task!r}")
    with dials_of(task.job).attempt(endpoint.address if address is None else address):
        stream = await endpoint.dial(address)
    try:
        await task.enter(closing(stream, task.job))
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    task.job.value = stream
    return stream


def accept_routines(endpoint: Endpoint, j: Job[Any]) -> Routines:
    """Return the routines that accept one client."""
    listening, client = Listening(endpoint), AsyncExitStack()

    async def accept(task: Task) -> tuple[Wire, Door]:
        doors = await listening.doors(task)
        try:
            return await accept_one(doors)
        except OSError as error:
            listening.broke(task, error)
            raise

    async def run(task: Task) -> None:
        # What the client takes is given back where it does not get through its handshake: this may be called again.
        async with AsyncExitStack() as taken:
            await endpoint._slots.take()
            taken.callback(endpoint._slots.give_back)
            wire, door = await accept(task)
            endpoint._tally.accepted += 1
            Story(j).tell(client=wire.peer, listener=door.address)
            stream = j.value = await endpoint._welcome(wire)
            taken.enter_context(endpoint._counted(stream))
            taken.push_async_callback(close, stream, j)
            client.push_async_exit(taken.pop_all())
        task.done()

    async def finalize(task: Task) -> None:
        try:
            await client.aclose()
        finally:
            await listening.aclose()

    return Routines(listening.init, run, finalize)
