"""The upstreams of a balancer: which there are, which may take a connection, and how reports change their health."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import trio

from ..._core import check
from ..._core.words.blocks import contextmanager
from ._upstream import Upstream, may_eject
from ._upstream_news import tell_change

if TYPE_CHECKING:
    from ..._core.task import Task


@dataclass(frozen=True, slots=True)
class Rules:
    """How many reports eject an upstream or bring it back, and for how long; see `Balancer`."""

    rise: int
    fall: int
    eject_for: float
    max_ejected: float


@final
class Roster:
    """Upstreams by their addresses, in the order given."""

    __slots__ = ("_checkers", "_down", "_gone", "_rules", "_upstreams")

    def __init__(self, upstreams: Iterable[Upstream], rules: Rules) -> None:
        self._rules = rules
        self._upstreams = _by_address(upstreams)
        self._gone: dict[str, Upstream] = {}  # replaced, but with connections that are still open
        self._down: dict[Upstream, None] = {}  # last announced as out
        self._checkers: dict[Task, None] = {}  # the tasks that are probing

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All of them."""
        return tuple(self._upstreams.values())

    def replace(self, upstreams: Iterable[Upstream]) -> None:
        """Replace the upstreams; the object of an address that stays, or comes back with open connections, is kept."""
        wanted = _by_address(upstreams)
        known = {address: upstream for address, upstream in self._gone.items() if upstream.active} | self._upstreams
        for address, newer in wanted.items():
            if address in known:
                known[address]._adopt(newer)
                wanted[address] = known[address]
        self._upstreams = wanted
        self._gone = {address: upstream for address, upstream in known.items() if address not in wanted}
        self._down = {upstream: None for upstream in wanted.values() if not upstream._known_healthy}

    def candidates(self, excluded: set[str]) -> list[Upstream]:
        """Return the upstreams that may take a connection; backups only if no other may."""
        free = [
            upstream
            for upstream in self._upstreams.values()
            if not upstream.full and upstream.healthy and upstream.address not in excluded
        ]
        return [upstream for upstream in free if not upstream.backup] or free

    def next_return(self) -> float:
        """Return when the next ejection ends by time, on trio's clock; infinity if none does."""
        ends = (upstream.ejected_until for upstream in self._upstreams.values())
        return min((end for end in ends if end is not None), default=math.inf)

    def find(self, upstream: Upstream) -> Upstream | None:
        """Return the current upstream of the same address."""
        return self._upstreams.get(upstream.address)

    def record_success(self, upstream: Upstream, *, probe: bool) -> None:
        """Record that an attempt to use the upstream went well."""
        upstream._health.record_success(self._rules.rise, probe=probe)

    def record_failure(self, upstream: Upstream, *, probe: bool) -> None:
        """Record that an attempt to use the upstream failed; eject it if the rules say so."""
        health, out = upstream._health, not upstream.healthy
        fallen = health.record_failure(self._rules.fall, probe=probe)
        if out or (fallen and (probe or self._traffic_may_eject())):
            by_probes = (probe and fallen) or (out and health.out_by_probes)
            health.eject(trio.current_time() + self._rules.eject_for, by_probes=by_probes)

    def _traffic_may_eject(self) -> bool:
        return may_eject(self._out(), len(self._upstreams), self._rules.max_ejected)

    def _out(self) -> int:
        return sum(not upstream.healthy for upstream in self._upstreams.values())

    def tell_changes(self, reported: Upstream | None = None, error: BaseException | None = None) -> None:
        """Announce changes: upstreams may have come back by time, and `reported` may have been ejected by the error.

        Call this first or last in a method: observers and log handlers may raise, and may call back.
        """
        for upstream in (*self._down, reported) if reported is not None else (*self._down,):
            healthy = upstream.healthy
            if healthy is not upstream._known_healthy:
                self._note_known(upstream, healthy)
                why = None if healthy else error
                tell_change(upstream, healthy, why, next(iter(self._checkers), None))

    def _note_known(self, upstream: Upstream, healthy: bool) -> None:
        upstream._known_healthy = healthy
        if healthy:
            self._down.pop(upstream, None)
        else:
            self._down[upstream] = None

    @contextmanager
    def checked_by(self, task: Task) -> Iterator[None]:
        """Announce changes that are reported outside of all jobs with this task, while the block runs."""
        self._checkers[task] = None
        try:
            yield
        finally:
            del self._checkers[task]

    def __str__(self) -> str:
        full = sum(upstream.full for upstream in self._upstreams.values())
        return f"{len(self._upstreams)} upstreams, {self._out()} ejected, {full} at their limit"


def _by_address(upstreams: Iterable[Upstream]) -> dict[str, Upstream]:
    found: dict[str, Upstream] = {}
    for upstream in check.list_of("upstreams", Upstream, upstreams):
        if upstream.address in found:
            raise ValueError(f"upstreams must have different addresses, got {upstream.address!r} twice")
        found[upstream.address] = upstream
    return found
