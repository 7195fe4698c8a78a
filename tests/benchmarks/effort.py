"""How long the benchmarks take: rounds and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Effort:
    """The sizes of one run of the benchmarks.

    Attributes:
        rounds: how many times each variant has its turn.
        ticks_for: seconds of ticking in a round.
        jobs: jobs run in a round.
        parked: parked jobs whose memory is taken.
        cancelled: how many parked jobs are cancelled, one row for each number.
        cancel_rounds: rounds of that.
    """

    rounds: int
    ticks_for: float
    jobs: int
    parked: int
    cancelled: tuple[int, ...]
    cancel_rounds: int


FULL: Final = Effort(
    rounds=11,
    ticks_for=0.2,
    jobs=2000,
    parked=10_000,
    cancelled=(10_000, 50_000),
    cancel_rounds=3,
)

QUICK: Final = Effort(
    rounds=5,
    ticks_for=0.05,
    jobs=500,
    parked=10_000,
    cancelled=(10_000, 50_000),
    cancel_rounds=1,
)

TINY: Final = Effort(
    rounds=1,
    ticks_for=0.002,
    jobs=2,
    parked=10,
    cancelled=(10,),
    cancel_rounds=1,
)
"""Says nothing about speed; shows that the benchmarks run."""
