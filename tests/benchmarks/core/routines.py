"""What the tasks of a measured job do: nothing, in as few calls as can be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

import job

Step = Callable[[], Awaitable[bool]]
"""A run written by hand: whether to go on."""
Routine = Callable[[job.Task], Awaitable[None]]
Routines = tuple[Routine | None, Routine | None, Routine | None]


async def done() -> bool:
    """Be done at the first call."""
    return False


async def done_later() -> bool:
    """Suspend once, and be done."""
    await trio.lowlevel.checkpoint()
    return False


async def park() -> bool:
    """Wait for ever."""
    await trio.sleep_forever()


async def nothing() -> None:
    """Set nothing up, and clean nothing up."""


async def init(task: job.Task) -> None:
    """Set nothing up."""


async def finalize(task: job.Task) -> None:
    """Clean nothing up."""


async def run_done(task: job.Task) -> None:
    """Be done at the first call."""
    task.done()


async def run_done_later(task: job.Task) -> None:
    """Suspend once, and be done."""
    await trio.lowlevel.checkpoint()
    task.done()


async def run_park(task: job.Task) -> None:
    """Wait for ever."""
    await trio.sleep_forever()


def minimal_task(j: job.Job[None]) -> Routines:
    """Be done at once, with nothing to set up or to clean up."""
    return None, run_done, None


def full_task(j: job.Job[None]) -> Routines:
    """Be done at once, between an init and a finalizer."""
    return init, run_done, finalize


def minimal_task_later(j: job.Job[None]) -> Routines:
    """Be done after a checkpoint, with nothing to set up or to clean up."""
    return None, run_done_later, None


def full_task_later(j: job.Job[None]) -> Routines:
    """Be done after a checkpoint, between an init and a finalizer."""
    return init, run_done_later, finalize


def parked_task(j: job.Job[None]) -> Routines:
    """Never be done."""
    return None, run_park, None
