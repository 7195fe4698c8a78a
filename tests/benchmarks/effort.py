"""How long the benchmarks take: rounds and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .relay import integrity


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
        relay_rounds: rounds of relayed traffic.
        relay_seconds: of each kind of traffic in a round.
        idle: relayed connections that are idle, to see what each costs.
        checks: sizes of the check that a relay is byte-exact.
        scale: how many there are at once, one line for each number.
        requests: to the image balancer in a round.
    """

    rounds: int
    ticks_for: float
    jobs: int
    parked: int
    cancelled: tuple[int, ...]
    cancel_rounds: int
    relay_rounds: int
    relay_seconds: float
    idle: int
    checks: integrity.Sizes
    scale: tuple[int, ...]
    requests: int


FULL: Final = Effort(
    rounds=11,
    ticks_for=0.2,
    jobs=2000,
    parked=10_000,
    cancelled=(10_000, 50_000),
    cancel_rounds=3,
    relay_rounds=7,
    relay_seconds=0.7,
    idle=1000,
    checks=integrity.Sizes(),
    scale=(100, 1_000, 10_000, 50_000),
    requests=2000,
)

QUICK: Final = Effort(
    rounds=5,
    ticks_for=0.05,
    jobs=500,
    parked=10_000,
    cancelled=(10_000, 50_000),
    cancel_rounds=1,
    relay_rounds=3,
    relay_seconds=0.35,
    idle=500,
    checks=integrity.QUICK,
    scale=(100, 1_000, 10_000),
    requests=500,
)

TINY: Final = Effort(
    rounds=1,
    ticks_for=0.002,
    jobs=2,
    parked=10,
    cancelled=(10,),
    cancel_rounds=1,
    relay_rounds=1,
    relay_seconds=0.02,
    idle=2,
    checks=integrity.TINY,
    scale=(2,),
    requests=1,
)
"""Says nothing about speed; shows that the benchmarks run."""
