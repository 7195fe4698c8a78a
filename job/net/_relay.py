"""The relay: bytes both ways between a client and an upstream, until both have said all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import trio

from .. import _check
from .._forms import Factory, Routines
from .._job import Job
from .._states import Phase
from .._task import Task
from ._course import Relaying
from ._reason import EndReason, Side
from ._relay_end import End


@dataclass(frozen=True, slots=True)
class RelayResult:
    """How a relay ended.

    Attributes:
        reason: why it ended.
        closed_by: who ended it; at EOF the side whose EOF came first.
        bytes_up: how many bytes the upstream has taken.
        bytes_down: how many bytes the client has taken.
        seconds: how long it took.
        error: the peer's fault, or our own, that ended it.
    """

    reason: EndReason
    closed_by: Side
    bytes_up: int
    bytes_down: int
    seconds: float
    error: BaseException | None = None


async def relay(
    client: trio.abc.Stream, upstream: trio.abc.Stream, *, idle_timeout: float = 600, half_close_timeout: float = 30
) -> RelayResult:
    """Relay bytes both ways between two streams, of any kind, until both have said all.

    An EOF is data: it is passed on, and the other direction goes on. Each direction holds one chunk at most, so that a slow
    reader slows its writer down. Each chunk is a heartbeat of the task that this runs in.

    It closes neither stream: they are the caller's. Nothing that was received is lost to a timeout; when it is cancelled, a
    chunk in hand is given to its receiver if that takes it at once, else put back, if the stream is a `job.net.Stream`.

    Args:
        client: who asked.
        upstream: who answers.
        idle_timeout: seconds without a byte in either direction that end the relay; infinity for none.
        half_close_timeout: the same once one direction has ended. Where the receiver of that EOF cannot learn of it (over
            TLS), the `close_timeout` of its endpoint ends the relay sooner.

    Returns:
        Why it ended, who ended it, and what it moved. A peer's fault is a reason, not an exception.

    Raises:
        trio.Cancelled: it was cancelled.
        trio.ClosedResourceError, BaseException: a fault of our own.
        TypeError, ValueError: a timeout is none.
    """
    idle, half_close = _timeouts(idle_timeout, half_close_timeout)
    course = _start(client, upstream, idle, half_close)
    await course.run()
    return _result(course, EndReason.CANCELLED)


def relay_task(
    client: trio.abc.Stream,
    upstream: trio.abc.Stream | None = None,
    *,
    idle_timeout: float = 600,
    half_close_timeout: float = 30,
) -> Factory:
    """Return the factory of a task that relays between `client` and `upstream`, by default the job's value.

    Its `result` is a `RelayResult`, there from its init on: while it relays, and wherever the end of the job cuts it, with
    the figures of the moment and the reason that the cut has or would have. `DRAINED` is a cut by `finish`, `CANCELLED` any
    other. At the end the figures are in the job's `fields`, too.

    Args, errors: those of `relay`.
    """
    idle, half_close = _timeouts(idle_timeout, half_close_timeout)

    def relay_task(j: Job[Any]) -> Routines:
        result = _Live(j)

        async def init(task: Task) -> None:
            task.result = result

        async def run(task: Task) -> None:
            course = _start(client, j.value if upstream is None else upstream, idle, half_close)
            result.follow(course)
            await course.run()
            task.done()

        async def finalize(task: Task) -> None:
            task.result = frozen = result.freeze()
            _tell(j, frozen)

        return Routines(init, run, finalize)

    return relay_task
