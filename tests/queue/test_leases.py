"""Leases, and what becomes of those who lose one: in virtual time."""

import trio
from trio.testing import MockClock

import job
from job import queue
from job.testing import MemoryQueue
from tests.journal import forever, lasting
from tests.queue.workers import Lines, doing, working


async def test_renewed(autojump_clock: MockClock) -> None:
    """A job may take many times the lease, and so may those that wait behind it: no other is given their messages."""
    source = MemoryQueue(lease=3)
    async with working(source, doing(lasting(100)), prefetch=2, grace=1000):
        for _ in range(3):
            await source.put(b"1")
        await trio.sleep(1)
        with trio.move_on_after(200):
            await source.receive(1)
            raise AssertionError
    async with source:
        assert await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None)


async def test_lost(autojump_clock: MockClock) -> None:
    """A job whose message another has taken is cancelled, with one warning, and the message is left alone."""
    lines = Lines().register()
    source = Hung(lease=3)
    jobs: list[job.Job] = []

    def build(message: queue.Message[bytes]) -> job.Job:
        jobs.append(doing(forever)(message))
        return jobs[-1]

    async with working(source, build):
        await source.put(b"1")
        await trio.sleep(1)
        (message,) = await source.take_over()
        await trio.sleep(2)
        assert await source.ack(message)
    assert len(jobs) == 1
    error = jobs[0].interrupted_by[1]
    assert isinstance(error, queue.MessageLostError)
    assert str(error).startswith("message.lost: ")
    assert [line["delivery"] for line in lines.of("message.lost")] == [1]
    assert jobs[0].name not in [line["job"] for line in lines.of("job.ended") if "exc_info" in line]


async def test_lost_unbegun(autojump_clock: MockClock) -> None:
    """A message that is lost before its job has begun is dropped, and its place is free."""
    lines = Lines().register()
    source = Hung(lease=3)
    async with working(source, doing(lasting(10)), prefetch=1, grace=100):
        await source.put(b"1")
        await source.put(b"2")
        await trio.sleep(1)
        mine = await source.take_over()
        assert [message.payload for message in mine] == [b"1", b"2"]
        await source.put(b"3")
        await trio.sleep(5)
        assert len(lines.of("message.lost")) == 2
        assert (await source.statistics()).depth == 0


async def test_done_too_late(autojump_clock: MockClock) -> None:
    """A job that is done when its message is another's tells so, and acknowledges nothing."""
    lines = Lines().register()
    source = Hung(lease=30)
    async with working(source, doing(lasting(5))):
        await source.put(b"1")
        await trio.sleep(1)
        (message,) = await source.take_over()
        await trio.sleep(6)
        assert await source.extend(message)
    assert len(lines.of("message.lost")) == 1


async def test_settled_while_renewed(autojump_clock: MockClock) -> None:
    """A renewal that comes too late for a message that has been settled meanwhile is no loss."""
    lines = Lines().register()
    source = Slow(lease=3)
    async with working(source, doing(lasting(1.5))):
        await source.put(b"1")
        await trio.sleep(10)
    assert lines.of("message.lost") == []


class Hung(MemoryQueue[bytes]):
    """A queue in memory whose leases can be over at once."""

    async def take_over(self) -> list[queue.Message[bytes]]:
        """Take all that others hold."""
        for stored in self._pending.values():
            stored.lease_ends = trio.current_time()
        return await self.receive(100)


async def test_settled_before_the_answer(autojump_clock: MockClock) -> None:
    """A renewal whose answer comes when the message is settled leaves nothing to be renewed."""
    source = Late(lease=3)
    async with working(source, doing(lasting(1.5))):
        await source.put(b"1")
        await trio.sleep(10)
    assert source.extended == 1


class Late(MemoryQueue[bytes]):
    """A queue in memory that extends a lease at once, and says so a second later."""

    __slots__ = ("extended",)

    def __init__(self, *, lease: float) -> None:
        super().__init__(lease=lease)
        self.extended = 0

    async def extend(self, message: queue.Message[bytes], /) -> bool:
        """Extend it."""
        self.extended += 1
        ours = await super().extend(message)
        await trio.sleep(1)
        return ours


class Slow(MemoryQueue[bytes]):
    """A queue in memory whose answer to a renewal takes a second."""

    async def extend(self, message: queue.Message[bytes], /) -> bool:
        """Extend it late."""
        await trio.sleep(1)
        return await super().extend(message)
