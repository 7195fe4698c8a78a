"""The balancer: who is a candidate, what is counted, who waits and is served, and that nothing is lost on the way."""

import math
import random
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

import job
from job.net.balancer import (
    Balancer,
    Lease,
    NoUpstreamError,
    RoundRobin,
    Upstream,
    UpstreamChanged,
    least_connections,
)
from job.testing import Recorder

ADDRESSES = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"]
ERROR = OSError("refused")


def some(count: int, **options: Any) -> list[Upstream]:
    """Return that many upstreams."""
    return [Upstream(address, **options) for address in ADDRESSES[:count]]


def fail(balancer: Balancer, upstream: Upstream, times: int = 3, *, probe: bool = False) -> None:
    """Report that many errors in a row."""
    for _ in range(times):
        balancer.report(upstream, ERROR, probe=probe)


def reachable(balancer: Balancer) -> set[Upstream]:
    """Return all that can be picked, one after another."""
    found: list[Upstream] = []
    while (upstream := balancer.pick(exclude=found)) is not None:
        found.append(upstream)
    return set(found)


class Waiters:
    """Tasks in `acquire`: who was served, and with what. Who is served in one moment runs in any order."""

    def __init__(self, nursery: trio.Nursery, balancer: Balancer) -> None:
        self.nursery = nursery
        self.balancer = balancer
        self.served: list[str] = []
        self.leases: dict[str, Lease] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def add(self, *names: str, timeout: float = math.inf) -> None:
        """Let one after another begin to wait."""
        for name in names:
            self.nursery.start_soon(self._wait, name, timeout)
            await wait_all_tasks_blocked()

    async def _wait(self, name: str, timeout: float) -> None:
        with trio.CancelScope() as self.scopes[name], suppress(NoUpstreamError):
            self.leases[name] = await self.balancer.acquire(name, timeout=timeout)
            self.served.append(name)


# Upstreams and what is checked of them.


def test_upstream_as_given() -> None:
    """An upstream shows what it was made with, and begins well."""
    upstream = Upstream("10.0.0.1:80", weight=2, limit=5, backup=True, connect_timeout=4)
    assert (upstream.address, upstream.weight, upstream.limit, upstream.backup) == ("10.0.0.1:80", 2, 5, True)
    assert (upstream.active, upstream.healthy, upstream.ejected_until) == (0, True, None)


def test_upstream_has_an_endpoint() -> None:
    """The options go to its endpoint, which refuses those that it does not know."""
    assert Upstream("10.0.0.1:80", connect_timeout=4).endpoint is not None
    with pytest.raises(TypeError, match="colour"):
        Upstream("10.0.0.1:80", colour="red")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("weight", 0, ValueError),
        ("weight", math.inf, ValueError),
        ("weight", math.nan, ValueError),
        ("weight", "2", TypeError),
        ("weight", True, TypeError),
        ("limit", 0, ValueError),
        ("limit", 1.5, TypeError),
        ("backup", "no", TypeError),
    ],
)
def test_upstream_refuses(option: str, value: Any, error: type[Exception]) -> None:
    """A wrong argument is named with its value."""
    with pytest.raises(error, match=f"{option} must be .*, got {value!r}"):
        Upstream("10.0.0.1:80", **{option: value})


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("rise", 0, ValueError),
        ("fall", "3", TypeError),
        ("eject_for", -1, ValueError),
        ("max_ejected", 1.5, ValueError),
        ("choose", RoundRobin, TypeError),
        ("choose", None, TypeError),
        ("random", random, TypeError),
    ],
    ids=str,
)
def test_balancer_refuses(option: str, value: Any, error: type[Exception]) -> None:
    """A wrong argument is named; RoundRobin for RoundRobin() is one."""
    with pytest.raises(error, match=f"{option} must be .*, got "):
        Balancer([], **{option: value})


@pytest.mark.parametrize("wrong", [["10.0.0.1:80"], Upstream("10.0.0.1:80"), None])
def test_upstreams_are_upstreams(wrong: Any) -> None:
    """An address is no upstream yet, and a single upstream no list of them."""
    with pytest.raises(TypeError, match=r"upstreams must be an iterable of Upstream, got .*(10\.0\.0\.1:80|None)"):
        Balancer(wrong)
    with pytest.raises(TypeError, match="exclude must be an iterable of Upstream, got 5"):
        Balancer([]).pick(exclude=5)  # type: ignore[arg-type]


def test_addresses_differ() -> None:
    """The address tells upstreams apart, so it cannot be there twice."""
    with pytest.raises(ValueError, match=r"different addresses, got '10\.0\.0\.1:80' twice"):
        Balancer([*some(1), *some(1)])


# Picking and leasing.


def test_pick_gives_a_candidate() -> None:
    """A pick gives one of the upstreams, and counts nothing."""
    balancer = Balancer(some(2))
    upstream = balancer.pick()
    assert upstream in balancer.upstreams
    assert upstream is not None
    assert upstream.active == 0


def test_pick_of_none() -> None:
    """Without upstreams there is nothing to pick."""
    assert Balancer([]).pick() is None


def test_pick_excludes() -> None:
    """What was tried is left out, until nothing is left."""
    a, b = some(2)
    balancer = Balancer([a, b])
    assert balancer.pick(exclude=[a]) is b
    assert balancer.pick(exclude=iter([a, b])) is None


def test_choose_of_ones_own() -> None:
    """The choice gets the candidates, the key and the chance that was given."""
    a, b = some(2)
    chance, seen = random.Random(1), []

    def choose(candidates: Any, key: Any, random: Any) -> Upstream:
        seen.append((candidates, key, random))
        return b

    assert Balancer([a, b], choose=choose, random=chance).pick("ada") is b
    assert seen == [([a, b], "ada", chance)]


def test_choose_must_choose() -> None:
    """A choice that gives something else is named for it."""
    with pytest.raises(ValueError, match="choose must return one of the candidates, got None"):
        Balancer(some(1), choose=lambda candidates, key, random: None).pick()  # type: ignore[arg-type,return-value]


def test_chance_can_be_given() -> None:
    """The same chance gives the same picks."""
    picks = [
        [balancer.pick() for _ in range(20)]
        for upstreams in [some(4)]
        for balancer in (Balancer(upstreams, random=random.Random(3)), Balancer(upstreams, random=random.Random(3)))
    ]
    assert picks[0] == picks[1]


def test_lease_counts() -> None:
    """A lease counts from the call until the block is left."""
    [a] = some(1)
    balancer = Balancer([a])
    with balancer.lease() as upstream:
        assert upstream is a
        assert a.active == 1
    assert a.active == 0


def test_lease_counts_whatever_happens() -> None:
    """An error in the block gives the place back too."""
    [a] = some(1)
    with pytest.raises(KeyError), Balancer([a]).lease():
        raise KeyError
    assert a.active == 0


def test_release_once() -> None:
    """A lease is given back once, however often that is said."""
    [a] = some(1)
    balancer = Balancer([a])
    first, second = balancer.lease(), balancer.lease()
    first.release()
    first.release()
    assert a.active == 1
    assert second.upstream is a


def test_lease_is_good_for_one_use() -> None:
    """A lease that was given back is no place any more."""
    lease = Balancer(some(1)).lease()
    lease.release()
    with pytest.raises(RuntimeError, match=r"lease of 10\.0\.0\.1:80 was given back"), lease:
        pass


def test_lease_excludes() -> None:
    """A lease leaves out what was tried."""
    a, b = some(2)
    with Balancer([a, b]).lease("key", exclude=[a]) as upstream:
        assert upstream is b


def test_limit() -> None:
    """An upstream at its limit is no candidate until a place is given back."""
    a, b = some(2, limit=1)
    balancer = Balancer([a, b])
    with balancer.lease() as first:
        with balancer.lease() as second:
            assert {first, second} == {a, b}
            with pytest.raises(NoUpstreamError, match="2 upstreams, 0 ejected, 2 at their limit"):
                balancer.lease()
        assert balancer.pick() is second


def test_backup() -> None:
    """A backup is taken only where no other is a candidate."""
    [a] = some(1, limit=1)
    b = Upstream("10.0.0.9:80", backup=True)
    balancer = Balancer([b, a])
    with balancer.lease() as first, balancer.lease() as second:
        assert (first, second) == (a, b)


def test_outside_of_trio() -> None:
    """Where nothing is ejected nobody asks for a clock, so a balancer works outside of trio."""
    balancer = Balancer(some(1))
    fail(balancer, balancer.upstreams[0], 2)
    balancer.report(balancer.upstreams[0])
    assert balancer.pick() is balancer.upstreams[0]


def test_reprs() -> None:
    """What is printed says what is going on."""
    [a] = some(1, limit=2)
    balancer = Balancer([a])
    lease = balancer.lease()
    assert repr(a) == "<Upstream 10.0.0.1:80 healthy, 1 active, limit 2, weight 1>"
    assert repr(balancer) == "<Balancer: 1 upstreams, 0 ejected, 0 at their limit, 0 waiting>"
    assert repr(lease) == "<Lease of 10.0.0.1:80, held>"
    lease.release()
    assert repr(lease) == "<Lease of 10.0.0.1:80, given back>"


def test_what_is_printed_of_the_ejected_after_the_run() -> None:
    """Outside of trio, in a thread that writes the log say, there is no clock, and who is out is out."""
    [a] = some(1)
    balancer = Balancer([a], max_ejected=1)

    async def main() -> None:
        fail(balancer, a)
        await trio.sleep(100)
        assert a.healthy

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert repr(a) == "<Upstream 10.0.0.1:80 ejected until 30, 0 active, limit None, weight 1>"
    assert repr(balancer) == "<Balancer: 1 upstreams, 1 ejected, 0 at their limit, 0 waiting>"
    assert balancer.pick() is None


# Health.


async def test_fall(autojump_clock: MockClock) -> None:
    """So many errors in a row eject an upstream; one less does not."""
    a, b = some(2)
    balancer = Balancer([a, b], fall=3, eject_for=30)
    fail(balancer, a, 2)
    assert a.healthy
    fail(balancer, a, 1)
    assert (a.healthy, a.ejected_until) == (False, trio.current_time() + 30)
    assert reachable(balancer) == {b}
    assert repr(a) == "<Upstream 10.0.0.1:80 ejected until 30, 0 active, limit None, weight 1>"


async def test_fall_in_a_row(autojump_clock: MockClock) -> None:
    """A good report in between begins the count anew."""
    a, b = some(2)
    balancer = Balancer([a, b], fall=3)
    fail(balancer, a, 2)
    balancer.report(a)
    fail(balancer, a, 2)
    assert a.healthy


async def test_rise(autojump_clock: MockClock) -> None:
    """So many good reports in a row end an ejection before its time."""
    a, b = some(2)
    balancer = Balancer([a, b], rise=2)
    fail(balancer, a)
    balancer.report(a)
    assert not a.healthy
    balancer.report(a)
    assert (a.healthy, a.ejected_until) == (True, None)


async def test_rise_in_a_row(autojump_clock: MockClock) -> None:
    """An error in between begins the count anew."""
    a, b = some(2)
    balancer = Balancer([a, b], rise=2)
    fail(balancer, a)
    for error in (None, ERROR, None):
        balancer.report(a, error)
    assert not a.healthy


async def test_ejection_ends(autojump_clock: MockClock) -> None:
    """When its time is over an upstream is a candidate again, with no good report at all."""
    a, b = some(2)
    balancer = Balancer([a, b], eject_for=30)
    fail(balancer, a)
    await trio.sleep(29.9)
    assert reachable(balancer) == {b}
    await trio.sleep(0.1)
    assert reachable(balancer) == {a, b}
    assert (a.healthy, a.ejected_until) == (True, None)


async def test_ejected_again_at_once(autojump_clock: MockClock) -> None:
    """One that time let in again is out at its next error: those before it were in the same row."""
    a, b = some(2)
    balancer = Balancer([a, b], eject_for=30)
    fail(balancer, a)
    await trio.sleep(31)
    fail(balancer, a, 1)
    assert a.ejected_until == 61


async def test_ejection_lasts_while_it_fails(autojump_clock: MockClock) -> None:
    """Each further error, of a health check say, starts the time anew."""
    a, b = some(2)
    balancer = Balancer([a, b], eject_for=30)
    fail(balancer, a)
    await trio.sleep(10)
    fail(balancer, a, 1, probe=True)
    assert a.ejected_until == 40


async def test_max_ejected(autojump_clock: MockClock) -> None:
    """With 4 upstreams and a share of 0.5 two stay, whatever traffic reports."""
    upstreams = some(4)
    balancer = Balancer(upstreams, max_ejected=0.5)
    for upstream in upstreams:
        fail(balancer, upstream, 10)
    assert reachable(balancer) == set(upstreams[2:])


async def test_max_ejected_makes_room(autojump_clock: MockClock) -> None:
    """One that could not be ejected is at its next error once there is room."""
    a, b = some(2)
    balancer = Balancer([a, b], max_ejected=0.5, rise=1)
    fail(balancer, a)
    fail(balancer, b)
    assert b.healthy
    balancer.report(a)
    fail(balancer, b, 1)
    assert not b.healthy


async def test_max_ejected_does_not_bind_probes(autojump_clock: MockClock) -> None:
    """Probes take out what is down, up to the last one."""
    upstreams = some(4)
    balancer = Balancer(upstreams, max_ejected=0.5)
    for upstream in upstreams:
        fail(balancer, upstream, probe=True)
    assert balancer.pick() is None
    with pytest.raises(NoUpstreamError, match="4 upstreams, 4 ejected"):
        balancer.lease()


async def test_what_probes_took_out_counts(autojump_clock: MockClock) -> None:
    """Where probes have taken out half of them, traffic takes out no more."""
    a, b, c, d = some(4)
    balancer = Balancer([a, b, c, d], max_ejected=0.5)
    fail(balancer, a, probe=True)
    fail(balancer, b, probe=True)
    fail(balancer, c)
    assert reachable(balancer) == {c, d}


async def test_extension_needs_no_room(autojump_clock: MockClock) -> None:
    """An upstream that is out already may be kept out, also where no other may follow."""
    a, b = some(2)
    balancer = Balancer([a, b], max_ejected=0.5, eject_for=30)
    fail(balancer, a)
    await trio.sleep(10)
    fail(balancer, a, 1)
    assert a.ejected_until == 40


@pytest.mark.parametrize("probe", [False, True])
async def test_neither_clears_the_others_errors(probe: bool, autojump_clock: MockClock) -> None:
    """An upstream that fails one of probes and traffic every time is out, however often the other goes well."""
    [a] = some(1)
    balancer = Balancer([a], fall=3, max_ejected=1)
    for _ in range(3):
        balancer.report(a, ERROR, probe=probe)
        for _ in range(3):
            balancer.report(a, probe=not probe)
        balancer.report(a, ERROR, probe=probe)
    assert not a.healthy


async def test_errors_of_both_do_not_add_up(autojump_clock: MockClock) -> None:
    """It takes `fall` errors of one kind."""
    [a] = some(1)
    balancer = Balancer([a], fall=3, max_ejected=1)
    for probe in (True, False, True, False):
        balancer.report(a, ERROR, probe=probe)
    assert a.healthy


async def test_traffic_does_not_bring_in_what_probes_took_out(autojump_clock: MockClock) -> None:
    """Connections that were on their way come to an upstream that says that it is not ready: that is no recovery."""
    [a] = some(1)
    balancer = Balancer([a], fall=3, rise=2)
    fail(balancer, a, probe=True)
    for _ in range(5):
        balancer.report(a)
    assert not a.healthy
    balancer.report(a, probe=True)
    balancer.report(a, probe=True)
    assert a.healthy


async def test_probes_bring_in_what_traffic_took_out(autojump_clock: MockClock) -> None:
    """Who is out has no traffic, so it is for the probes to find it well again."""
    a, b = some(2)
    balancer = Balancer([a, b], fall=3, rise=2)
    fail(balancer, a)
    balancer.report(a, probe=True)
    balancer.report(a, probe=True)
    assert a.healthy


async def test_out_for_both(autojump_clock: MockClock) -> None:
    """One that traffic took out, and probes after it, comes in as one that probes took out."""
    [a] = some(1)
    balancer = Balancer([a], fall=2, rise=1, max_ejected=1)
    fail(balancer, a, 2)
    fail(balancer, a, 2, probe=True)
    fail(balancer, a, 1)
    balancer.report(a)
    assert not a.healthy
    balancer.report(a, probe=True)
    assert a.healthy


def test_report_of_the_gone() -> None:
    """A connection may outlive its upstream's place in the balancer; its report is passed over."""
    [a, b] = some(2)
    fail(Balancer([b]), a)
    assert a.healthy


def test_report_refuses() -> None:
    """Only an Upstream can be reported on, and only an exception is an error."""
    balancer = Balancer(some(1))
    with pytest.raises(TypeError, match=r"upstream must be an Upstream, got '10\.0\.0\.1:80'"):
        balancer.report("10.0.0.1:80")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="error must be an exception or None, got 'refused'"):
        balancer.report(balancer.upstreams[0], "refused")  # type: ignore[arg-type]


# Replacing.


def test_replace_keeps_counts() -> None:
    """Where an address stays, the upstream stays with its count, and takes the new settings."""
    a, b = some(2)
    balancer = Balancer([a, b], choose=least_connections)
    with balancer.lease(exclude=[b]):
        balancer.replace([Upstream("10.0.0.3:80"), Upstream("10.0.0.1:80", weight=2, limit=1, backup=True)])
        assert [upstream.address for upstream in balancer.upstreams] == ["10.0.0.3:80", "10.0.0.1:80"]
        assert balancer.upstreams[1] is a
        assert (a.active, a.weight, a.limit, a.backup) == (1, 2, 1, True)
    assert a.active == 0


def test_replace_by_the_same() -> None:
    """The very same upstreams may be given again."""
    a, b = some(2)
    balancer = Balancer([a, b])
    balancer.replace(balancer.upstreams)
    assert balancer.upstreams == (a, b)


async def test_replace_keeps_health(autojump_clock: MockClock) -> None:
    """A reload does not make a bad upstream good."""
    a, b = some(2)
    balancer = Balancer([a, b])
    fail(balancer, a)
    balancer.replace(some(2))
    assert reachable(balancer) == {b}


def test_replace_and_endpoints() -> None:
    """The endpoint stays, with what it holds, unless its options are others."""
    [a] = some(1)
    balancer, endpoint = Balancer([a]), a.endpoint
    balancer.replace(some(1))
    assert a.endpoint is endpoint
    balancer.replace(some(1, connect_timeout=1))
    assert a.endpoint is not endpoint


def test_replace_all_or_nothing() -> None:
    """A wrong list changes nothing, not even the part of it that was right."""
    [a] = some(1)
    balancer = Balancer([a])
    with pytest.raises(TypeError, match="upstreams must be an iterable of Upstream, got 5"):
        balancer.replace([Upstream("10.0.0.1:80", weight=2), 5])  # type: ignore[list-item]
    assert balancer.upstreams == (a,)
    assert a.weight == 1


def test_lease_of_the_gone() -> None:
    """A lease outlives its upstream's place in the balancer."""
    [a] = some(1)
    balancer = Balancer([a])
    with balancer.lease():
        balancer.replace([])
        assert balancer.pick() is None
    assert a.active == 0


def test_replace_brings_back_the_living() -> None:
    """An upstream that discovery drops for a moment goes on with the connections that it still has."""
    balancer = Balancer(some(1, limit=2))
    with balancer.lease() as first, balancer.lease():
        for others in ([], some(2)[1:]):
            balancer.replace(others)
        balancer.replace(some(2, limit=2))
        assert balancer.upstreams[0] is first
        assert (first.active, first.full) == (2, True)
    assert first.active == 0


def test_replace_forgets_the_gone() -> None:
    """One that has no connection left by then begins anew."""
    [a] = some(1)
    balancer = Balancer([a])
    with balancer.lease():
        balancer.replace([])
    balancer.replace(some(1))
    assert balancer.upstreams[0] is not a


async def test_replace_brings_back_the_bad(autojump_clock: MockClock) -> None:
    """One that comes back with its connections comes back with its health, too."""
    a, b = some(2)
    balancer = Balancer([a, b])
    with balancer.lease(exclude=[b]):
        fail(balancer, a)
        balancer.replace([b])
        balancer.replace(some(2))
        assert reachable(balancer) == {b}


# Waiting.


async def test_acquire_at_once(autojump_clock: MockClock) -> None:
    """Where there is a place, acquire gives it at once, even without any time."""
    [a] = some(1)
    with await Balancer([a]).acquire(timeout=0) as upstream:
        assert upstream is a
        assert a.active == 1
    assert trio.current_time() == 0


async def test_acquire_is_a_checkpoint(autojump_clock: MockClock) -> None:
    """It is one always, as everything async in trio."""
    with trio.testing.assert_checkpoints():
        (await Balancer(some(1)).acquire()).release()


async def test_acquire_times_out(autojump_clock: MockClock) -> None:
    """Without a place in time it raises NoUpstreamError."""
    balancer = Balancer(some(1, limit=1))
    with balancer.lease(), pytest.raises(NoUpstreamError, match="no upstream within 5 s: 1 upstreams"):
        await balancer.acquire(timeout=5)
    assert trio.current_time() == 5
    assert "0 waiting" in repr(balancer)


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("5", TypeError)])
async def test_acquire_refuses(timeout: Any, error: type[Exception]) -> None:
    """A wrong timeout is named with its value."""
    with pytest.raises(error, match=f"timeout must be .*, got {timeout!r}"):
        await Balancer(some(1)).acquire(timeout=timeout)


async def test_first_come_first_served(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Places go to the waiters in the order that they came."""
    balancer = Balancer(some(1, limit=1))
    lease, waiters = balancer.lease(), Waiters(nursery, balancer)
    await waiters.add("a", "b", "c")
    for name in "abc":
        lease.release()
        await wait_all_tasks_blocked()
        lease = waiters.leases[name]
    assert waiters.served == ["a", "b", "c"]
    assert lease.upstream.active == 1


async def test_nobody_pushes_in(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A place given back is the first waiter's, also before that has run."""
    balancer = Balancer(some(1, limit=1))
    lease, waiters = balancer.lease(), Waiters(nursery, balancer)
    await waiters.add("a")
    lease.release()
    with pytest.raises(NoUpstreamError):
        balancer.lease()
    await wait_all_tasks_blocked()
    assert waiters.served == ["a"]


async def test_nobody_pushes_in_at_an_ejections_end(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A place that time gives back is the first waiter's, also where another looks before that has run."""
    [a] = some(1, limit=1)
    balancer = Balancer([a], eject_for=30)
    fail(balancer, a, probe=True)
    waiters = Waiters(nursery, balancer)
    await waiters.add("a")
    autojump_clock.autojump_threshold = math.inf
    autojump_clock.jump(30)
    with pytest.raises(NoUpstreamError):
        balancer.lease()
    await wait_all_tasks_blocked()
    assert waiters.served == ["a"]


async def test_woken_by_replace(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Waiting goes on where there are no upstreams, and new ones serve as many as they can."""
    balancer = Balancer([])
    waiters = Waiters(nursery, balancer)
    await waiters.add("a", "b", "c")
    balancer.replace(some(2, limit=1))
    await wait_all_tasks_blocked()
    assert set(waiters.served) == {"a", "b"}
    balancer.replace(some(2, limit=2))
    await wait_all_tasks_blocked()
    assert set(waiters.served) == {"a", "b", "c"}


async def test_woken_by_good_reports(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An upstream that rises serves those who wait."""
    [a] = some(1)
    balancer = Balancer([a], rise=1, eject_for=math.inf)
    fail(balancer, a, probe=True)
    waiters = Waiters(nursery, balancer)
    await waiters.add("a")
    balancer.report(a, probe=True)
    await wait_all_tasks_blocked()
    assert waiters.served == ["a"]


async def test_woken_by_an_ejections_end(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The end of an ejection serves those who wait, as many as there are places, with nobody doing anything."""
    [a] = some(1, limit=2)
    balancer = Balancer([a], eject_for=30)
    fail(balancer, a, probe=True)
    waiters = Waiters(nursery, balancer)
    await waiters.add("a", "b", "c")
    await trio.sleep(30)
    await wait_all_tasks_blocked()
    assert set(waiters.served) == {"a", "b"}
    assert trio.current_time() == 30


async def test_ejected_while_waiting(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An upstream that is ejected while others wait for its places serves them when it is back."""
    [a] = some(1, limit=1)
    balancer = Balancer([a], eject_for=30)
    lease, waiters = balancer.lease(), Waiters(nursery, balancer)
    await waiters.add("a", timeout=40)
    fail(balancer, a, probe=True)
    lease.release()
    await wait_all_tasks_blocked()
    assert waiters.served == []
    await trio.sleep(31)
    assert waiters.served == ["a"]


async def test_alarm_for_nothing(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An ejection's end that brings no place is no reason to give up, nor to give up late."""
    [a] = some(1, limit=1)
    balancer = Balancer([a], eject_for=10)
    lease = balancer.lease()
    fail(balancer, a, probe=True)
    with pytest.raises(NoUpstreamError):
        await balancer.acquire(timeout=20)
    assert trio.current_time() == 20
    lease.release()


async def test_ejection_ends_with_the_timeout(autojump_clock: MockClock) -> None:
    """A place that comes at the very end of the timeout is taken."""
    [a] = some(1)
    balancer = Balancer([a], eject_for=30)
    fail(balancer, a, probe=True)
    with await balancer.acquire(timeout=30) as upstream:
        assert upstream is a


@pytest.mark.parametrize("leaves", ["cancelled", "timed out"])
async def test_the_next_gets_the_alarm(leaves: str, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """When the first in line leaves, the end of an ejection wakes the second."""
    [a] = some(1)
    balancer = Balancer([a], eject_for=30)
    fail(balancer, a, probe=True)
    waiters = Waiters(nursery, balancer)
    await waiters.add("a", timeout=math.inf if leaves == "cancelled" else 10)
    await waiters.add("b")
    if leaves == "cancelled":
        waiters.scopes["a"].cancel()
    await trio.sleep(31)
    assert waiters.served == ["b"]


async def test_cancelled_waiter_leaves_the_line(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """One that is cancelled while it waits is passed over."""
    balancer = Balancer(some(1, limit=1))
    lease, waiters = balancer.lease(), Waiters(nursery, balancer)
    await waiters.add("a", "b")
    waiters.scopes["a"].cancel()
    await wait_all_tasks_blocked()
    lease.release()
    await wait_all_tasks_blocked()
    assert waiters.served == ["b"]


@pytest.mark.parametrize("first", ["release", "cancel"])
async def test_cancelled_in_the_same_moment(first: str, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A place is never lost where the hand-over and the cancellation meet: the waiter has it, or the next."""
    [a] = some(1, limit=1)
    balancer = Balancer([a])
    lease, waiters = balancer.lease(), Waiters(nursery, balancer)
    await waiters.add("a", "b")
    steps = [lease.release, waiters.scopes["a"].cancel]
    for step in steps if first == "release" else reversed(steps):
        step()
    await wait_all_tasks_blocked()
    assert len(waiters.served) == a.active == 1


async def test_cancelled_with_a_place_in_hand(autojump_clock: MockClock) -> None:
    """A waiter that is cancelled before it can return gives what it was handed to the next."""
    [a] = some(1, limit=1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await Balancer([a]).acquire()
    assert scope.cancelled_caught
    assert a.active == 0


async def test_choice_that_fails_for_a_waiter(autojump_clock: MockClock) -> None:
    """An error of the choice belongs to the one it was made for, not to the one who gave the place back."""
    [a] = some(1, limit=1)

    def choose(candidates: Any, key: Any, random: Any) -> Upstream:
        if key == "bad":
            raise KeyError(key)
        return a

    balancer = Balancer([a], choose=choose)
    lease = balancer.lease()
    with pytest.RaisesGroup(KeyError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(balancer.acquire, "bad")
            await wait_all_tasks_blocked()
            lease.release()
    assert a.active == 0


@pytest.mark.parametrize("error", [KeyError("bad"), SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
async def test_whatever_a_choice_raises(error: BaseException, autojump_clock: MockClock) -> None:
    """It comes out where the choice was asked for, no place is taken, and those who wait behind are served."""
    [a] = some(1, limit=1)
    served = []

    def choose(candidates: Any, key: Any, random: Any) -> Upstream:
        if key == "bad":
            raise error
        return a

    async def acquire(key: str) -> None:
        try:
            with await balancer.acquire(key):
                served.append(key)
        except BaseException as caught:
            served.append(caught)

    balancer = Balancer([a], choose=choose)
    for ask in (balancer.pick, balancer.lease):
        with pytest.raises(type(error)):
            ask("bad")
    lease = balancer.lease()
    async with trio.open_nursery() as nursery:
        for key in ("bad", "good"):
            nursery.start_soon(acquire, key)
            await wait_all_tasks_blocked()
        lease.release()
    assert error in served
    assert "good" in served
    assert a.active == 0


async def test_chance_that_fails(autojump_clock: MockClock) -> None:
    """A source of chance is the user's, too."""

    class Broken(random.Random):
        """Chance that is none."""

        def choices(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError

    upstreams = some(2)
    balancer = Balancer(upstreams, random=Broken())
    with pytest.raises(ZeroDivisionError):
        balancer.lease()
    with pytest.raises(ZeroDivisionError):
        await balancer.acquire()
    assert [upstream.active for upstream in upstreams] == [0, 0]


async def test_a_choice_that_calls_back(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A choice that frees another place, while one is being handed out, serves nobody twice."""
    a, b = some(2, limit=1)
    spare: list[Lease] = []

    def choose(candidates: Any, key: Any, random: Any) -> Upstream:
        while spare:
            spare.pop().release()
        return candidates[0]  # type: ignore[no-any-return]

    balancer = Balancer([a, b], choose=choose)
    held, other = balancer.lease(), balancer.lease()
    waiters = Waiters(nursery, balancer)
    await waiters.add("one", "two")
    spare.append(other)
    held.release()
    await wait_all_tasks_blocked()
    assert {name: lease.upstream for name, lease in waiters.leases.items()} == {
        "one": held.upstream,
        "two": other.upstream,
    }
    assert (a.active, b.active) == (1, 1)


class Worker:
    """One of many that take places and give them back, and may be cancelled anywhere."""

    def __init__(self, balancer: Balancer, start: float, patience: float, work: float) -> None:
        self.balancer = balancer
        self.start = start
        self.patience = patience
        self.work = work

    async def run(self) -> None:
        """Work for a while at a place, if there is one in time, within the patience of who waits for it."""
        await trio.sleep(self.start)
        with trio.move_on_after(self.patience):
            try:
                with await self.balancer.acquire(timeout=3) as upstream:
                    assert upstream.limit is not None
                    assert upstream.active <= upstream.limit
                    await trio.sleep(self.work)
            except NoUpstreamError:
                self.balancer.report(self.balancer.upstreams[0], ERROR)


times = st.integers(0, 12).map(lambda n: n / 2)


@given(st.lists(st.tuples(times, times, times), max_size=25), st.integers(1, 3), st.integers(0, 2**32))
def test_nothing_is_lost(plan: list[tuple[float, float, float]], limit: int, seed: int) -> None:
    """Whoever comes, gives up, is cancelled or works, and in whatever order: at the end every place is free again."""
    upstreams = some(2, limit=limit)
    balancer = Balancer(upstreams, random=random.Random(seed), eject_for=2, fall=1)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for moments in plan:
                nursery.start_soon(Worker(balancer, *moments).run)
        assert "0 waiting" in repr(balancer)
        await trio.sleep(2)
        assert reachable(balancer) == set(upstreams)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [upstream.active for upstream in upstreams] == [0, 0]


class Model:
    """The health of one upstream, as it is promised, in the plainest words there are."""

    def __init__(self, rise: int, fall: int, eject_for: float) -> None:
        self.rise, self.fall, self.eject_for = rise, fall, eject_for
        self.rows: dict[bool, int] = {False: 0, True: 0}
        self.until = 0.0
        self.needs_probes = False
        self.goods = 0

    def report(self, now: float, bad: bool, probe: bool) -> None:
        """Hear of one attempt; nothing caps the ejections."""
        out = now < self.until
        if bad:
            self.rows[probe] += 1
            self.goods = 0
            fallen = self.rows[probe] >= self.fall
            if out or fallen:
                self.needs_probes = (probe and fallen) or (out and self.needs_probes)
                self.until = now + self.eject_for
            return
        self.rows[probe] = 0
        if out and (probe or not self.needs_probes):
            self.goods += 1
            if self.goods >= self.rise:
                self.until = 0.0


reports = st.lists(st.tuples(st.sampled_from([0, 0, 1, 4]), st.booleans(), st.booleans()), max_size=40)


@given(reports, st.integers(1, 3), st.integers(1, 3))
def test_health_is_what_is_promised(plan: list[tuple[float, bool, bool]], rise: int, fall: int) -> None:
    """Whatever is reported and when: who is out, until when, and that each change is told exactly once."""
    recorder = Recorder()
    [a] = some(1)
    balancer = Balancer([a], rise=rise, fall=fall, eject_for=10, max_ejected=1)
    model = Model(rise, fall, 10)

    async def main() -> None:
        for pause, bad, probe in plan:
            await trio.sleep(pause)
            balancer.report(a, ERROR if bad else None, probe=probe)
            model.report(trio.current_time(), bad, probe)
            assert a.healthy == (trio.current_time() >= model.until)
            assert a.healthy or a.ejected_until == model.until
            changes = recorder.of(UpstreamChanged)
            assert a.healthy == (changes[-1].new if changes else True)

    unregister = job.register_observer(recorder)
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        unregister()
    told = [(change.old, change.new) for change in recorder.of(UpstreamChanged)]
    assert told == [(True, False), (False, True)] * (len(told) // 2) + [(True, False)] * (len(told) % 2)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=60),
    st.integers(1, 4),
    st.sampled_from([0, 0.3, 0.5, 1]),
)
def test_traffic_never_takes_out_too_many(plan: list[tuple[int, bool, bool]], count: int, share: float) -> None:
    """However reports come, traffic alone leaves so many in; only probes take out more."""
    upstreams = some(count)
    balancer = Balancer(upstreams, fall=2, max_ejected=share)

    async def main() -> None:
        for index, bad, probe in plan:
            before = [upstream.healthy for upstream in upstreams]
            balancer.report(upstreams[index % count], ERROR if bad else None, probe=probe)
            out = [upstream.healthy for upstream in upstreams].count(False)
            assert out <= before.count(False) or probe or out <= share * count
            assert (balancer.pick() is None) == (out == count)

    trio.run(main, clock=MockClock())
