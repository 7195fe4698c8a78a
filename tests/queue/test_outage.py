"""A broker out of reach: in virtual time."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import job
from job import queue
from job.testing import MemoryQueue
from tests.journal import done, forever, lasting
from tests.queue.workers import Lines, doing, working


async def test_away_and_back(autojump_clock: MockClock) -> None:
    """An outage is one warning, its end one line; messages that are put after it are done."""
    lines = Lines().register()
    source = MemoryQueue("images")
    async with working(source, doing(done)):
        await trio.sleep(1)
        source.away = True
        await trio.sleep(100)
        source.away = False
        await trio.sleep(5)
        assert [line["queue"] for line in lines.of("queue.back")] == ["images"]
        await source.put(b"1")
        await trio.sleep(1)
        assert (await source.statistics()).depth == 0
    assert [line["queue"] for line in lines.of("queue.away")] == ["images"]


async def test_away_at_the_start(autojump_clock: MockClock) -> None:
    """A worker starts while its queue is away, and works when it is back."""
    lines = Lines().register()
    source = MemoryQueue()
    async with source:
        await source.put(b"1")
    source.away = True
    async with working(source, doing(done)) as worker:
        await trio.sleep(10)
        assert worker.ready
        source.away = False
        await trio.sleep(5)
        assert (await source.statistics()).depth == 0
    assert (len(lines.of("queue.away")), len(lines.of("queue.back"))) == (1, 1)


async def test_jobs_go_on(autojump_clock: MockClock) -> None:
    """Jobs go on while the queue is away, for longer than the lease too; the messages are still theirs when it is back."""
    source = MemoryQueue(lease=30)
    async with working(source, doing(lasting(100))):
        await source.put(b"1")
        await trio.sleep(10)
        source.away = True
        await trio.sleep(80)
        source.away = False
        await trio.sleep(20)
        assert await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None)


async def test_settled_when_back(autojump_clock: MockClock) -> None:
    """What was done during the outage is acknowledged when it is over."""
    lines = Lines().register()
    source = MemoryQueue(lease=30)
    async with working(source, doing(lasting(5))):
        await source.put(b"1")
        await trio.sleep(1)
        source.away = True
        await trio.sleep(20)
        source.away = False
        await trio.sleep(5)
        assert await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None)
    assert lines.of("message.unsettled") == []


async def test_unsettled(autojump_clock: MockClock) -> None:
    """What cannot be settled while its lease lasts is given up with a warning, and delivered again."""
    lines = Lines().register()
    source = MemoryQueue(lease=30)
    async with working(source, doing(lasting(5))):
        await source.put(b"1")
        await trio.sleep(1)
        source.away = True
        await trio.sleep(28)
        assert lines.of("message.unsettled") == []
        await trio.sleep(5)
        (line,) = lines.of("message.unsettled")
        assert line["delivery"] == 1
        source.away = False
        await trio.sleep(10)
        assert await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None)
    ended = [line["delivery"] for line in lines.of("job.ended") if "delivery" in line]
    assert ended == [1, 2]


@pytest.mark.parametrize("grace", [0, 3, 20])
@pytest.mark.parametrize("takes", [1, 1000])
async def test_stop_while_away(autojump_clock: MockClock, grace: float, takes: float) -> None:
    """A stop ends within its grace and five seconds, whatever is held and not settled then."""
    source = MemoryQueue(lease=60)
    worker: job.Job[None] = job.Job(name="worker", grace=grace)
    worker.add_task(queue.consume(source, doing(lasting(takes)), limit=2, prefetch=2))
    async with source, trio.open_nursery() as nursery:
        await worker.run_in_background(nursery)
        for _ in range(4):
            await source.put(b"1")
        await trio.sleep(0.5)
        source.away = True
        worker.finish()
        began_at = trio.current_time()
        await worker.wait()
        assert trio.current_time() - began_at <= grace + 5


async def test_cancel_while_away(autojump_clock: MockClock) -> None:
    """A cancel ends within five seconds."""
    source = MemoryQueue(lease=60)
    async with working(source, doing(forever)) as worker:
        await source.put(b"1")
        await trio.sleep(1)
        source.away = True
        worker.cancel()
        began_at = trio.current_time()
        await worker.wait()
        assert trio.current_time() - began_at <= 5


async def test_unusable(autojump_clock: MockClock) -> None:
    """A source that cannot be used fails its job in the init."""

    class Broken(MemoryQueue[bytes]):
        async def statistics(self) -> Any:
            raise PermissionError("no right")

    worker: job.Job[None] = job.Job(name="worker", quiet=[OSError])
    worker.add_task(queue.consume(Broken(), doing(done)))
    with pytest.raises(PermissionError):
        await worker.run()
    assert worker.verdict is not None
    assert worker.verdict.code == "error@consume:init"
