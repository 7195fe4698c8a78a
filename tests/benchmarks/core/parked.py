"""Parked jobs: what each keeps in memory, and how long it takes to cancel them all. A trial has a process of its own.

`python -m tests.benchmarks.core.parked SHAPE COUNT` prints one trial as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import trio
import trio.testing

import job

from . import raw
from .routines import done, minimal_task, park, parked_task

JOB_OF_TWO, JOB_OF_ONE = "job-of-two", "job-of-one"
RAW_OF_TWO, RAW_OF_ONE, RAW_SAME = "raw-of-two", "raw-of-one", "raw-same-shape"
TASKS = "tasks"

ROOT: Final = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Parked:
    """One trial.

    Attributes:
        memory: bytes of resident memory for each job.
        start: seconds to start them all.
        cancel: seconds from the cancel until the last one has ended.
    """

    memory: float
    start: float
    cancel: float


def trial(shape: str, count: int) -> Parked:
    """Park so many jobs of a shape in a fresh process."""
    command = [sys.executable, "-m", __spec__.name, shape, str(count)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return Parked(**json.loads(answer.stdout))


async def park_all(shape: str, count: int) -> Parked:
    """Park so many jobs of a shape, here and now, and cancel them."""
    whole = SHAPES[shape]
    await _park(whole, 10)
    return await _park(whole, count)


async def _park(whole: Callable[[], Awaitable[None]], count: int) -> Parked:
    before, started = _resident(), perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(whole)
        await trio.testing.wait_all_tasks_blocked()
        start = perf_counter() - started
        memory = (_resident() - before) / count
        cancelled = perf_counter()
        nursery.cancel_scope.cancel()
    return Parked(memory, start, perf_counter() - cancelled)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def _job_of_two() -> None:
    await _job(2)


async def _job_of_one() -> None:
    await _job(1)


async def _job(recurrent: int) -> None:
    j = job.Job[None]()
    j.add_oneshot_task(minimal_task)
    for _ in range(recurrent):
        j.add_task(parked_task)
    await j.run()


async def _raw_of_two() -> None:
    await raw.minimal(park)


async def _raw_of_one() -> None:
    await raw.loop(done)
    await raw.loop(park)


async def _raw_same_shape() -> None:
    """Park a nursery with a job's trio tasks: one loop in its body, the other in a child."""
    await raw.loop(done)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw.loop, park)
        await raw.loop(park)


async def _task() -> None:
    await trio.sleep_forever()


SHAPES: Final[dict[str, Callable[[], Awaitable[None]]]] = {
    JOB_OF_TWO: _job_of_two,
    JOB_OF_ONE: _job_of_one,
    RAW_OF_TWO: _raw_of_two,
    RAW_OF_ONE: _raw_of_one,
    RAW_SAME: _raw_same_shape,
    TASKS: _task,
}

if __name__ == "__main__":
    print(json.dumps(asdict(trio.run(park_all, sys.argv[1], int(sys.argv[2])))))
