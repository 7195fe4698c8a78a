"""Whatever the user's code and the network do to a balancer: at the end every place is free and every connection closed."""

import random
from collections.abc import Callable
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

import job
from job import Routines, Task, tasks
from job._core.words.groups import leaves
from job.net.balancer import Balancer, Upstream
from job.net.frames import Codec

FAULTS: tuple[Callable[[], BaseException], ...] = (
    lambda: OSError("refused"),
    lambda: ValueError("a bug"),
    StopAsyncIteration,
    lambda: SystemExit(3),
    KeyboardInterrupt,
    lambda: ExceptionGroup("of peers", [OSError("one"), ConnectionResetError()]),
    lambda: BaseExceptionGroup("mixed", [OSError("one"), SystemExit(4)]),
)


class Chaos:
    """Chance that decides what fails, and how; also a transport, a choice, a probe and an observer."""

    def __init__(self, seed: int, faultiness: float) -> None:
        self.random = random.Random(seed)
        self.faultiness = faultiness
        self.pairs: list[Any] = []

    def strike(self) -> None:
        """Raise, perhaps."""
        if self.random.random() < self.faultiness:
            make = self.random.choice(FAULTS)
            raise make()

    async def dial(self, address: str) -> Any:
        """Connect late, or not."""
        await trio.sleep(self.random.choice([0, 0, 0.5, 20]))
        self.strike()
        self.pairs.append(memory_stream_pair())
        return self.pairs[-1][0]

    async def listen(self, address: str) -> Any:
        """Have no listeners."""
        return []

    def choose(self, candidates: Any, key: Any, chance: Any) -> Any:
        """Choose anything."""
        self.strike()
        return self.random.choice([*candidates, None] if self.random.random() < self.faultiness else candidates)

    async def probe(self, upstream: Upstream) -> None:
        """Find anything."""
        await trio.sleep(self.random.random() * 2)
        self.strike()

    def on_event(self, event: object) -> None:
        """Hear of it, or not."""
        self.strike()

    def handle(self, event: str, fields: Any) -> None:
        """Write a line, or not."""
        self.strike()

    def connection(self, balancer: Balancer) -> job.Job[Any]:
        """Return a job that connects in one of the ways, and works for a while."""
        j = job.Job[Any](timeout=self.random.choice([1, 30]), parent=None)

        async def by_hand(task: Task) -> None:
            await balancer.connect(task)
            task.done()

        async def by_lease(task: Task) -> None:
            with await balancer.acquire(timeout=3) as upstream, trio.move_on_after(5):
                async with await upstream.endpoint.dial() as stream:
                    self.strike()
                    await stream.release()
            task.done()

        async def work(task: Task) -> None:
            await trio.sleep(self.random.random() * 4)
            if j.value is not None and self.random.random() < 0.5:
                await j.value.release()
            self.strike()
            task.done()

        oneshot = self.random.choice([balancer.connect_task(timeout=3), by_hand, by_lease])
        j.add_oneshot_task(tasks.retry(oneshot, attempts=2, wait=0.5) if self.random.random() < 0.3 else oneshot)
        j.add_task(lambda j: Routines(run=work))
        return j

    async def connect(self, balancer: Balancer) -> None:
        """Run a connection, which may fail in any way, or be cancelled."""
        await trio.sleep(self.random.random() * 5)
        with trio.move_on_after(self.random.choice([0.7, 100])):
            await swallow(self.connection(balancer))


async def swallow(j: job.Job[Any]) -> None:
    """Run a job that may fail."""
    try:
        await j.run()
    except trio.Cancelled:
        raise
    except BaseException as error:
        if any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error)):
            raise AssertionError("a Cancelled has leaked") from error


async def shuffle(balancer: Balancer, chaos: Chaos) -> None:
    """Replace the upstreams now and then."""
    for _ in range(4):
        await trio.sleep(1.3)
        upstreams = [Upstream(f"10.0.0.{n}:80", limit=2, transport=chaos, codec=Codec(), max_idle=1) for n in range(4)]
        try:
            balancer.replace(chaos.random.sample(upstreams, chaos.random.randrange(5)))
        except BaseException:
            continue


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.2, 0.5]))
def test_no_place_leaks(seed: int, faultiness: float) -> None:
    """No place is taken, no stream is open and no call waits once all connections are over."""
    chaos = Chaos(seed, faultiness)
    upstreams = [Upstream(f"10.0.0.{n}:80", limit=2, transport=chaos, codec=Codec(), max_idle=1) for n in range(3)]
    balancer = Balancer(upstreams, choose=chaos.choose, fall=1, eject_for=2, max_ejected=1)
    seen = dict.fromkeys(upstreams)

    async def main() -> None:
        checking = job.Job[Any](parent=None)
        checking.add_task(balancer.check_task(interval=1, timeout=1, probe=chaos.probe))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shuffle, balancer, chaos)
            for _ in range(12):
                nursery.start_soon(chaos.connect, balancer)
            with trio.move_on_after(6):
                await swallow(checking)
        seen.update(dict.fromkeys(balancer.upstreams))

    unregister = job.register_observer(chaos)
    job.register_default_logger({0: chaos.handle})
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        unregister()
        job.register_default_logger(None)
    assert [(upstream.active, upstream.endpoint.statistics().outbound) for upstream in seen] == [(0, 0)] * len(seen)
    assert "0 waiting" in repr(balancer)
