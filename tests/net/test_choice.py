"""Choices: each of them goes by its rule, and weights count in all."""

import gc
import weakref
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.net.balancer._choice import RoundRobin, least_connections, power_of_two, random_choice, rendezvous
from job.net.balancer._upstream import Health, may_eject

CHOICES = [random_choice, RoundRobin(), least_connections, power_of_two, rendezvous]
each_choice = pytest.mark.parametrize("choose", CHOICES, ids=lambda choose: getattr(choose, "__name__", "RoundRobin"))


class Server:
    """A candidate, and nothing else."""

    def __init__(self, address: str, weight: float = 1, active: int = 0) -> None:
        self.address = address
        self.weight = weight
        self.active = active

    def __repr__(self) -> str:
        return self.address


def names(choose: Any, candidates: Sequence[Server], keys: Sequence[object]) -> list[str]:
    """Choose once for each key, with the same chance in each run."""
    random = Random(7)
    return [choose(candidates, key, random).address for key in keys]


def fill(choose: Any, candidates: Sequence[Server], times: int) -> dict[str, int]:
    """Choose and connect, one after another, and return what each has at the end."""
    random = Random(7)
    for key in range(times):
        choose(candidates, key, random).active += 1
    return {candidate.address: candidate.active for candidate in candidates}


@each_choice
@given(weights=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6), key=st.none() | st.text() | st.integers())
def test_gives_a_candidate(choose: Any, weights: list[float], key: object) -> None:
    """Whatever the weights and the key, the chosen one is a candidate."""
    candidates = [Server(f"s{i}", weight, active=i) for i, weight in enumerate(weights)]
    assert choose(candidates, key, Random(1)) in candidates


@each_choice
def test_weights_count(choose: Any) -> None:
    """One of three times the weight gets about three times the connections."""
    share = fill(choose, [Server("light", 1), Server("heavy", 3)], 2_000)
    assert 2.5 < share["heavy"] / share["light"] < 3.5


@each_choice
def test_weights_count_without_load(choose: Any) -> None:
    """The same where each connection ends before the next comes."""
    share = Counter(names(choose, [Server("light", 1), Server("heavy", 3)], range(2_000)))
    assert 2.5 < share["heavy"] / share["light"] < 3.5


def test_round_robin_in_turn() -> None:
    """Equal weights take turns, in the order given."""
    candidates = [Server("a"), Server("b"), Server("c")]
    assert names(RoundRobin(), candidates, range(6)) == ["a", "b", "c", "a", "b", "c"]


def test_round_robin_spreads_turns() -> None:
    """The turns of a heavy one are spread out, as in nginx."""
    candidates = [Server("a", 5), Server("b"), Server("c")]
    assert "".join(names(RoundRobin(), candidates, range(7))) == "aabacaa"


def test_round_robin_remembers_who_was_away() -> None:
    """One that was no candidate when its turn came has it when it is back."""
    choose, (a, b, c) = RoundRobin(), (Server("a"), Server("b"), Server("c"))
    taken = [choose(candidates, None, Random()) for candidates in ([a, b, c], [a, c], [a, b, c])]
    assert taken == [a, c, b]


def test_round_robin_forgets_the_gone() -> None:
    """A server that is gone is not kept alive by whose turn it was."""
    choose, server = RoundRobin(), Server("a")
    choose([server], None, Random())
    gone = weakref.ref(server)
    del server
    gc.collect()
    assert gone() is None


def test_least_connections() -> None:
    """The one with the fewest connections is chosen."""
    assert names(least_connections, [Server("a", active=2), Server("b", active=1), Server("c", active=3)], [0]) == ["b"]


def test_least_connections_for_its_weight() -> None:
    """Three connections are fewer than two on a server of twice the weight."""
    assert names(least_connections, [Server("a", 1, active=2), Server("b", 2, active=3)], [0]) == ["b"]


def test_power_of_two_takes_the_less_loaded() -> None:
    """Of two, both are drawn and the one with fewer connections is chosen."""
    assert set(names(power_of_two, [Server("a", active=5), Server("b", active=4)], range(50))) == {"b"}


def test_power_of_two_never_takes_the_worst() -> None:
    """The most loaded one loses against whichever is drawn with it."""
    servers = [Server("a", active=1), Server("b", active=2), Server("c", active=3)]
    assert set(names(power_of_two, servers, range(50))) == {"a", "b"}


def test_power_of_two_alone() -> None:
    """One candidate needs no second."""
    assert names(power_of_two, [Server("a")], [0]) == ["a"]


def test_rendezvous_is_the_same_everywhere() -> None:
    """The same keys go to the same servers in every process: these were computed in another."""
    servers = [Server(f"10.0.0.{i}:80") for i in range(4)]
    chosen = names(rendezvous, servers, ["ada", b"ada", "grace", 7, ("10.1.1.1", 7)])
    assert [address[7] for address in chosen] == ["3", "3", "1", "1", "1"]


def test_rendezvous_ignores_the_order() -> None:
    """The order of the candidates does not matter."""
    servers = [Server(f"s{i}") for i in range(5)]
    assert names(rendezvous, servers, range(50)) == names(rendezvous, servers[::-1], range(50))


def test_rendezvous_moves_few_keys() -> None:
    """When a server goes, only its keys move."""
    servers = [Server(f"s{i}") for i in range(5)]
    before, after = names(rendezvous, servers, range(500)), names(rendezvous, servers[1:], range(500))
    assert all(old == new for old, new in zip(before, after, strict=True) if old != "s0")


def test_rendezvous_without_a_key() -> None:
    """No key is no reason to send everything to one server."""
    assert set(names(rendezvous, [Server("a"), Server("b")], [None] * 50)) == {"a", "b"}


def test_health_starts_in() -> None:
    """An upstream that nobody has reported on is in."""
    assert not Health().is_out(0)


def test_health_until() -> None:
    """It is out before the time, and in at it."""
    health = Health(out_until=10)
    assert [health.is_out(now) for now in (9, 10, 11)] == [True, False, False]


@pytest.mark.parametrize("probe", [False, True])
def test_health_rises(probe: bool) -> None:
    """Enough good reports in a row bring it in."""
    health = Health(out_until=10)
    health.record_success(2, probe=probe)
    assert health.is_out(0)
    health.record_success(2, probe=probe)
    assert not health.is_out(0)


@pytest.mark.parametrize("probe", [False, True])
def test_health_in_a_row(probe: bool) -> None:
    """A good report ends a row of errors of its kind, an error one of good reports."""
    health = Health()
    assert [health.record_failure(2, probe=probe), health.record_failure(2, probe=probe)] == [False, True]
    health.record_success(2, probe=probe)
    assert (health.failures, health.successes) == ([0, 0], 1)
    assert not health.record_failure(2, probe=probe)
    assert (health.failures[probe], health.successes) == (1, 0)


@pytest.mark.parametrize("probe", [False, True])
def test_health_of_two_kinds(probe: bool) -> None:
    """A good report of one kind leaves the errors of the other alone, and these do not add up."""
    health = Health()
    health.record_failure(2, probe=probe)
    health.record_success(2, probe=not probe)
    assert health.failures[probe] == 1
    assert not health.record_failure(2, probe=not probe)
    assert health.record_failure(2, probe=probe)


def test_health_out_by_probes() -> None:
    """What probes took out probes bring in."""
    health = Health()
    health.eject(10, by_probes=True)
    for _ in range(5):
        health.record_success(2, probe=False)
    assert health.is_out(0)
    health.record_success(2, probe=True)
    health.record_success(2, probe=True)
    assert not health.is_out(0)


@pytest.mark.parametrize(
    ("total", "share", "most"), [(4, 0.5, 2), (3, 0.5, 1), (1, 0.5, 0), (1, 1, 1), (5, 0, 0), (100, 0.29, 29)]
)
def test_may_eject(total: int, share: float, most: int) -> None:
    """With 4 upstreams and a share of 0.5, two may be out."""
    assert [may_eject(out, total, share) for out in range(total)] == [out < most for out in range(total)]
