"""The figures of a queue: in virtual time."""

import trio
from trio.testing import MockClock

from job._core.registry import sources
from job.queue._figures import Figures, figures_of
from job.testing import MemoryQueue
from tests.journal import done, lasting
from tests.queue.workers import doing, working


def of(name: str) -> dict[str, float]:
    """Read the figures of a queue as metrics do."""
    (figures,) = [each.figures(each.owner) for each in sources() if getattr(each.owner, "name", None) == name]
    assert {figure.labels for figure in figures} == {(("queue", name),)}
    return {figure.name: figure.value for figure in figures}


async def test_counters(autojump_clock: MockClock) -> None:
    """Deliveries, acknowledgements and renewals are counted."""
    source = MemoryQueue("counted", lease=3)
    async with working(source, doing(lasting(4.5)), limit=2):
        for _ in range(2):
            await source.put(b"1")
        await trio.sleep(10)
    figures = of("counted")
    assert (figures["queue_deliveries"], figures["queue_acks"], figures["queue_dead"]) == (2, 2, 0)
    assert figures["queue_lease_renewals"] == 8


async def test_looked_up(autojump_clock: MockClock) -> None:
    """How many there are is looked up while somebody observes, and an outage is noticed by that too."""
    source = MemoryQueue("observed")
    async with working(source, doing(lasting(100))):
        assert "queue_depth" not in of("observed")
        for _ in range(3):
            await source.put(b"1")
        await trio.sleep(10)
        figures = of("observed")
        assert (figures["queue_depth"], figures["queue_pending"], figures["queue_delayed"]) == (2, 1, 0)
        assert 4 <= figures["queue_oldest"] <= 10
        source.away = True
        await trio.sleep(10)
        assert of("observed")["queue_depth"] == 2
        source.away = False
        assert (source.away, repr(source)) == (False, "<MemoryQueue 'observed': 2 ready, 1 pending, 0 delayed, 0 dead>")


async def test_unobserved(autojump_clock: MockClock) -> None:
    """Nothing is looked up while nobody observes."""
    source = MemoryQueue("unobserved")
    async with working(source, doing(done)):
        await trio.sleep(10)
        assert figures_of("unobserved").statistics is None


def test_same_name() -> None:
    """Two consumers of one queue share its figures."""
    assert isinstance(figures_of("same"), Figures)
    assert figures_of("same") is figures_of("same")
