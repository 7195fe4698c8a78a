"""Random interleavings of put, crash, stop, hung worker and outage: no message is lost, none is acknowledged undone."""

import itertools
from collections.abc import Callable
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import job
from job import Task, queue, tasks
from job.queue import RedisStream
from job.testing import MemoryQueue
from tests.queue.redis_server import RedisServer

STEPS = ("put", "put later", "start", "crash", "stop", "cancel", "hang", "away", "back", "wait", "wait", "wait")
steps = st.lists(st.sampled_from(STEPS), min_size=5, max_size=25)

_numbers = itertools.count(1)


class Seen:
    """A source as one worker process has it: it notes what is acknowledged, and after a crash nothing reaches the broker."""

    def __init__(self, source: Any, story: "Story") -> None:
        self._source = source
        self._story = story
        self.crashed = False
        self.hung = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def __aenter__(self) -> "Seen":
        await self._source.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._source.__aexit__(*raised)

    async def receive(self, n: int, /) -> Any:
        """Take messages."""
        return await self._source.receive(n)

    async def ack(self, message: Any, /) -> bool:
        """Acknowledge one."""
        if self.crashed:
            return True
        acknowledged = await self._source.ack(message)
        if acknowledged and message.id not in self._story.done:
            self._story.wrong.append(message.id)
        return bool(acknowledged)

    async def extend(self, message: Any, /) -> bool:
        """Extend its lease, unless the worker hangs."""
        return True if self.crashed or self.hung else await self._source.extend(message)

    async def release(self, message: Any, /, **options: Any) -> bool:
        """Give it back."""
        return True if self.crashed else await self._source.release(message, **options)


class Story:
    """A queue, its workers, and what has become of the messages; `second` is one in the time of the queue."""

    def __init__(self, make: Callable[[], Any], set_away: Callable[[Any, bool], None], second: float) -> None:
        self._make = make
        self._set_away = set_away
        self._second = second
        self._source = make()
        self._workers: list[tuple[job.Job[Any], Seen]] = []
        self._jobs = itertools.count()
        self._is_away = False
        self.put: set[str] = set()
        self.done: set[str] = set()
        self.wrong: list[str] = []

    async def tell(self, steps: list[str]) -> None:
        """Take the steps, and then let one good worker do what is left."""
        async with self._source, trio.open_nursery() as self._nursery:
            for step in steps:
                await getattr(self, f"_{step.replace(' ', '_')}")()
                await trio.sleep(0.1 * self._second)
            await self._back()
            await self._start()
            await self._until_empty()
            for worker, _ in self._workers:
                worker.cancel()
        assert self.wrong == []
        assert self.put <= self.done

    async def _until_empty(self) -> None:
        with trio.fail_after(400 * self._second):
            while True:
                statistics = await self._source.statistics()
                if statistics.depth == statistics.pending == statistics.delayed == 0:
                    return
                assert statistics.dead == 0
                await trio.sleep(self._second)

    def _build(self, message: queue.Message[bytes]) -> job.Job[Any]:
        number = next(self._jobs)

        async def run(task: Task) -> None:
            await trio.sleep((0.05, 0.3, 1.5)[number % 3] * self._second)
            if number % 5 == 4:
                raise RuntimeError
            if number % 7 == 6 and task.steps == 0:
                task.tick()
                return
            self.done.add(message.id)
            task.done()

        j: job.Job[Any] = job.Job(quiet=[RuntimeError])
        j.add_task(run)
        return j

    async def _put(self, delay: float = 0) -> None:
        if not self._is_away:
            self.put.add(await self._source.put(b"1", delay=delay))

    async def _put_later(self) -> None:
        await self._put(0.7 * self._second)

    async def _start(self) -> None:
        seen = Seen(self._make(), self)
        self._set_away(seen._source, self._is_away)
        worker: job.Job[Any] = job.Job(name="worker", grace=0.5 * self._second)
        retry = tasks.Backoff(0.1 * self._second, self._second)
        worker.add_task(queue.consume(seen, self._build, limit=2, prefetch=1, retry=retry))
        self._workers.append((worker, seen))
        await worker.run_in_background(self._nursery)

    async def _crash(self) -> None:
        if self._workers:
            worker, seen = self._workers.pop(0)
            seen.crashed = True
            worker.cancel()

    async def _stop(self) -> None:
        if self._workers:
            self._workers.pop(0)[0].finish()

    async def _cancel(self) -> None:
        if self._workers:
            self._workers.pop(0)[0].cancel()

    async def _hang(self) -> None:
        for _, seen in self._workers[:1]:
            seen.hung = True
        await self._wait()
        for _, seen in self._workers[:1]:
            seen.hung = False

    async def _away(self) -> None:
        self._is_away = True
        self._tell_all()

    async def _back(self) -> None:
        self._is_away = False
        self._tell_all()

    def _tell_all(self) -> None:
        for source in (self._source, *(seen._source for _, seen in self._workers)):
            self._set_away(source, self._is_away)

    async def _wait(self) -> None:
        await trio.sleep(1.2 * self._second)


@given(steps)
@settings(max_examples=150)
def test_in_memory(steps: list[str]) -> None:
    """In memory, in virtual time."""
    source = MemoryQueue(lease=1, max_deliveries=1000)
    story = Story(lambda: source, lambda _, away: setattr(source, "away", away), 1)
    trio.run(story.tell, steps, clock=MockClock(autojump_threshold=0))


def test_on_redis(redis_server: RedisServer) -> None:
    """On a real server, each worker with a client of its own; an outage is one of the network between them."""

    @given(steps)
    @settings(max_examples=8)
    def check(steps: list[str]) -> None:
        name = f"story-{next(_numbers)}"
        story = Story(lambda: Reachable(redis_server, name).source, set_reachable, 0.2)
        trio.run(story.tell, steps)

    check()


class Reachable:
    """Makes the clients of one source, as long as its server can be reached."""

    def __init__(self, server: RedisServer, name: str) -> None:
        self.url = server.url
        self.away = False
        self.source = RedisStream(self._make, name, lease=0.2, max_deliveries=1000)
        sources[id(self.source)] = self

    def _make(self) -> Any:
        import coredis

        return coredis.Redis.from_url(f"{self.url}.none" if self.away else self.url)


sources: dict[int, Reachable] = {}


def set_reachable(source: RedisStream[bytes], away: bool) -> None:
    """Begin an outage of one source, or end it: what it has open is closed."""
    sources[id(source)].away = away
    for client in (source._client, source._take_client):
        if client._link is not None:
            client._link.drop()
