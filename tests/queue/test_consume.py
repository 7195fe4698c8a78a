"""What becomes of messages: acknowledged, released, dead; on a queue in memory, in virtual time."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

import job
from job import Task, queue, tasks
from job.testing import MemoryQueue
from tests.journal import done, each_second, failing, lasting
from tests.queue.workers import AT_ONCE, Lines, doing, working


async def test_done(autojump_clock: MockClock) -> None:
    """A job that is done acknowledges its message, which is gone."""
    source = MemoryQueue()
    async with working(source, doing(done)):
        await source.put(b"1")
        await trio.sleep(1)
        assert await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None)


async def test_ended_by_itself(autojump_clock: MockClock) -> None:
    """A job that one of its own tasks finishes has ended by itself, whatever the others were doing."""

    def build(message: queue.Message[bytes]) -> job.Job[Any]:
        j = doing(each_second)(message)
        j.add_task(lasting(5, Task.finish_job))
        return j

    source = MemoryQueue()
    async with working(source, build):
        await source.put(b"1")
        await trio.sleep(10)
        assert (await source.statistics()).pending == 0


async def test_failure(autojump_clock: MockClock) -> None:
    """A job that fails has its message delivered again, after the backoff of that delivery."""
    seen: list[tuple[float, int]] = []

    async def run(task: Task) -> None:
        seen.append((trio.current_time(), task.job.value.delivery))
        raise RuntimeError

    source = MemoryQueue(max_deliveries=3)
    async with working(source, doing(run), retry=tasks.Backoff(10, 100)):
        await source.put(b"1")
        await trio.sleep(1000)
    assert seen == [(0, 1), (10, 2), (30, 3)]


async def test_dead(autojump_clock: MockClock) -> None:
    """The last of its deliveries puts a message to the dead letters, with the history of all, and a line in the log."""
    lines = Lines().register()
    source = MemoryQueue(max_deliveries=2)
    async with working(source, doing(failing(RuntimeError("why"))), retry=AT_ONCE):
        message_id = await source.put(b"1")
        await trio.sleep(1)
        (letter,) = await source.dead_letters()
    assert (letter.id, letter.payload, letter.deliveries) == (message_id, b"1", 2)
    assert (letter.error, letter.code) == ("RuntimeError('why')", "error@work:run")
    assert [each.delivery for each in letter.history] == [1, 2]
    (line,) = lines.of("message.dead")
    assert (line["message"], line["error"], line["code"]) == (message_id, "RuntimeError('why')", "error@work:run")
    assert [each["delivery"] for each in line["history"]] == [1, 2]


@pytest.mark.parametrize("where", ["job", "build_job"])
async def test_discard(autojump_clock: MockClock, where: str) -> None:
    """`Discard` acknowledges a message undone, with a line and without a warning."""
    lines = Lines().register()
    source = MemoryQueue()
    async with working(source, raising(queue.Discard("old"), where)):
        await source.put(b"1")
        await trio.sleep(1)
        assert await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None)
    (line,) = lines.of("message.discarded")
    assert line["error"] == "Discard('old')"
    assert lines.of("build_job.failed") == []


@pytest.mark.parametrize("where", ["job", "build_job"])
async def test_reject(autojump_clock: MockClock, where: str) -> None:
    """`Reject` puts a message to the dead letters at its first delivery."""
    source = MemoryQueue()
    async with working(source, raising(queue.Reject("broken"), where)):
        await source.put(b"1")
        await trio.sleep(1)
        (letter,) = await source.dead_letters()
    assert (letter.deliveries, letter.error) == (1, "Reject('broken')")


async def test_build_job_fails(autojump_clock: MockClock) -> None:
    """An error of `build_job` is a failed delivery, logged with its traceback; the others go on."""
    lines = Lines().register()
    source = MemoryQueue(max_deliveries=1)

    def build(message: queue.Message[bytes]) -> job.Job[Any]:
        return doing(done)(message) if message.payload == b"good" else 1 / 0

    async with working(source, build):
        await source.put(b"bad")
        await source.put(b"good")
        await trio.sleep(1)
        statistics = await source.statistics()
    assert (statistics.pending, statistics.dead) == (0, 1)
    (line,) = lines.of("build_job.failed")
    assert isinstance(line["exc_info"], ZeroDivisionError)
    assert line["delivery"] == 1


async def test_no_job(autojump_clock: MockClock) -> None:
    """A `build_job` that gives no job, a coroutine say, is an error of its own."""

    async def build(message: queue.Message[bytes]) -> None: ...

    lines = Lines().register()
    source = MemoryQueue(max_deliveries=1)
    async with working(source, lambda message: build(message)):  # noqa: PLW0108
        await source.put(b"1")
        await trio.sleep(1)
    assert "must return a Job" in lines.of("build_job.failed")[0]["error"]


async def test_fields(autojump_clock: MockClock) -> None:
    """A job's records tell its queue, message and delivery."""
    lines = Lines().register()
    source = MemoryQueue("images")
    async with working(source, doing(done)):
        message_id = await source.put(b"1")
        await trio.sleep(1)
    (line,) = [line for line in lines.of("job.ended") if line["job"] == f"message {message_id}"]
    assert (line["queue"], line["message"], line["delivery"]) == ("images", message_id, 1)


@pytest.mark.parametrize(("limit", "prefetch"), [(1, 0), (3, 0), (2, 5)])
async def test_limit(autojump_clock: MockClock, limit: int, prefetch: int) -> None:
    """At most `limit` jobs run at once, and `limit + prefetch` messages are held."""
    source = MemoryQueue()
    async with working(source, doing(lasting(10)), limit=limit, prefetch=prefetch, grace=100) as worker:
        for _ in range(20):
            await source.put(b"1")
        await trio.sleep(5)
        assert worker.statistics().children == limit
        assert (await source.statistics()).pending == limit + prefetch
        await trio.sleep(10 * 20)
        assert (await source.statistics()).pending == 0


async def test_again(autojump_clock: MockClock) -> None:
    """It can be run again: after a failure of the source, by `restart`, with what was under way given back."""
    source = Failing(MemoryQueue())
    worker: job.Job[None] = job.Job(name="worker")
    worker.add_task(tasks.restart(queue.consume(source, doing(lasting(10)), limit=2), wait=1))
    async with source, trio.open_nursery() as nursery:
        await worker.run_in_background(nursery)
        await source.put(b"1")
        await trio.sleep(5)
        source.fails = True
        await source.put(b"2")
        await trio.sleep(0.5)
        source.fails = False
        await trio.sleep(30)
        assert (await source.statistics()).depth == 0
        worker.cancel()
    assert source.deliveries == [1, 1, 1]


async def test_refused() -> None:
    """Wrong arguments are refused at the call."""
    source = MemoryQueue()
    with pytest.raises(TypeError, match="source must be a Source"):
        queue.consume(1, doing(done))
    with pytest.raises(TypeError, match="build_job must be callable"):
        queue.consume(source, 1)
    with pytest.raises(TypeError, match="build_job must be a plain function"):
        queue.consume(source, done)
    with pytest.raises(ValueError, match="limit must be 1 or more"):
        queue.consume(source, doing(done), limit=0)
    with pytest.raises(ValueError, match="prefetch must be 0 or more"):
        queue.consume(source, doing(done), prefetch=-1)
    with pytest.raises(TypeError, match="limit must be an int"):
        queue.consume(source, doing(done), limit=1.5)
    with pytest.raises(TypeError, match="retry must be a Backoff"):
        queue.consume(source, doing(done), retry=3)


async def test_order_of_a_job(autojump_clock: MockClock) -> None:
    """A SystemExit out of a job goes on, and its message has had a delivery."""
    source = MemoryQueue(max_deliveries=1)
    worker: job.Job[None] = job.Job(name="worker")
    worker.add_task(queue.consume(source, doing(failing(SystemExit(3)))))
    async with source:
        await source.put(b"1")
        with pytest.raises(SystemExit):
            await worker.run()
        assert (await source.statistics()).dead == 1


async def test_order_of_build_job(autojump_clock: MockClock) -> None:
    """A SystemExit out of `build_job` goes on too, and its message has had a delivery."""
    source = MemoryQueue(max_deliveries=1)
    worker: job.Job[None] = job.Job(name="worker")
    worker.add_task(queue.consume(source, raising(SystemExit(3), "build_job")))
    async with source:
        await source.put(b"1")
        with pytest.raises(SystemExit):
            await worker.run()
        assert (await source.statistics()).dead == 1


def raising(error: BaseException, where: str) -> Any:
    """Return a `build_job` that raises an error, or whose job does."""

    def build(message: queue.Message[bytes]) -> job.Job[Any]:
        raise error

    return build if where == "build_job" else doing(failing(error))


class Failing:
    """A source whose `receive` fails as long as `fails` is True; it is a queue in memory otherwise."""

    def __init__(self, source: MemoryQueue[bytes]) -> None:
        self.source = source
        self.fails = False
        self.deliveries: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    async def __aenter__(self) -> Any:
        return await self.source.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        await self.source.__aexit__(*raised)

    async def receive(self, n: int) -> list[queue.Message[bytes]]:
        """Take messages, or fail."""
        messages = await self.source.receive(n)
        if self.fails:
            for message in messages:
                await self.source.release(message, count=False)
            raise RuntimeError
        self.deliveries += [message.delivery for message in messages]
        return messages
