"""What a step of a run loop costs, in nanoseconds."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

import trio

import job

from ..effort import Effort
from ..results import Row, Section, Target
from ..rounds import Figure, Variant, difference, interleaved, ratio
from ..text import number

BARE, CHECKPOINTS, TICK, SUSPENDING, IDLE = "bare", "checkpoints", "tick", "suspending", "idle"


def measure(effort: Effort) -> Section:
    """Measure ticks against the barest loops there are."""
    samples = interleaved(variants(effort.ticks_for), effort.rounds)
    ns = {name: number(Figure.of(values).median) for name, values in samples.items()}
    added = difference(samples, IDLE, TICK)
    in_calls = Figure.of((i - t) / b for i, t, b in zip(samples[IDLE], samples[TICK], samples[BARE], strict=True))
    return Section(
        "Ticks",
        [
            Row(
                "tick of a run that does not suspend / bare `await fn()` loop",
                ratio(samples, TICK, BARE),
                Target("<=", 2.5),
                note=f"{ns[TICK]} / {ns[BARE]} ns",
            ),
            Row(
                "tick of a run that suspends once / checkpoint loop",
                ratio(samples, SUSPENDING, CHECKPOINTS),
                Target("<=", 1.15),
                note=f"{ns[SUSPENDING]} / {ns[CHECKPOINTS]} ns",
            ),
            Row("what an idle timeout adds to a tick", added, Target("<=", 200, "ns"), unit="ns"),
            Row("the same / bare `await fn()` call", in_calls, Target("<=", 3)),
        ],
    )


def variants(seconds: float) -> dict[str, Variant]:
    """Return loops that each go on for about so many seconds and return nanoseconds per turn."""
    return {
        BARE: partial(trio.run, _timed, _bare, int(seconds * 1e7)),
        CHECKPOINTS: partial(trio.run, _timed, _checkpoints, int(seconds * 4e5)),
        TICK: partial(trio.run, _ticks, _tick, None, seconds),
        SUSPENDING: partial(trio.run, _ticks, _suspending_tick, None, seconds),
        IDLE: partial(trio.run, _ticks, _tick, 60.0, seconds),
    }


async def _timed(loop: Callable[[int], Awaitable[None]], turns: int) -> float:
    started = perf_counter()
    await loop(turns)
    return (perf_counter() - started) / turns * 1e9


async def _bare(turns: int) -> None:
    for _ in itertools.repeat(None, turns):
        await _nothing()


async def _nothing() -> None:
    pass


async def _checkpoints(turns: int) -> None:
    for _ in itertools.repeat(None, turns):
        await trio.lowlevel.checkpoint()


async def _ticks(run: Callable[[job.Task], Awaitable[None]], idle_timeout: float | None, seconds: float) -> float:
    # Nothing but `tick()` is in the run: the loop itself counts the steps, and a deadline ends it.
    j = job.Job[None]()
    j.add_task(lambda _: (None, run, None), idle_timeout=idle_timeout)
    started = perf_counter()
    with trio.move_on_after(seconds):
        await j.run()
    # One at least: on a busy machine a very short round may be over before it began.
    return (perf_counter() - started) / max(1, j.statistics().tasks[0].steps) * 1e9


async def _tick(task: job.Task) -> None:
    task.tick()


async def _suspending_tick(task: job.Task) -> None:
    await trio.lowlevel.checkpoint()
    task.tick()
