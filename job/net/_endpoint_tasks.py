"""The two oneshot tasks of an endpoint: dial, and accept one client."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from .._forms import Routines
from ._doors import accept_one
from ._story import DialStory, Story

if TYPE_CHECKING:
    from .._job import Job
    from .._task import Task
    from ._endpoint import Endpoint


def connect_routines(endpoint: Endpoint, j: Job[Any]) -> Routines:
    """Return the routines that dial."""
    opened = AsyncExitStack()
    story = DialStory(j)

    async def run(task: Task) -> None:
        with story.attempt(endpoint.address):
            stream = j.value = await endpoint.dial()
        opened.push_async_callback(stream.aclose)
        task.done()

    async def finalize(task: Task) -> None:
        await opened.aclose()

    return Routines(None, run, finalize)


def accept_routines(endpoint: Endpoint, j: Job[Any]) -> Routines:
    """Return the routines that accept one client."""
    opened = AsyncExitStack()

    async def init(task: Task) -> None:
        await opened.enter_async_context(endpoint._listening())

    async def run(task: Task) -> None:
        await endpoint._slots.take()
        opened.callback(endpoint._slots.give_back)
        wire, door = await accept_one(endpoint._doors)
        endpoint._tally.accepted += 1
        Story(j).tell(client=wire.peer, listener=door.address)
        stream = j.value = await endpoint._welcome(wire)
        opened.callback(endpoint._inbound_closed)
        opened.push_async_callback(stream.aclose)
        endpoint._tally.inbound += 1
        task.done()

    async def finalize(task: Task) -> None:
        await opened.aclose()

    return Routines(init, run, finalize)
