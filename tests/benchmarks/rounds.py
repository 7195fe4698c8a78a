"""Rounds: every variant has its turn in each, so that what disturbs the machine disturbs all of them."""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Variant = Callable[[], float]
"""Measures once; what, and in which unit, is the caller's to know."""

Samples = Mapping[str, list[float]]
"""One figure for each round, by variant."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of some rounds, and their range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> Figure:
        """Sum up at least one sample."""
        values = sorted(samples)
        return cls(statistics.median(values), values[0], values[-1])

    def scaled(self, factor: float) -> Figure:
        """Return the same in another unit."""
        return Figure(self.median * factor, self.low * factor, self.high * factor)


def interleaved(variants: Mapping[str, Variant], rounds: int) -> dict[str, list[float]]:
    """Give every variant its turn in each of the rounds, each time in another order; return all figures."""
    samples: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            samples[name].append(variants[name]())
    return samples


def ratio(samples: Samples, above: str, below: str) -> Figure:
    """Divide two variants round by round: what slowed a whole round down cancels out."""
    return Figure.of(a / b if b else math.inf for a, b in zip(samples[above], samples[below], strict=True))


def difference(samples: Samples, more: str, less: str) -> Figure:
    """Subtract two variants round by round."""
    return Figure.of(m - n for m, n in zip(samples[more], samples[less], strict=True))
