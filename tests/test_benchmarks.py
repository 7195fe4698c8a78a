"""The benchmarks run; what they measure is said by `make bench`, and never asserted."""

import itertools
import json
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import job
from tests.benchmarks import fairness
from tests.benchmarks.__main__ import main
from tests.benchmarks.core.crowd import cost_of_a_checkpoint, cost_of_a_job, cost_of_a_raw_job, cost_of_a_tick
from tests.benchmarks.core.guaranteed import Plain, Tight, Work, Yardstick
from tests.benchmarks.core.parked import SHAPES, park_all
from tests.benchmarks.effort import TINY
from tests.benchmarks.relay import integrity, speed, tls
from tests.benchmarks.relay.designs import JOBS, NAIVE, designs
from tests.benchmarks.relay.load import loading
from tests.benchmarks.relay.process import proxying
from tests.benchmarks.results import Row, Section, Target
from tests.benchmarks.rounds import Figure, interleaved, ratio


@pytest.mark.parametrize("name", ["ticks", "jobs", "balancer"])
def test_section(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is measured, whatever its figure, and kept as JSON."""
    assert main(["--tiny", "--only", name, "--json", str(tmp_path / "bench.json")]) == 0
    (section,) = json.loads((tmp_path / "bench.json").read_text())["sections"]
    assert section["rows"]
    assert section["name"] in capsys.readouterr().out


@pytest.mark.parametrize("shape", SHAPES)
async def test_parked_jobs_are_cancelled(shape: str) -> None:
    """Parked jobs of every shape end when they are cancelled."""
    assert (await park_all(shape, 2)).cancel > 0


@pytest.mark.parametrize("measure", [speed.measure, tls.measure], ids=["plain", "tls"])
def test_relay(measure: Callable[..., Section]) -> None:
    """A relay of jobs is found to be byte-exact, and is measured."""
    section = measure(TINY, [JOBS])
    assert not [line for table in section.tables for line in table.lines if "FAILS" in " ".join(line)]
    assert section.rows


def test_load_without_a_compiler() -> None:
    """Where nothing can be compiled the load is in Python, does the same, and says so."""
    (design,) = (each for each in designs() if each.name == NAIVE)
    with loading(compiler=None) as load, proxying(design, load.port) as (pid, port):
        assert load.note
        assert load.work(f"open {port} 3", pid).answer["held"] == 3
        assert load.work("close", pid).answer["failed"] == 0
        assert load.work(f"echo {port} 2 64 0.1 1", pid).answer["messages"] > 0


def test_fairness() -> None:
    """A greedy connection, and loops that never await, are measured."""
    section = fairness.measure(TINY, [JOBS])
    assert section.rows
    assert section.tables


class Book:
    """Three tasks that write down what is called, one of which may go wrong."""

    def __init__(self, fault: tuple[int, str] | None) -> None:
        self._fault = fault
        self.calls: list[tuple[int, str]] = []

    def work(self, index: int) -> Work:
        """Return the work of one task."""
        return Work(*(partial(self._call, index, phase) for phase in ("init", "run", "finalize")))

    def factory(self, index: int) -> Callable[[job.Job[None]], job.Routines]:
        """Return the same as a task of a job."""
        init, run, finalize = self.work(index)

        async def run_once(task: job.Task) -> None:
            await run()
            task.done()

        return lambda j: job.Routines(lambda task: init(), run_once, lambda task: finalize())

    async def _call(self, index: int, phase: str) -> bool:
        self.calls.append((index, phase))
        await trio.sleep(math.inf if self._fault == (index, f"endless {phase}") else index)
        if self._fault == (index, phase):
            raise ValueError(phase)
        return False


FAULTS = [None, *itertools.product(range(3), ["init", "run", "finalize", "endless finalize"])]


@pytest.mark.parametrize("style", [Tight, Plain])
@pytest.mark.parametrize("fault", FAULTS)
async def test_yardstick_keeps_the_guarantees(
    fault: tuple[int, str] | None, style: type[Yardstick], autojump_clock: MockClock
) -> None:
    """What is written by hand makes the same calls in the same order as a job, whatever goes wrong, and records the same."""
    by_job, by_hand = Book(fault), Book(fault)
    j = job.Job[None](finalize_timeout=5)
    j.add_oneshot_task(by_job.factory(0))
    j.add_task(by_job.factory(1))
    j.add_task(by_job.factory(2))
    with suppress(ValueError, TimeoutError):
        await j.run()
    hand = style([by_hand.work(index) for index in range(3)], finalize_timeout=5)
    with suppress(ValueError, TimeoutError):
        await hand.run()
    recorded = [(e.task and e.task.index, e.phase and e.phase.value, isinstance(e.error, ValueError)) for e in j.errors]
    assert by_hand.calls == by_job.calls
    assert [(e.task, e.phase, isinstance(e.error, ValueError)) for e in hand.errors] == recorded
    assert len(recorded) == (fault is not None)


@pytest.mark.parametrize("style", [Tight, Plain])
async def test_yardstick_in_a_cancelled_scope(style: type[Yardstick], autojump_clock: MockClock) -> None:
    """A cancellation from outside goes on when the finalizers have run."""
    book = Book((1, "endless run"))
    with trio.move_on_after(9) as scope:
        await style([book.work(index) for index in range(3)]).run()
    assert scope.cancelled_caught
    assert book.calls[-3:] == [(index, "finalize") for index in (2, 1, 0)]


@pytest.mark.parametrize("cost", [cost_of_a_job, cost_of_a_raw_job, cost_of_a_tick, cost_of_a_checkpoint])
async def test_crowd(cost: Callable[[int], Awaitable[float]]) -> None:
    """Many jobs at once are measured."""
    assert await cost(2) > 0


async def test_integrity_check_finds_what_is_lost() -> None:
    """A proxy that ends a connection with the first EOF, or loses a byte, is found out."""

    async def lossy(client: trio.SocketStream) -> None:
        async with client, await trio.open_tcp_stream("127.0.0.1", port) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, upstream, nursery.cancel_scope)
            nursery.start_soon(pump, upstream, client, nursery.cancel_scope)

    async def pump(source: trio.SocketStream, sink: trio.SocketStream, ends: trio.CancelScope) -> None:
        while data := await source.receive_some():
            await sink.send_all(data[:60_000])
        ends.cancel()

    async with integrity.backend() as port, trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, lossy, 0, host="127.0.0.1"))
        failed = await integrity.failures(listener.socket.getsockname()[1], integrity.TINY)
        assert failed == [name for name in integrity.CHECKS if name != "small exchanges"]
        nursery.cancel_scope.cancel()


def test_every_variant_has_its_turn() -> None:
    """Variants are measured in turn, and compared round by round."""
    order: list[str] = []

    def variant(name: str, value: float) -> float:
        order.append(name)
        return value

    samples = interleaved({"a": lambda: variant("a", 6), "b": lambda: variant("b", 2)}, 2)
    assert order == ["a", "b", "b", "a"]
    assert ratio(samples, "a", "b") == Figure(3, 3, 3)


@pytest.mark.parametrize(("bound", "verdict"), [(2, "MISSED"), (3, "holds")])
def test_verdict(bound: float, verdict: str) -> None:
    """A row holds when its median reaches the target."""
    assert Row("it", Figure(2.5, 1, 4), Target("<=", bound)).verdict == verdict
