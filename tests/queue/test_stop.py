"""What a stop leaves of messages: in virtual time."""

from typing import Any

import trio
from trio.testing import MockClock

import job
from job import StopPolicy, Task, queue, tasks
from job.testing import MemoryQueue
from tests.journal import done, each_second, forever, lasting
from tests.queue.workers import doing, working


async def left_by(build: Any, *, grace: float = 0, after: float = 1, wait: float = 0) -> tuple[int, int]:
    """Put one message, stop its worker after some seconds; return how many are left, and the next delivery of one."""
    source = MemoryQueue()
    async with source:
        async with working(source, build, grace=grace):
            await source.put(b"1")
            await trio.sleep(after)
        left = (await source.statistics()).depth
        return left, (await source.receive(1))[0].delivery if left else 0


async def test_cut(autojump_clock: MockClock) -> None:
    """A job that a stop cuts is DONE and its work is not: its message is given back at once, and that was no delivery."""
    assert await left_by(doing(forever)) == (1, 1)


async def test_stopped_between_two_steps(autojump_clock: MockClock) -> None:
    """So it is with a job that was stopped between two steps."""
    assert await left_by(doing(each_second), grace=10, after=2.5) == (1, 1)


async def test_stopped_in_a_pause(autojump_clock: MockClock) -> None:
    """So it is with one whose task waited for the next attempt or the next point."""
    assert await left_by(doing(lasting(0, Task.idle)), grace=10, after=2.5) == (1, 1)

    async def run(task: Task) -> None:
        task.tick()

    def build(message: Any) -> job.Job[Any]:
        j: job.Job[Any] = job.Job()
        j.add_task(tasks.every(10, run))
        return j

    assert await left_by(build, grace=10, after=2.5) == (1, 1)


async def test_done_within_the_grace(autojump_clock: MockClock) -> None:
    """A job whose task says `done` within the grace has done its work."""
    assert await left_by(doing(lasting(5)), grace=10) == (0, 0)


async def test_one_of_two_done(autojump_clock: MockClock) -> None:
    """All of its tasks have to say so."""

    def build(message: Any) -> job.Job[Any]:
        j = doing(lasting(5))(message)
        j.add_task(each_second)
        return j

    assert await left_by(build, grace=10) == (1, 1)


async def test_a_task_without_a_run(autojump_clock: MockClock) -> None:
    """A task without a run has nothing to say."""

    def build(message: Any) -> job.Job[Any]:
        j = doing(lasting(5))(message)
        j.add_task(lambda _: (done, None, None), name="set up")
        return j

    assert await left_by(build, grace=10) == (0, 0)


async def test_a_transient_task_cut(autojump_clock: MockClock) -> None:
    """A transient task that was cut has left work, though the job has forgotten it."""

    def build(message: Any) -> job.Job[Any]:
        j = doing(lasting(5))(message)
        j.add_task(each_second, policy=StopPolicy.CONTAIN, transient=True)
        return j

    assert await left_by(build, grace=10) == (1, 1)


async def test_done_then_cut(autojump_clock: MockClock) -> None:
    """A `done` in the middle of a run that is then cut is none."""

    async def run(task: Task) -> None:
        task.done()
        await trio.sleep_forever()

    assert await left_by(doing(run), grace=10) == (1, 1)


async def test_cancel(autojump_clock: MockClock) -> None:
    """A worker that is cancelled gives its messages back too, uncounted."""
    source = MemoryQueue()
    async with source:
        async with working(source, doing(forever), limit=2, prefetch=2) as worker:
            for _ in range(4):
                await source.put(b"1")
            await trio.sleep(1)
            worker.cancel()
        assert (await source.statistics()).depth == 4
        assert [message.delivery for message in await source.receive(4)] == [1] * 4


async def test_outer_cancellation(autojump_clock: MockClock) -> None:
    """So does one whose scope is cancelled, prefetched messages included."""
    source = MemoryQueue()
    worker: job.Job[None] = job.Job(name="worker")
    worker.add_task(queue.consume(source, doing(forever), prefetch=2))
    async with source:
        for _ in range(3):
            await source.put(b"1")
        with trio.move_on_after(1):
            await worker.run()
        assert (await source.statistics()).depth == 3


async def test_failure_in_the_drain(autojump_clock: MockClock) -> None:
    """A job that fails by itself while its worker stops has had its delivery."""

    async def run(task: Task) -> None:
        await trio.sleep(5)
        raise RuntimeError

    source = MemoryQueue()
    async with source:
        async with working(source, doing(run), grace=10, retry=tasks.Backoff(20, 20)):
            await source.put(b"1")
            await trio.sleep(1)
        assert (await source.statistics()).delayed == 1
        (message,) = await source.receive(1)
        assert (message.delivery, message.history[0].error) == (2, "RuntimeError()")


async def test_at_once(autojump_clock: MockClock) -> None:
    """What is not begun is given back when the stop begins, not at the end of the grace; what runs may end."""
    source = MemoryQueue()
    async with source:
        worker: job.Job[None] = job.Job(name="worker", grace=30)
        worker.add_task(queue.consume(source, doing(lasting(20)), prefetch=3))
        async with trio.open_nursery() as nursery:
            await worker.run_in_background(nursery)
            for _ in range(10):
                await source.put(b"1")
            await trio.sleep(5)
            worker.finish()
            await trio.sleep(0.5)
            statistics = await source.statistics()
            assert (statistics.depth, statistics.pending) == (9, 1)
        assert trio.current_time() == 20
        assert (await source.statistics()).depth == 9


async def test_finished_from_elsewhere(autojump_clock: MockClock) -> None:
    """A job that is finished from elsewhere has not ended by itself: that was a delivery, with a backoff and no error."""
    jobs: list[job.Job[Any]] = []

    def build(message: Any) -> job.Job[Any]:
        jobs.append(doing(forever)(message))
        return jobs[-1]

    source = MemoryQueue()
    async with working(source, build, retry=tasks.Backoff(100, 100)):
        await source.put(b"1")
        await trio.sleep(1)
        jobs[0].finish()
        await trio.sleep(1)
        assert (await source.statistics()).delayed == 1


async def test_stop_before_others_begin(autojump_clock: MockClock) -> None:
    """Those that were to begin beside it are not begun any more."""
    built: list[bytes] = []

    def build(message: Any) -> job.Job[Any]:
        built.append(message.payload)
        current = job.current_job()
        assert current is not None
        current.finish()
        return doing(forever)(message)

    source = MemoryQueue()
    async with source:
        for _ in range(3):
            await source.put(b"1")
        async with working(source, build, limit=3):
            await trio.sleep(1)
        assert (await source.statistics()).depth == 3
        assert built == [b"1"]


async def test_stop_asked_by_build_job(autojump_clock: MockClock) -> None:
    """A message whose `build_job` stops the worker is given back, uncounted."""

    def build(message: Any) -> job.Job[Any]:
        current = job.current_job()
        assert current is not None
        current.finish()
        return doing(forever)(message)

    assert await left_by(build) == (1, 1)
