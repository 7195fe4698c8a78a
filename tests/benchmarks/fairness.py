"""Whether one who takes all he can get leaves something for the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from time import perf_counter
from typing import Final

import trio

import job

from .effort import Effort
from .relay.designs import HAPROXY, JOBS, NAIVE, PROTOCOL, UVLOOP_PROTOCOL, designs
from .relay.load import Load, loading
from .relay.process import DoesNotServeError, proxying
from .results import Row, Section, Table, Target
from .rounds import Figure, Variant, interleaved, ratio
from .text import number, spread

SIDE_BY_SIDE: Final = (JOBS, NAIVE, PROTOCOL, UVLOOP_PROTOCOL, HAPROXY)
GREEDY_TARGET: Final = Target("<=", 3)
SPINNERS: Final = (0, 1, 100)


def measure(effort: Effort, names: Sequence[str] = SIDE_BY_SIDE) -> Section:
    """Measure a greedy connection beside small ones, and run loops that never await beside a task that does."""
    row, table = _relays(effort, names)
    return Section("Fairness", [row], [table, _loops(effort)])


def _relays(effort: Effort, names: Sequence[str]) -> tuple[Row, Table]:
    what = "p99 of 50 small-message connections beside a greedy one / without it"
    with loading() as load:
        samples = _latencies(load, effort, names)
    lines: list[tuple[str, ...]] = [
        (
            name,
            *(spread(Figure.of(samples[key]).scaled(1e3)) for key in _keys(name)),
            _times(ratio(samples, *_keys(name))),
        )
        for name in names
        if _keys(name)[0] in samples
    ]
    greedy, alone = _keys(JOBS)
    note = " / ".join(number(Figure.of(samples[key]).median * 1e3) for key in (greedy, alone)) + " ms"
    table = Table(
        "99th percentile of 64 B there and back, 50 connections, milliseconds",
        ("", "beside a greedy one", "without it", "ratio"),
        lines,
        load.note,
    )
    return Row(what, ratio(samples, greedy, alone), GREEDY_TARGET, note=note), table


def _keys(name: str) -> tuple[str, str]:
    return f"{name}, greedy", f"{name}, alone"


def _times(figure: Figure) -> str:
    return f"{number(figure.median)}x"


def _latencies(load: Load, effort: Effort, names: Sequence[str]) -> dict[str, list[float]]:
    with ExitStack() as stack:
        variants: dict[str, Variant] = {}
        for design in designs():
            if design.name in names and design.here:
                with suppress(DoesNotServeError):
                    variants |= _variants(design.name, load, *stack.enter_context(proxying(design, load.port)), effort)
        return interleaved(variants, effort.relay_rounds)


def _variants(name: str, load: Load, pid: int, port: int, effort: Effort) -> dict[str, Variant]:
    words = f"echo {port} 50 64 {effort.relay_seconds}"
    return {key: partial(_p99, load, f"{words} {greedy}", pid) for greedy, key in zip((1, 0), _keys(name), strict=True)}


def _p99(load: Load, words: str, pid: int) -> float:
    p99: float = load.work(words, pid).answer["p99"]
    return p99


def _loops(effort: Effort) -> Table:
    lines: list[tuple[str, ...]] = []
    for name, spin in (("a job's run loop", _spinning_job), ("a loop of checkpoints", _spinning_checkpoints)):
        for count in SPINNERS:
            variant = partial(trio.run, _turns_beside, spin, count, effort.ticks_for)
            rounds = [variant() for _ in range(effort.rounds)]
            turns = Figure.of(turns for turns, _ in rounds)
            longest = Figure.of(longest for _, longest in rounds)
            lines.append((f"{count} x {name}", spread(turns), spread(longest.scaled(1e3))))
    return Table(
        "A task that passes checkpoints, beside loops that never await",
        ("beside", "turns per second", "longest wait for a turn, ms"),
        lines,
        "A run loop gives way when a slice of about 1 ms is used up, which all that spin share.",
    )


async def _turns_beside(spin: Callable[[], Awaitable[None]], count: int, seconds: float) -> tuple[float, float]:
    """Return how many turns per second a task gets, and its longest wait for one."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(spin)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        turns, longest = 0, 0.0
        last = started = perf_counter()
        while last - started < seconds:
            await trio.lowlevel.checkpoint()
            now = perf_counter()
            longest = max(longest, now - last)
            last = now
            turns += 1
        nursery.cancel_scope.cancel()
    return turns / (last - started), longest


async def _spinning_job() -> None:
    j = job.Job[None]()
    j.add_task(_spin)
    await j.run()


async def _spin(task: job.Task) -> None:
    task.tick()


async def _spinning_checkpoints() -> None:
    while True:
        await trio.lowlevel.checkpoint()
