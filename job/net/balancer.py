"""Spread connections over several upstreams: who is a candidate, which one is chosen, and who has to wait.

No I/O but in the two task factories, so it serves other protocols than those of `Endpoint` as well. For one upstream
use its `Endpoint` alone.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import Any, TypeAlias, final

import trio

from .._check import function, plain, positive_seconds, seconds
from .._forms import Factory
from ._arguments import all_of, number, whole
from ._balancer_tasks import check_factory, connect_factory
from ._choice import RoundRobin, least_connections, power_of_two, random_choice, rendezvous
from ._errors import NoUpstreamError
from ._health import may_eject
from ._line import Line
from ._upstream import Lease, Upstream

__all__ = [
    "Balancer",
    "Choose",
    "Lease",
    "NoUpstreamError",
    "RoundRobin",
    "Upstream",
    "least_connections",
    "power_of_two",
    "random_choice",
    "rendezvous",
]

Choose: TypeAlias = Callable[[Sequence[Upstream], Any, Random], Upstream]
"""Chooses one of the candidates, of which there is at least one, for a key."""


@final
class Balancer:
    """Chooses upstreams for connections, counts what each has, and leaves out those that fail.

    Candidates are the upstreams that are healthy, not ejected and below their limit; backups where no other is. An
    upstream is ejected after `fall` errors in a row, and in again after `rise` good reports in a row or `eject_for`
    seconds, whichever comes first; let in by time alone, it is out again at its next error.

    Args:
        upstreams: at the start; no two of the same address. May be empty.
        choose: one of the functions of this module, or your own: `(candidates, key, random) -> Upstream`.
        rise: good reports in a row that end an ejection.
        fall: errors in a row that start one, or start it anew.
        eject_for: seconds that an ejection lasts.
        max_ejected: the share of the upstreams, 0 to 1, up to which traffic may eject: a network that fails for a
            moment must not take out everything. Probes may; an upstream that is out for either reason counts.
        random: where chance comes from; one of its own by default.

    Raises:
        TypeError, ValueError: a wrong argument.
    """

    __slots__ = ("_choose", "_eject_for", "_fall", "_line", "_max_ejected", "_random", "_rise", "_upstreams")

    def __init__(
        self,
        upstreams: Iterable[Upstream],
        *,
        choose: Choose = power_of_two,
        rise: int = 2,
        fall: int = 3,
        eject_for: float = 30,
        max_ejected: float = 0.5,
        random: Random | None = None,
    ) -> None:
        self._choose = _checked_choose(choose)
        self._rise = whole("rise", rise)
        self._fall = whole("fall", fall)
        self._eject_for = seconds("eject_for", eject_for)
        self._max_ejected = number("max_ejected", max_ejected, least=0, most=1)
        self._random = _checked_random(random)
        self._upstreams = _by_address(upstreams)
        self._line = Line(self._offer, self._next_return)

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All upstreams, candidates or not, in the order given."""
        return tuple(self._upstreams.values())

    def replace(self, upstreams: Iterable[Upstream]) -> None:
        """Put others in place of the upstreams; connections are not touched.

        Where an address stays, its `Upstream` object stays, with its count and its health, and takes the weight, limit,
        backup and options of the new one. Whoever waits in `acquire` is served. Nothing changes where an argument is
        wrong.

        Raises:
            TypeError, ValueError: as for the constructor.
        """
        wanted = _by_address(upstreams)
        for address, newer in wanted.items():
            known = self._upstreams.get(address)
            if known is not None:
                known._adopt(newer)
                wanted[address] = known
        self._upstreams = wanted
        self._line.serve()

    def pick(self, key: Any = None, *, exclude: Iterable[Upstream] = ()) -> Upstream | None:
        """Choose an upstream without counting it; None where there is no candidate.

        For a place that counts, and that others respect, take a `lease`.

        Args:
            key: what `rendezvous` goes by: the client's address, say.
            exclude: upstreams not to choose, those already tried.
        """
        excluded = {upstream.address for upstream in all_of("exclude", Upstream, exclude)} if exclude else set()
        candidates = self._candidates(excluded)
        if not candidates:
            return None
        chosen = self._choose(candidates, key, self._random)
        if chosen not in candidates:
            raise ValueError(f"choose must return one of the candidates, got {chosen!r}")
        return chosen

    def lease(self, key: Any = None, *, exclude: Iterable[Upstream] = ()) -> Lease:
        """Choose an upstream and take a place on it: `with balancer.lease() as upstream:`. Never waits.

        The place counts from this call until the block is left. Whoever waits in `acquire` is served first.

        Raises:
            NoUpstreamError: there is no candidate.
        """
        self._line.serve()
        upstream = self.pick(key, exclude=exclude)
        if upstream is None:
            raise NoUpstreamError(f"no upstream to lease: {self._state()}")
        return Lease(upstream, self._line.serve)

    async def acquire(self, key: Any = None, *, timeout: float = math.inf) -> Lease:
        """Take a place, waiting for one if need be: `with await balancer.acquire(timeout=5) as upstream:`.

        First come, first served. A place may come from a lease given back, from good reports, from the end of an
        ejection, and from `replace`, so that it also waits where there are no upstreams at all. When cancelled it holds
        nothing: a place that it was just given goes to the next.

        Args:
            key: as for `pick`.
            timeout: seconds to wait at most.

        Raises:
            NoUpstreamError: there was no place in time.
            TypeError, ValueError: a wrong timeout.
        """
        deadline = trio.current_time() + seconds("timeout", timeout)
        lease = await self._line.wait(key, deadline)
        if lease is None:
            raise NoUpstreamError(f"no upstream within {timeout:g} s: {self._state()}")
        return lease

    def report(self, upstream: Upstream, error: BaseException | None = None, *, probe: bool = False) -> None:
        """Say how an attempt to use `upstream` went: well, or with an error. One that was replaced is passed over.

        Args:
            upstream: which one.
            error: what went wrong; None: nothing did.
            probe: True: this comes from a health check, and `max_ejected` does not hold it back.

        Raises:
            TypeError: `upstream` is no Upstream, or `error` neither None nor an exception.
        """
        if not isinstance(upstream, Upstream):
            raise TypeError(f"upstream must be an Upstream, got {upstream!r}")
        if error is not None and not isinstance(error, BaseException):
            raise TypeError(f"error must be an exception or None, got {error!r}")
        known = self._upstreams.get(upstream.address)
        if known is None:
            return
        if error is None:
            known._health.good(self._rise)
        else:
            self._note_error(known, probe)
        self._line.serve()

    def connect_task(self, *, key: Any = None, attempts: int = 3, timeout: float = 5) -> Factory:
        """Return a factory for a oneshot task that connects the job to one of the upstreams.

        It leases an upstream, dials, reports, and leaves the Stream in `j.value`. Where a dial fails it tries another
        upstream, never the same twice. Its finalizer closes the stream, then gives the lease back. The job's `fields` get
        upstream, attempts and connect_time, also where all dials fail.

        Args:
            key: as for `pick`.
            attempts: how many upstreams to try at most.
            timeout: seconds for each attempt.

        Raises, in the task:
            NoUpstreamError: there was no candidate from the start.
            OSError, ConnectTimeoutError: of the last dial, when all have failed.
        """
        return connect_factory(
            self, key=key, attempts=whole("attempts", attempts), timeout=positive_seconds("timeout", timeout)
        )

    def check_task(
        self,
        *,
        interval: float = 2,
        timeout: float = 1,
        probe: Callable[[Upstream], Awaitable[object]] | None = None,
    ) -> Factory:
        """Return a factory for a task that probes all upstreams at once, at every point of a fixed grid, and reports.

        The first point is the task's start. Probes that take longer than the interval make points be skipped, never
        bunched. When the job is asked to stop, probes under way are abandoned, unreported.

        Args:
            interval: seconds from point to point.
            timeout: seconds for each probe; one that takes longer has failed.
            probe: `await probe(upstream)` returns if the upstream is well and raises if not, best one of `PEER_FAULTS`:
                other exceptions count the same but are also logged with a traceback, as faults of our own. By default a
                connection is made and closed.
        """
        return check_factory(
            self,
            interval=positive_seconds("interval", interval),
            timeout=positive_seconds("timeout", timeout),
            probe=probe if probe is None else function("probe", probe),
        )

    def __repr__(self) -> str:
        return f"<Balancer: {self._state()}, {len(self._line)} waiting>"

    def _candidates(self, excluded: set[str]) -> list[Upstream]:
        free = [
            upstream
            for upstream in self._upstreams.values()
            if not upstream.full and upstream.healthy and upstream.address not in excluded
        ]
        return [upstream for upstream in free if not upstream.backup] or free

    def _offer(self, key: Any) -> Lease | None:
        upstream = self.pick(key)
        return None if upstream is None else Lease(upstream, self._line.serve)

    def _next_return(self) -> float:
        ends = (upstream.ejected_until for upstream in self._upstreams.values())
        return min((end for end in ends if end is not None), default=math.inf)

    def _note_error(self, upstream: Upstream, probe: bool) -> None:
        health = upstream._health
        health.bad()
        if health.errors >= self._fall and (probe or not upstream.healthy or self._traffic_may_eject()):
            health.out_until = trio.current_time() + self._eject_for

    def _traffic_may_eject(self) -> bool:
        return may_eject(self._out(), len(self._upstreams), self._max_ejected)

    def _out(self) -> int:
        return sum(not upstream.healthy for upstream in self._upstreams.values())

    def _state(self) -> str:
        full = sum(upstream.full for upstream in self._upstreams.values())
        return f"{len(self._upstreams)} upstreams, {self._out()} ejected, {full} at their limit"


def _by_address(upstreams: Iterable[Upstream]) -> dict[str, Upstream]:
    found: dict[str, Upstream] = {}
    for upstream in all_of("upstreams", Upstream, upstreams):
        if upstream.address in found:
            raise ValueError(f"upstreams must have different addresses, got {upstream.address!r} twice")
        found[upstream.address] = upstream
    return found


def _checked_choose(choose: Choose) -> Choose:
    # A class is callable too, but RoundRobin for RoundRobin() would fail only at the first pick.
    if isinstance(choose, type) or not callable(choose):
        raise TypeError(f"choose must be a function (candidates, key, random) -> Upstream, got {choose!r}")
    return plain("choose", choose)


def _checked_random(random: Random | None) -> Random:
    if random is None:
        return Random()
    if not isinstance(random, Random):
        raise TypeError(f"random must be a random.Random or None, got {random!r}")
    return random


# Made on private floors, public here: tracebacks and help() should say so.
for _public in (Lease, RoundRobin, Upstream, least_connections, power_of_two, random_choice, rendezvous):
    _public.__module__ = __name__
del _public
