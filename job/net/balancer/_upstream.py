"""One server behind a balancer: its health, and the lease of a place on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, final

import trio

from ..._core import check
from .._endpoints.endpoint import Endpoint


@dataclass(slots=True)
class Health:
    """The health of one upstream. Reports write it through `record_success`, `record_failure` and `eject`.

    Probes and traffic look at different things, so neither clears the errors of the other: a server that answers a probe may
    fail its clients, and one that takes connections may say in a probe that it is not ready. For the same reason an upstream
    that probes ejected is brought back by good probes, not by a connection that was under way; one that traffic ejected gets no
    traffic, and any good report counts.

    `out_until` is None while the upstream is in. A time in the past means in as well, so that nothing has to clear it. The
    counts survive that time: an upstream that came back by time is out again at its next error, instead of failing the full
    number of clients once more.
    """

    failures: list[int] = field(default_factory=lambda: [0, 0])
    """Failures in a row, of traffic and of probes: `failures[probe]`."""
    successes: int = 0
    out_until: float | None = None
    out_by_probes: bool = False

    def is_out(self, now: float) -> bool:
        """Return True if the upstream takes no connections at `now`."""
        return self.out_until is not None and now < self.out_until

    def record_success(self, rise: int, *, probe: bool) -> None:
        """Record a good report; `rise` of them in a row bring the upstream back."""
        self.failures[probe] = 0
        if probe or not self.out_by_probes:
            self.successes += 1
            if self.successes >= rise:
                self.out_until = None
                self.out_by_probes = False

    def record_failure(self, fall: int, *, probe: bool) -> bool:
        """Record an error; return True from the `fall`th in a row on. The caller decides whether that ejects it."""
        self.successes = 0
        self.failures[probe] += 1
        return self.failures[probe] >= fall

    def eject(self, until: float, *, by_probes: bool) -> None:
        """Eject the upstream, or keep it out longer."""
        self.out_until = until
        self.out_by_probes = by_probes


def may_eject(out: int, total: int, share: float) -> bool:
    """Return True if one more of `total` upstreams may go out when `out` are out and `share` is the most."""
    # The billionth corrects products such as 0.29 * 100, which is a little less than 29.
    return out + 1 <= share * total + 1e-9


@final
class Upstream:
    """A server that a balancer sends connections to.

    It belongs to one balancer; only that writes its counts.

    Args:
        address: as for `Endpoint`; also the upstream's identity within its balancer.
        weight: its share of the connections relative to the others', a millionth to a million.
        limit: the most connections at once; None for no limit. (The Endpoint's own `limit` is about accepting.)
        backup: True if it is a candidate only when no other upstream is.
        **options: the options of its `Endpoint`.

    Raises:
        TypeError, ValueError: a wrong argument, of the Endpoint included.
    """

    __slots__ = (
        "__weakref__",
        "_active",
        "_address",
        "_backup",
        "_endpoint",
        "_health",
        "_known_healthy",
        "_limit",
        "_options",
        "_weight",
    )

    def __init__(
        self, address: str, *, weight: float = 1, limit: int | None = None, backup: bool = False, **options: Any
    ) -> None:
        self._address = address
        # The range is wide enough for any use, and narrow enough for the arithmetic of the choices.
        self._weight = check.number("weight", weight, least=1e-6, most=1e6)
        self._limit = limit if limit is None else check.int_("limit", limit)
        self._backup = check.bool_("backup", backup)
        self._options = options
        self._endpoint = Endpoint(address, **options)
        self._active = 0
        self._health = Health()
        self._known_healthy = True  # as last announced

    @property
    def address(self) -> str:
        """The address as given."""
        return self._address

    @property
    def weight(self) -> float:
        """Its share relative to the other upstreams'."""
        return self._weight

    @property
    def limit(self) -> int | None:
        """The most connections at once, or None."""
        return self._limit

    @property
    def backup(self) -> bool:
        """True if it serves only when no other upstream can."""
        return self._backup

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that dials it."""
        return self._endpoint

    @property
    def active(self) -> int:
        """How many leases of it are held."""
        return self._active

    @property
    def healthy(self) -> bool:
        """True unless it is ejected: until enough good reports, or the end of the ejection."""
        return self.ejected_until is None

    @property
    def ejected_until(self) -> float | None:
        """When its ejection ends, in seconds on trio's clock; None if it is not ejected."""
        until = self._health.out_until
        # Read the clock only if there is an ejection. Outside of trio, in a thread that writes the log say, there is no clock,
        # and an ejection has no end.
        if until is None or (trio.lowlevel.in_trio_run() and not self._health.is_out(trio.current_time())):
            return None
        return until

    @property
    def full(self) -> bool:
        """True if it has as many connections as its limit allows."""
        return self._limit is not None and self._active >= self._limit

    def _adopt(self, newer: Upstream) -> None:
        """Take the settings of another description of the same address; counts and health stay."""
        self._weight, self._limit, self._backup = newer._weight, newer._limit, newer._backup
        # The same options mean the same endpoint, with its idle connections and its statistics.
        if newer._options != self._options:
            self._options, self._endpoint = newer._options, newer._endpoint

    def __repr__(self) -> str:
        state = "healthy" if self.healthy else f"ejected until {self.ejected_until:g}"
        return (
            f"<Upstream {self._address} {state}, {self._active} active, limit {self._limit}, weight {self._weight:g}>"
        )


@final
class Lease:
    """A place on an upstream, counted in `Upstream.active` until it is given back.

    A context manager: the block gets the upstream, and its end gives the place back, however it ends. Without the block,
    call `release`.
    """

    __slots__ = ("_on_release", "_upstream")

    def __init__(self, upstream: Upstream, on_release: Callable[[], None]) -> None:
        self._upstream = upstream
        self._on_release: Callable[[], None] | None = on_release
        upstream._active += 1

    @property
    def upstream(self) -> Upstream:
        """The upstream that the place is on."""
        return self._upstream

    def release(self) -> None:
        """Give the place back; the first waiting call gets it. Harmless the second time."""
        on_release, self._on_release = self._on_release, None
        if on_release is not None:
            self._upstream._active -= 1
            on_release()

    def __enter__(self) -> Upstream:
        if self._on_release is None:
            raise RuntimeError(f"this lease of {self._upstream.address} was given back; take a new one")
        return self._upstream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Lease of {self._upstream.address}, {'given back' if self._on_release is None else 'held'}>"
