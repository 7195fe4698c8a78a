"""The waiters for a job to stop or to end, and the channels of its finished tasks; made when first used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import trio

from .task import Task

if TYPE_CHECKING:
    from .job import Job


@final
class Waiters:
    """The waiters of one job."""

    __slots__ = ("_channels", "ended", "stopping")

    def __init__(self) -> None:
        self.stopping = trio.Event()
        self.ended = trio.Event()
        self._channels: list[trio.MemorySendChannel[Task]] = []

    def subscribe(self) -> trio.MemoryReceiveChannel[Task]:
        """Return a channel that receives each finished task; it is unbounded, so that the job never waits for the reader."""
        send, receive = trio.open_memory_channel[Task](math.inf)
        # A channel does not report that its reader has gone, so closed ones are dropped here.
        self._channels = [*filter(_is_read, self._channels), send]
        return receive

    def loop_ended(self, task: Task) -> None:
        """Send a task whose run loop has ended to all channels."""
        self._channels = list(filter(_is_read, self._channels))
        for channel in self._channels:
            channel.send_nowait(task)

    def job_ended(self) -> None:
        """Wake all waiters, and close the channels."""
        self.stopping.set()
        self.ended.set()
        for channel in self._channels:
            channel.close()
        self._channels.clear()


def _is_read(channel: trio.MemorySendChannel[Task]) -> bool:
    return channel.statistics().open_receive_channels > 0


def waiters_of(job: Job[Any]) -> Waiters:
    """Return the waiters of a job, made when first asked for."""
    if job._waiters is None:
        job._waiters = Waiters()
        if job.stopping:
            job._waiters.stopping.set()
    return job._waiters
