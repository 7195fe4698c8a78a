"""Rows about parked jobs: memory, and cancelling."""

from __future__ import annotations

from functools import partial

from ..effort import Effort
from ..results import Row, Section, Target
from ..rounds import Figure, interleaved, ratio
from .parked import JOB_OF_ONE, JOB_OF_TWO, RAW_OF_ONE, RAW_OF_TWO, RAW_SAME, trial

NAMES = {
    JOB_OF_TWO: "two recurrent tasks",
    JOB_OF_ONE: "one recurrent task",
    RAW_OF_TWO: "trio by hand, minimal, two loops",
    RAW_OF_ONE: "trio by hand, one loop in a task",
    RAW_SAME: "trio by hand, two loops in a job's trio tasks",
}


def measure(effort: Effort) -> Section:
    """Measure parked jobs against bare nurseries."""
    return Section("Parked jobs", [*_memory(effort), *(_cancelling(count, effort) for count in effort.cancelled)])


def _memory(effort: Effort) -> list[Row]:
    targets = {JOB_OF_TWO: Target("<=", 7.5, "kB"), JOB_OF_ONE: Target("<=", 4, "kB")}
    note = f"resident memory, {effort.parked:,} of them, 1 kB = 1,000 bytes"
    return [
        Row(f"memory: {name}", _kilobytes(shape, effort), targets.get(shape), unit="kB", note=note)
        for shape, name in NAMES.items()
    ]


def _kilobytes(shape: str, effort: Effort) -> Figure:
    return Figure.of(trial(shape, effort.parked).memory / 1000 for _ in range(effort.cancel_rounds))


def _cancelling(count: int, effort: Effort) -> Row:
    shapes = (JOB_OF_TWO, RAW_SAME)
    samples = interleaved({shape: partial(_seconds_to_cancel, shape, count) for shape in shapes}, effort.cancel_rounds)
    ms = [f"{Figure.of(samples[shape]).median * 1000:,.0f}" for shape in shapes]
    return Row(
        f"cancel {count:,} / nurseries of the same shape",
        ratio(samples, JOB_OF_TWO, RAW_SAME),
        Target("<=", 1.2),
        note=f"{' / '.join(ms)} ms",
    )


def _seconds_to_cancel(shape: str, count: int) -> float:
    return trial(shape, count).cancel
