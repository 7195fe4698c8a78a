"""The balancer: which upstreams are candidates, which one is chosen, and which calls have to wait."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias, final

import trio

from ..._core import check
from ..._core.forms import Factory
from ..._core.registry import announce_figures
from .._errors import NoUpstreamError
from ._choice import power_of_two
from ._figures import balancer_figures
from ._roster import Roster, Rules
from ._tasks import check_factory, connect_factory, connect_in
from ._upstream import Lease, Upstream
from ._wait_queue import WaitQueue

if TYPE_CHECKING:
    from ..._core.task import Task
    from .._streams.stream import Stream


Choose: TypeAlias = Callable[[Sequence[Upstream], Any, Random], Upstream]
"""Chooses one of the candidates, at least one, for a key."""


@final
class Balancer:
    """Chooses upstreams for connections, counts the connections of each, and leaves out upstreams that fail.

    Candidates are the upstreams that are healthy, not ejected and below their limit; backups only if there is no other. An
    upstream is ejected after `fall` errors in a row, of traffic or of probes, which are counted separately. It comes back after
    `rise` good reports in a row, counting only those of probes if probes ejected it, or after `eject_for` seconds, whichever
    is first; if it came back by time alone, its next error ejects it again. Each change is an event, `UpstreamChanged`, and a
    log line, `upstream.down` or `upstream.up`; a change by time is reported at the next use of the balancer.

    Args:
        upstreams: the upstreams to start with, no two of the same address. May be empty.
        choose: one of the functions of this module, or your own: `(candidates, key, random) -> Upstream`.
        rise: good reports in a row that end an ejection.
        fall: errors in a row that start an ejection, or restart it.
        eject_for: seconds that an ejection lasts.
        max_ejected: the share of the upstreams, 0 to 1, that traffic may eject: a network that fails for a moment must not
            take out everything. Probes may exceed it; upstreams ejected for either reason count.
        random: the source of random choices; a new one by default.

    Raises:
        TypeError, ValueError: a wrong argument.
    """

    __slots__ = ("__weakref__", "_choose", "_random", "_roster", "_wait_queue")

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
        self._random = _checked_random(random)
        rules = Rules(
            rise=check.int_("rise", rise),
            fall=check.int_("fall", fall),
            eject_for=check.seconds("eject_for", eject_for),
            max_ejected=check.number("max_ejected", max_ejected, least=0, most=1),
        )
        self._roster = Roster(upstreams, rules)
        self._wait_queue = WaitQueue(self._offer, self._roster.next_return)
        announce_figures(self, balancer_figures)

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All upstreams, candidates or not, in the order given."""
        return self._roster.upstreams

    def replace(self, upstreams: Iterable[Upstream]) -> None:
        """Replace the upstreams; connections are not touched.

        If an address stays, its `Upstream` object stays, with its count and health, and takes the weight, limit, backup and
        options of the new one. The same goes for an address that comes back while connections of it are still open. Calls that
        wait in `acquire` are served. Nothing changes if an argument is wrong.

        Raises:
            TypeError, ValueError: as for the constructor.
        """
        self._roster.replace(upstreams)
        self._wait_queue.serve()

    def pick(self, key: Any = None, *, exclude: Iterable[Upstream] = ()) -> Upstream | None:
        """Choose an upstream without counting it; None if there is no candidate.

        For a place that is counted, take a `lease`.

        Args:
            key: the key for `rendezvous`: the client's address, say.
            exclude: upstreams not to choose, such as those already tried.
        """
        self._roster.tell_changes()
        excluded = {upstream.address for upstream in check.list_of("exclude", Upstream, exclude)} if exclude else set()
        candidates = self._roster.candidates(excluded)
        if not candidates:
            return None
        chosen = self._choose(candidates, key, self._random)
        if chosen not in candidates:
            raise ValueError(f"choose must return one of the candidates, got {chosen!r}")
        return chosen

    def lease(self, key: Any = None, *, exclude: Iterable[Upstream] = ()) -> Lease:
        """Choose an upstream and take a place on it: `with balancer.lease() as upstream:`. Never waits.

        The place counts from this call until the block is left. Calls that wait in `acquire` are served first.

        Raises:
            NoUpstreamError: there is no candidate.
        """
        self._wait_queue.serve()
        upstream = self.pick(key, exclude=exclude)
        if upstream is None:
            raise NoUpstreamError(f"no upstream to lease: {self._roster}")
        return Lease(upstream, self._wait_queue.serve)

    async def acquire(self, key: Any = None, *, timeout: float = math.inf) -> Lease:
        """Take a place, waiting for one if necessary: `with await balancer.acquire(timeout=5) as upstream:`.

        First come, first served. A place may come from a lease given back, from good reports, from the end of an ejection, and
        from `replace`: so it also waits if there are no upstreams at all. A cancelled call holds nothing: a place that it was
        just given goes to the next.

        Args:
            key: as for `pick`.
            timeout: the most seconds to wait.

        Raises:
            NoUpstreamError: there was no place in time.
            TypeError, ValueError: a wrong timeout.
        """
        deadline = trio.current_time() + check.seconds("timeout", timeout)
        lease = await self._wait_queue.wait(key, deadline)
        if lease is None:
            raise NoUpstreamError(f"no upstream within {timeout:g} s: {self._roster}")
        return lease

    def report(self, upstream: Upstream, error: BaseException | None = None, *, probe: bool = False) -> None:
        """Report how an attempt to use `upstream` went. A report about an upstream that was replaced is ignored.

        Do not report a shortage of this machine, of descriptors or ports say: it tells nothing about the upstream.

        Args:
            upstream: the upstream that was used.
            error: what went wrong; None if it went well.
            probe: True if this comes from a health check: `max_ejected` does not limit it.

        Raises:
            TypeError: `upstream` is not an Upstream, or `error` is neither None nor an exception.
        """
        if not isinstance(upstream, Upstream):
            raise TypeError(f"upstream must be an Upstream, got {upstream!r}")
        if error is not None and not isinstance(error, BaseException):
            raise TypeError(f"error must be an exception or None, got {error!r}")
        self._roster.tell_changes()  # an upstream that came back by time, and is ejected by this error, has changed twice
        known = self._roster.find(upstream)
        if known is None:
            return
        if error is None:
            self._roster.record_success(known, probe=probe)
        else:
            self._roster.record_failure(known, probe=probe)
        self._wait_queue.serve()
        self._roster.tell_changes(known, error)

    def connect_task(self, *, key: Any = None, attempts: int = 3, timeout: float = 5) -> Factory:
        """Return a factory for a oneshot task that connects the job to one of the upstreams.

        It leases an upstream, dials, reports, and leaves the Stream in `j.value`. If a dial fails it tries another upstream,
        never the same twice. Its finalizer closes the stream, then gives the lease back. The job's `fields` get upstream,
        attempts and connect_time, also if all dials fail.

        Args:
            key: as for `pick`; by default the host of the job's client (its field `client`, which `serve` fills in), so that
                with `rendezvous` a client returns to the same upstream.
            attempts: the most upstreams to try.
            timeout: seconds for each attempt.

        Raises, in the task:
            NoUpstreamError: there was no candidate at the start.
            OSError, ConnectTimeoutError: the error of the last dial, if all have failed.
        """
        return connect_factory(
            self, key=key, attempts=check.int_("attempts", attempts), timeout=check.positive_seconds("timeout", timeout)
        )

    async def connect(self, task: Task, *, key: Any = None, attempts: int = 3, timeout: float = 5) -> Stream:
        """Do what `connect_task` does, in a oneshot of your own that learns the key only in its run.

        The stream is left in the job's value. Right after the task's finalizer it is closed, and then its place is given back.
        The job's `fields` get upstream, attempts and connect_time, of all dials of its tasks.

        Args:
            task: the task that calls this, from its own trio task.
            key, attempts, timeout: as for `connect_task`.

        Raises:
            NoUpstreamError: there was no candidate at the start.
            OSError, ConnectTimeoutError: the error of the last dial, if all have failed.
            JobStateError: called from a trio task that is not the task's own.
            TypeError, ValueError: a wrong argument.
        """
        attempts = check.int_("attempts", attempts)
        seconds_each = check.positive_seconds("timeout", timeout)
        return await connect_in(task, self, key=key, attempts=attempts, timeout=seconds_each)

    def check_task(
        self,
        *,
        interval: float = 2,
        timeout: float = 1,
        probe: Callable[[Upstream], Awaitable[object]] | None = None,
    ) -> Factory:
        """Return a factory for a task that probes all upstreams at once, at every point of a fixed grid, and reports.

        The first point is the start of the task's run. If probes take longer than the interval, points are skipped. When the
        job is asked to stop, probes under way are abandoned and not reported.

        Args:
            interval: seconds from point to point.
            timeout: seconds for each probe; one that takes longer has failed.
            probe: `await probe(upstream)` returns if the upstream is well, and raises if not, preferably one of `PEER_FAULTS`:
                other exceptions count the same but are also logged with a traceback, as faults of our own. The default opens
                and closes a connection of its own; those in the endpoint's pool are left alone.
        """
        return check_factory(
            self,
            self._roster,
            interval=check.positive_seconds("interval", interval),
            timeout=check.positive_seconds("timeout", timeout),
            probe=probe if probe is None else check.function("probe", probe),
        )

    def __repr__(self) -> str:
        return f"<Balancer: {self._roster}, {len(self._wait_queue)} waiting>"

    def _offer(self, key: Any) -> Lease | None:
        upstream = self.pick(key)
        return None if upstream is None else Lease(upstream, self._wait_queue.serve)


def _checked_choose(choose: Choose) -> Choose:
    # A class is callable too, but RoundRobin for RoundRobin() would fail only at the first pick.
    if isinstance(choose, type) or not callable(choose):
        raise TypeError(f"choose must be a function (candidates, key, random) -> Upstream, got {choose!r}")
    return check.plain("choose", choose)


def _checked_random(random: Random | None) -> Random:
    if random is None:
        return Random()
    if not isinstance(random, Random):
        raise TypeError(f"random must be a random.Random or None, got {random!r}")
    return random
