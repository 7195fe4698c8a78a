"""Choose the upstream for the next connection: plain functions of `(candidates, key, random)`.

Each is given at least one candidate and returns one of them; all take weights into account. You may write your own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar, final
from weakref import WeakKeyDictionary


class Candidate(Protocol):
    """What a choice may look at."""

    @property
    def address(self) -> str:
        """Its name, the same in every process."""
        ...

    @property
    def weight(self) -> float:
        """Its share relative to the others', above 0."""
        ...

    @property
    def active(self) -> int:
        """How many connections it has now."""
        ...


C = TypeVar("C", bound=Candidate)


def random_choice(candidates: Sequence[C], key: object, random: Random) -> C:
    """Choose at random, in proportion to the weights. For similar upstreams behind many balancers."""
    return random.choices(candidates, [candidate.weight for candidate in candidates])[0]


@final
class RoundRobin:
    """Chooses upstreams in turn, in proportion to their weights, with the turns of heavy ones spread out.

    For requests of about equal cost. Each balancer needs an object of its own, because it remembers whose turn is next.
    """

    # The smooth weighted round robin of nginx: every candidate earns its weight, the richest is chosen and pays for all. The
    # keys are weak, so that the credit of an upstream goes with it.
    __slots__ = ("_credit",)

    def __init__(self) -> None:
        self._credit: WeakKeyDictionary[Candidate, float] = WeakKeyDictionary()

    def __call__(self, candidates: Sequence[C], key: object, random: Random) -> C:
        """Choose the candidate whose turn is next."""
        for candidate in candidates:
            self._credit[candidate] = self._credit.get(candidate, 0.0) + candidate.weight
        chosen = max(candidates, key=self._credit.__getitem__)
        self._credit[chosen] -= sum(candidate.weight for candidate in candidates)
        return chosen


def least_connections(candidates: Sequence[C], key: object, random: Random) -> C:
    """Choose the one with the fewest connections for its weight; among equals at random, in proportion to the weights.

    For long connections behind a single balancer. Several balancers, which do not know each other's counts, would all
    run to the same upstream: there `power_of_two` is better.
    """
    least = min(map(_load, candidates))
    return random_choice([candidate for candidate in candidates if _load(candidate) == least], key, random)


def power_of_two(candidates: Sequence[C], key: object, random: Random) -> C:
    """Draw two at random, in proportion to the weights, and choose the one with fewer connections for its weight.

    Nearly as even as `least_connections`, and without its herd towards an upstream that has just come back (Mitzenmacher, "The
    power of two choices in randomized load balancing", 2001).
    """
    first = random_choice(candidates, key, random)
    others = [candidate for candidate in candidates if candidate is not first]
    return min(first, random_choice(others, key, random), key=_load) if others else first


def rendezvous(candidates: Sequence[C], key: object, random: Random) -> C:
    """Choose by the key: a key always gets the same upstream, in every process, as long as that is a candidate.

    When an upstream goes, only its keys move, spread over the others in proportion to their weights. Bytes and str are hashed
    as they are, anything else by its `repr`. Without a key (None) the choice is random.
    """
    if key is None:
        return random_choice(candidates, key, random)
    salt = _salt(key)
    return max(candidates, key=lambda candidate: _score(candidate, salt))


def _load(candidate: Candidate) -> float:
    return candidate.active / candidate.weight


def _salt(key: object) -> bytes:
    if isinstance(key, bytes | bytearray | memoryview):
        return bytes(key)
    return (key if isinstance(key, str) else repr(key)).encode(errors="surrogatepass")


def _score(candidate: Candidate, salt: bytes) -> float:
    # Weighted rendezvous (Schindelhauer and Schomaker, 2005): -weight / ln(u), u uniform in (0, 1). Python's own hash()
    # differs from process to process. The address goes first with its length, so that no two pairs give the same bytes.
    address = candidate.address.encode(errors="surrogatepass")
    digest = hashlib.blake2b(len(address).to_bytes(4, "big") + address + salt, digest_size=8).digest()
    # A float holds 53 bits; the half keeps the result off both ends.
    uniform = ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53
    return -candidate.weight / math.log(uniform)
