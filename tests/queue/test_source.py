"""What is true of each source: in memory in virtual time, and on a real redis-server."""

from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import JobStateError, queue
from job.queue import QueueStatistics
from job.queue._figures import figures_of
from tests.journal import done
from tests.queue.conftest import Maker
from tests.queue.workers import Lines, doing, working


@dataclass
class Picture:
    """What the example of the reference puts."""

    path: str
    width: int = 100


async def test_is_a_source(make: Maker, clock: MockClock | None) -> None:
    """It has all that the protocol asks for."""
    source = make(lease=3, max_deliveries=7)
    assert isinstance(source, queue.Source)
    assert (source.name, source.max_deliveries) == (make.name, 7)


async def test_put_and_ack(make: Maker, clock: MockClock | None) -> None:
    """A message is delivered once, and gone when it is acknowledged."""
    async with make() as source:
        message_id = await source.put(b"1")
        (message,) = await source.receive(10)
        assert (message.id, message.payload, message.delivery, message.history) == (message_id, b"1", 1, ())
        assert message.source is source
        assert (await source.statistics()).pending == 1
        assert await source.ack(message)
        assert await source.statistics() == QueueStatistics(0, 0, 0, 0, None)
        assert not await source.ack(message)


async def test_oldest_first(make: Maker, clock: MockClock | None) -> None:
    """Messages come in the order they were put, at most as many as asked for."""
    async with make() as source:
        for number in range(5):
            await source.put(b"%d" % number)
        first, second = await source.receive(3), await source.receive(3)
        assert [message.payload for message in first] == [b"0", b"1", b"2"]
        assert [message.payload for message in second] == [b"3", b"4"]


async def test_waits(make: Maker, clock: MockClock | None) -> None:
    """`receive` waits for a message, and is woken by one that is put."""
    async with make() as source, trio.open_nursery() as nursery:
        nursery.start_soon(put_after, make, source, 1)
        (message,) = await source.receive(1)
        assert message.payload == b"late"


async def test_cancelled(make: Maker, clock: MockClock | None) -> None:
    """A `receive` that is cancelled keeps nothing, whenever that is."""
    async with make() as source:
        for tenths in range(5):
            with trio.move_on_after(tenths / 10 * make.second):
                await source.receive(1)
        await source.put(b"1")
        with trio.CancelScope() as scope:
            scope.cancel()
            await source.receive(1)
        (message,) = await source.receive(1)
        assert message.delivery == 1


async def test_release(make: Maker, clock: MockClock | None) -> None:
    """A message that is released comes again, behind the others, as the next delivery, with its history."""
    async with make() as source:
        message_id = await source.put(b"1")
        await source.put(b"2")
        (message,) = await source.receive(1)
        assert await source.release(message, error=ValueError("why"), code="error@work:run")
        assert not await source.release(message)
        second, again = [(await source.receive(1))[0] for _ in range(2)]
        assert (second.payload, again.id, again.payload, again.delivery) == (b"2", message_id, b"1", 2)
        assert again.enqueued_at == message.enqueued_at
        (ended,) = again.history
        assert (ended.delivery, ended.error, ended.code) == (1, "ValueError('why')", "error@work:run")
        assert ended.at >= message.enqueued_at


async def test_release_uncounted(make: Maker, clock: MockClock | None) -> None:
    """One that is released uncounted comes again as the same delivery, and its history does not tell of that one."""
    async with make() as source:
        await source.put(b"1")
        (message,) = await source.receive(1)
        await source.release(message, error="first")
        (message,) = await source.receive(1)
        await source.release(message, count=False, error="unsaid")
        (message,) = await source.receive(1)
        assert (message.delivery, [each.error for each in message.history]) == (2, ["first"])


async def test_release_after(make: Maker, clock: MockClock | None) -> None:
    """One that is released for later comes no sooner, and soon after that; it may be longer than the lease."""
    async with make(lease=1) as source:
        await source.put(b"1")
        (message,) = await source.receive(1)
        began_at = trio.current_time()
        await source.release(message, after=3 * make.second)
        assert (await source.statistics()).delayed == 1
        (message,) = await source.receive(1)
        assert 3 <= (trio.current_time() - began_at) / make.second + 0.01 < 6
        assert message.delivery == 2


async def test_delay(make: Maker, clock: MockClock | None) -> None:
    """A message with a delay is ready when that is over, and no sooner; those without one overtake it."""
    async with make() as source:
        began_at = trio.current_time()
        late_id = await source.put(b"late", delay=2 * make.second)
        await source.put(b"soon")
        statistics = await source.statistics()
        assert (statistics.depth, statistics.delayed) == (1, 1)
        assert (await source.receive(1))[0].payload == b"soon"
        (message,) = await source.receive(1)
        assert 2 <= (trio.current_time() - began_at) / make.second + 0.01 < 5
        assert (message.id, message.payload, message.delivery) == (late_id, b"late", 1)


async def test_taken_over(make: Maker, clock: MockClock | None) -> None:
    """A message whose lease is over goes to another, as another delivery; then it is no longer ours to settle."""
    async with make(lease=1) as source:
        message_id = await source.put(b"1")
        (mine,) = await source.receive(1)
        await make.sleep(0.5)
        with trio.move_on_after(0.2 * make.second):
            await source.receive(1)
            raise AssertionError
        (theirs,) = await source.receive(1)
        assert (theirs.id, theirs.payload, theirs.delivery) == (message_id, b"1", 2)
        assert [(each.delivery, each.code) for each in theirs.history] == [(1, "lease.over")]
        for settled in (source.ack(mine), source.extend(mine), source.release(mine), source.dead(mine, "late")):
            assert not await settled
        assert (await source.statistics()).pending == 1
        assert await source.ack(theirs)


async def test_lease_over_not_taken(make: Maker, clock: MockClock | None) -> None:
    """A lease that is over, but that no other has taken over, is still ours."""
    async with make(lease=1) as source:
        await source.put(b"1")
        (message,) = await source.receive(1)
        await make.sleep(3)
        assert await source.extend(message)
        await make.sleep(3)
        assert await source.ack(message)
        assert await source.statistics() == QueueStatistics(0, 0, 0, 0, None)


async def test_extended(make: Maker, clock: MockClock | None) -> None:
    """A lease that is extended again and again goes to no other."""
    async with make(lease=2) as source:
        await source.put(b"1")
        (message,) = await source.receive(1)
        for _ in range(6):
            await make.sleep(0.7)
            assert await source.extend(message)
            with trio.move_on_after(0.1 * make.second):
                await source.receive(1)
                raise AssertionError
        assert await source.ack(message)


async def test_dead(make: Maker, clock: MockClock | None) -> None:
    """A message that is given up is a dead letter, with all that is known of it."""
    async with make() as source:
        message_id = await source.put(b"1")
        (message,) = await source.receive(1)
        await source.release(message, error="first")
        (message,) = await source.receive(1)
        assert await source.dead(message, ValueError("no"), code="error@work:run")
        assert not await source.dead(message, "again")
        (letter,) = await source.dead_letters()
        assert (letter.id, letter.payload, letter.deliveries) == (message_id, b"1", 2)
        assert (letter.error, letter.code) == ("ValueError('no')", "error@work:run")
        assert [(each.delivery, each.error) for each in letter.history] == [(1, "first"), (2, "ValueError('no')")]
        assert letter.enqueued_at == message.enqueued_at <= letter.died_at
        assert await source.statistics() == QueueStatistics(0, 0, 0, 1, None)


async def test_kills_its_workers(make: Maker, clock: MockClock | None) -> None:
    """A message that nobody has ever settled dies too, unrun: each takeover is a delivery."""
    async with make(lease=1, max_deliveries=2) as source:
        await source.put(b"1")
        await source.receive(1)
        (message,) = await source.receive(1)
        assert message.delivery == 2
        with trio.move_on_after(4 * make.second):
            await source.receive(1)
            raise AssertionError
        (letter,) = await source.dead_letters()
        assert (letter.deliveries, letter.error, letter.code) == (2, "the lease was over", "lease.over")
        assert [each.delivery for each in letter.history] == [1, 2]


async def test_released_too_often(make: Maker, clock: MockClock | None) -> None:
    """One that was released after its last delivery is not handed out any more."""
    async with make(max_deliveries=1) as source:
        await source.put(b"1")
        (message,) = await source.receive(1)
        await source.release(message, error="why")
        await source.put(b"2")
        assert [message.payload for message in await source.receive(2)] == [b"2"]
        (letter,) = await source.dead_letters()
        assert (letter.deliveries, letter.error) == (1, "why")


async def test_requeue(make: Maker, clock: MockClock | None) -> None:
    """Dead letters become messages again, by their ids or all, with delivery 1 to come; `purge` deletes the rest."""
    async with make() as source:
        ids = [await source.put(b"%d" % number) for number in range(4)]
        for message in await source.receive(4):
            await source.dead(message, "why")
        assert [letter.id for letter in await source.dead_letters(2)] == ids[:2]
        assert await source.requeue(ids[1], "unknown") == 1
        (message,) = await source.receive(1)
        assert (message.id, message.payload, message.delivery, message.history) == (ids[1], b"1", 1, ())
        assert await source.requeue() == 3
        assert await source.requeue() == 0
        for message in await source.receive(3):
            await source.dead(message, "again")
        assert await source.purge() == 3
        assert (await source.dead_letters(), await source.purge()) == ([], 0)


async def test_many_dead(make: Maker, clock: MockClock | None) -> None:
    """Any number of them is requeued."""
    async with make() as source:
        for _ in range(250):
            await source.put(b"1")
        for message in await source.receive(250):
            await source.dead(message, None)
        assert len(await source.dead_letters()) == 100
        assert await source.requeue() == 250
        assert (await source.statistics()).depth == 250


async def test_types(make: Maker, clock: MockClock | None) -> None:
    """Payloads are of the type, which is checked where they are put."""
    async with make(type=Picture, max_size=100) as source:
        await source.put(Picture("a.png"))
        (message,) = await source.receive(1)
        assert message.payload == Picture("a.png")
        for wrong in ({"path": "a.png"}, b"a.png", Picture(1), None):  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="payload must be"):
                await source.put(wrong)
        with pytest.raises(ValueError, match="at most 100 bytes"):
            await source.put(Picture("a" * 101))
        for wrong_delay in (-1, float("inf")):
            with pytest.raises(ValueError, match="delay must be"):
                await source.put(Picture("a"), delay=wrong_delay)
        assert (await source.statistics()).depth == 0


async def test_does_not_decode(make: Maker, clock: MockClock | None) -> None:
    """What does not decode to the type is dead at once, as it was stored."""
    async with make(type=str) as source:
        await source.put("good")
        encode, source._payloads._encode = source._payloads._encode, lambda payload: b"\xc1"
        await source.put("bad")
        source._payloads._encode = encode
        assert [message.payload for message in await source.receive(2)] == ["good"]
        if not (letters := await source.dead_letters()):
            with trio.move_on_after(2 * make.second):
                await source.receive(1)
            letters = await source.dead_letters()
        assert [(letter.payload, letter.code, letter.deliveries) for letter in letters] == [(b"\xc1", "payload", 1)]


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\n" * 100, bytes(1024 * 1024)], ids=["none", "binary", "large"])
async def test_bytes(make: Maker, clock: MockClock | None, payload: bytes) -> None:
    """Bytes of any kind and length come as they were put, after a release and a delay too."""
    async with make() as source:
        await source.put(payload, delay=0.01)
        (message,) = await source.receive(1)
        await source.release(message, after=0.01, error="é\x00\ud800" + "x" * 5000)
        (message,) = await source.receive(1)
        assert message.payload == payload
        assert (message.history[0].error or "").startswith("é\x00\\ud800x")
        assert await source.dead(message, None)
        (letter,) = await source.dead_letters()
        assert (letter.payload, letter.error, letter.code) == (payload, None, None)


async def test_not_open(make: Maker, clock: MockClock | None) -> None:
    """Each call of a source that is not open says so; several may have it open, and again."""
    source = make()
    async with source:
        await source.put(b"1")
        (message,) = await source.receive(1)
        async with source:
            pass
        assert await source.extend(message)
    calls: list[Any] = [
        source.receive(1), source.ack(message), source.extend(message), source.release(message),
        source.dead(message, None), source.put(b"1"), source.statistics(), source.dead_letters(), source.requeue(),
        source.purge(),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(JobStateError, match="is not open"):
            await call
    async with source:
        assert (await source.statistics()).pending == 1
        assert await source.ack(message)


async def test_from_any_task(make: Maker, clock: MockClock | None) -> None:
    """It may be opened in one trio task and closed in another, in any order."""
    source = make()

    async def use(seconds: float) -> None:
        async with source:
            await make.sleep(seconds)
            await source.put(b"1")

    async with trio.open_nursery() as nursery:
        for seconds in (0.5, 0.1, 0.3):
            nursery.start_soon(use, seconds)
    async with source:
        assert (await source.statistics()).depth == 3


async def test_oldest(make: Maker, clock: MockClock | None) -> None:
    """`oldest` is the age of the oldest message that is ready; of those that are taken it says nothing."""
    async with make() as source:
        await source.put(b"1")
        await make.sleep(2)
        await source.put(b"2")
        oldest = (await source.statistics()).oldest
        assert oldest is not None
        assert 1.5 <= oldest / make.second <= 4
        await source.receive(1)
        oldest = (await source.statistics()).oldest
        assert oldest is not None
        assert oldest / make.second < 1.5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"lease": 0}, "lease must be more than 0"),
        ({"max_deliveries": 0}, "max_deliveries must be 1 or more"),
        ({"max_size": 0}, "max_size must be 1 or more"),
        ({"type": object()}, "type must be bytes or a type"),
    ],
)
async def test_options(make: Maker, clock: MockClock | None, options: dict[str, Any], error: str) -> None:
    """Wrong options are refused at the call."""
    with pytest.raises((TypeError, ValueError), match=error):
        make(**options)


async def put_after(make: Maker, source: Any, seconds: float) -> None:
    """Put a message after some seconds."""
    await make.sleep(seconds)
    await source.put(b"late")


async def test_bytes_alone(make: Maker, clock: MockClock | None) -> None:
    """A queue of bytes takes nothing else."""
    async with make() as source:
        with pytest.raises(TypeError, match="payload must be bytes-like"):
            await source.put("text")


async def test_unrun_in_the_log(make: Maker, clock: MockClock | None) -> None:
    """A worker tells of a message that has died unrun, and counts it."""
    lines = Lines().register()
    async with make(lease=1, max_deliveries=1) as source:
        message_id = await source.put(b"1")
        await source.receive(1)
        async with working(make(lease=1, max_deliveries=1) if make.kind == "redis" else source, doing(done)):
            await make.sleep(6)
    (line,) = lines.of("message.dead")
    assert (line["message"], line["code"], line["job"]) == (message_id, "lease.over", "worker")
    figures = {figure.name: figure.value for figure in figures_of(make.name).read()}
    assert (figures["queue_dead"], figures["queue_acks"]) == (1, 0)
