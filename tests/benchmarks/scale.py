"""The same at 100, 1,000, 10,000 and 50,000, beside trio's own curve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from .core.crowd import cost_of_a_checkpoint, cost_of_a_job, cost_of_a_raw_job, cost_of_a_tick
from .core.parked import JOB_OF_TWO, RAW_SAME, trial
from .effort import Effort
from .peers import descriptors
from .relay.designs import JOBS, NAIVE, designs
from .relay.idle import kilobytes
from .relay.load import loading
from .results import Section, Table
from .rounds import Figure, interleaved
from .text import number

COLUMNS: Final = (
    "at once",
    "job, us",
    "trio",
    "tick, us",
    "trio",
    "parked, kB",
    "trio",
    "cancel each, us",
    "trio",
)
SPARE: Final = 200
"""Descriptors that a proxy and the load need besides two for each connection."""


def measure(effort: Effort) -> Section:
    """Measure everything at each size."""
    note = "trio: the same by hand. What grows with the number does so in both columns, or it is ours."
    lines = [_line(count, effort) for count in effort.scale]
    return Section("Scale", tables=[Table("What each costs among so many", COLUMNS, lines, note), _idle(effort)])


def _line(count: int, effort: Effort) -> tuple[str, ...]:
    costs: dict[str, Callable[[int], Awaitable[float]]] = {
        "job": cost_of_a_job,
        "raw job": cost_of_a_raw_job,
        "tick": cost_of_a_tick,
        "checkpoint": cost_of_a_checkpoint,
    }
    samples = interleaved({k: partial(trio.run, cost, count) for k, cost in costs.items()}, effort.cancel_rounds)
    micros = [number(Figure.of(values).median * 1e6) for values in samples.values()]
    trials = [trial(shape, count) for shape in (JOB_OF_TWO, RAW_SAME)]
    memory = [number(one.memory / 1000) for one in trials]
    cancel = [number(one.cancel / count * 1e6) for one in trials]
    return f"{count:,}", *micros, *memory, *cancel


def _idle(effort: Effort) -> Table:
    chosen = [design for design in designs() if design.name in (JOBS, NAIVE)]
    most = (descriptors() - SPARE) // 2
    with loading() as load:
        lines: list[tuple[str, ...]] = [
            (f"{count:,}", *(number(kilobytes(design, load, count)) for design in chosen))
            for count in sorted({min(count, most) for count in effort.scale})
        ]
    note = f"{most:,} are as many as the descriptors of one process allow here."
    columns = ("at once", *(design.name for design in chosen))
    return Table("Resident memory of an idle relayed connection, kB", columns, lines, note)
