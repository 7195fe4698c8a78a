"""Many jobs at once: what each costs to run, and what a tick costs among them. In seconds, beside trio by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

import trio
import trio.testing

import job

from . import raw
from .routines import minimal_task

TURNS: Final = 200_000
"""Turns of all loops together in one trial of ticks."""


async def cost_of_a_job(count: int) -> float:
    """Run so many jobs at the same time; return seconds per job."""
    return await _together(_minimal_job, count)


async def cost_of_a_raw_job(count: int) -> float:
    """Do the same by hand."""
    return await _together(raw.minimal, count)


async def _minimal_job() -> None:
    j = job.Job[None]()
    j.add_oneshot_task(minimal_task)
    j.add_task(minimal_task)
    j.add_task(minimal_task)
    await j.run()


async def _together(whole: Callable[[], Awaitable[None]], count: int) -> float:
    started = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(whole)
    return (perf_counter() - started) / count


async def cost_of_a_tick(count: int) -> float:
    """Let so many jobs tick in turn, each run suspending once; return seconds per tick."""
    return await _ticking(_ticking_job, count)


async def cost_of_a_checkpoint(count: int) -> float:
    """Do the same with a loop by hand in each task."""
    return await _ticking(_counting_loop, count)


Ticking = Callable[[trio.Event, int], Awaitable[None]]


async def _ticking(one: Ticking, count: int) -> float:
    gate, turns = trio.Event(), max(4, TURNS // count)
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one, gate, turns)
        await trio.testing.wait_all_tasks_blocked()
        started = perf_counter()
        gate.set()
    return (perf_counter() - started) / (count * turns)


async def _ticking_job(gate: trio.Event, turns: int) -> None:
    left = turns

    async def run(task: job.Task) -> None:
        nonlocal left
        if left == turns:
            await gate.wait()
        left -= 1
        await trio.lowlevel.checkpoint()
        return task.tick() if left else task.done()

    j = job.Job[None]()
    j.add_task(run)
    await j.run()


async def _counting_loop(gate: trio.Event, turns: int) -> None:
    left = turns

    async def run() -> bool:
        nonlocal left
        if left == turns:
            await gate.wait()
        left -= 1
        await trio.lowlevel.checkpoint()
        return left > 0

    await raw.loop(run)
