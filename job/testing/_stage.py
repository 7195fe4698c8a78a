"""Run one job under virtual time, outside of trio, and return its trace and those of all jobs inside it."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, final

import trio
from trio.testing import MockClock

from .._core.observers import register_observer
from ._await_frames import branch
from ._burial import bury, coroutines_below
from ._trace import Ask, Asked, Entry, Outcome, Trace
from ._tracer import Tracer

if TYPE_CHECKING:
    from .._core.job import Job

# A virtual time long after any scenario: if the clock gets there, nothing runs any more.
FOREVER = 1e6
_MOST_STEPS = 1_000_000
_LAST_RECORDS = 10


class StuckError(AssertionError):
    """A run hangs or spins; the message shows what its trio tasks were waiting for."""


@final
class Performance:
    """One job on the stage, with all that an outside driver needs to act on it."""

    def __init__(self, job: Job[Any], outer: trio.CancelScope, tracer: Tracer) -> None:
        self.job = job
        self.outer = outer
        self.tracer = tracer

    def ask(self, what: Ask, grace: float | None = None) -> None:
        """Ask the job to end, or cancel the scope around it."""
        self.tracer.note_asked(self.job, Asked(trio.current_time(), what))
        if what is Ask.OUTER:
            self.outer.cancel()
        elif what is Ask.CANCEL:
            self.job.cancel()
        else:
            self.job.finish(grace)


Driver: TypeAlias = "Callable[[Performance], Awaitable[None]]"


@final
class _Guard(trio.abc.Instrument):
    """Brings down a run that does not end, despite any shields: trio reads its clock all the time."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self.clock = MockClock(autojump_threshold=0)
        self.stage: trio.lowlevel.Task | None = None  # The trio task around the whole run.
        self.performance: Performance
        self.hanging: list[Coroutine[Any, Any, object]] = []
        self.stuck: str | None = None
        self._left = _MOST_STEPS
        self._now = self.clock.current_time
        # Not a subclass: MockClock is final, and the engine and trio recognise a virtual clock by its type.
        self.clock.current_time = self._current_time  # type: ignore[method-assign]

    def _current_time(self) -> float:
        if self.stuck is not None:
            raise StuckError(self.stuck)
        return self._now()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count the steps: a run that spins takes very many."""
        self._left -= 1
        if self._left == 0:
            self._bring_down(f"it spins, after {_MOST_STEPS} steps")

    async def watch(self) -> None:
        """Wait until the virtual clock has jumped to `FOREVER`, because nothing else had anything to do."""
        await trio.sleep(FOREVER)
        self._bring_down("nothing runs any more")
        await trio.lowlevel.checkpoint()

    def forget(self) -> None:
        """Drop all references to the run, those of the tracer included."""
        self._tracer.forget()
        self.stage = None
        vars(self.performance).clear()

    def _bring_down(self, why: str) -> None:
        """Make the run crash when it next reads the clock."""
        root = trio.lowlevel.current_root_task()
        assert root is not None
        self.hanging.extend(coroutines_below(root))
        tree = [] if self.stage is None else branch(self.stage, 1)
        last = self._tracer.traces()[0].tail(_LAST_RECORDS)
        self.stuck = "\n".join([f"{why}:", *tree, "What the job did last:", last])


def perform(
    build: Callable[[Tracer], Job[Any]],
    driver: Driver | None = None,
    *,
    on_stage: Callable[[Performance], None] | None = None,
    entry: Entry = Entry.RUN,
    block: float = 0.0,
    seed: int = 0,
    instruments: tuple[trio.abc.Instrument, ...] = (),
) -> tuple[Trace, ...]:
    """Build a job and run it to its end; `driver` runs beside it, `on_stage` is called just before it starts.

    Returns:
        The traces, that of the job first; they are the same for the same seed.

    Raises:
        StuckError: the job does not end.
    """
    tracer = Tracer()
    guard = _Guard(tracer)

    async def main() -> None:
        guard.stage = trio.lowlevel.current_task()
        trio.lowlevel.spawn_system_task(guard.watch)
        async with trio.open_nursery() as nursery:
            performance = guard.performance = Performance(build(tracer), trio.CancelScope(), tracer)
            nursery.start_soon(driver or _wait, performance)
            if on_stage is not None:
                on_stage(performance)
            await _perform(performance, entry, block)
            nursery.cancel_scope.cancel()

    unregister = register_observer(tracer)
    try:
        with _scheduled(seed):
            trio.run(main, clock=guard.clock, instruments=(guard, *instruments))
    except trio.TrioInternalError as error:
        if guard.stuck is None:
            raise
        guard.forget()
        bury(guard.hanging, error)
    finally:
        unregister()
    if guard.stuck is not None:
        raise StuckError(guard.stuck)
    return tracer.traces()


async def _perform(performance: Performance, entry: Entry, block: float) -> None:
    job = performance.job
    before = trio.lowlevel.current_statistics().tasks_living
    raised: BaseException | None = None
    with performance.outer:
        try:
            await _ENTRIES[entry](job, block)
        except BaseException as error:
            raised = _bare(error)
            if isinstance(raised, trio.Cancelled):
                raise
    leaked = trio.lowlevel.current_statistics().tasks_living - before
    performance.tracer.note_outcome(job, Outcome(entry, raised, leaked))


async def _run(job: Job[Any], block: float) -> None:
    await job.run()


async def _run_in_background(job: Job[Any], block: float) -> None:
    async with trio.open_nursery() as nursery:
        await job.run_in_background(nursery)


async def _run_beside_block(job: Job[Any], block: float) -> None:
    async with job:
        await trio.sleep(block)


_ENTRIES = {Entry.RUN: _run, Entry.BACKGROUND: _run_in_background, Entry.BLOCK: _run_beside_block}


def _bare(error: BaseException) -> BaseException:
    """Unwrap the group that the nursery around a background job makes."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _wait(performance: Performance) -> None:
    await trio.sleep_forever()


@contextmanager
def _scheduled(seed: int) -> Iterator[None]:
    """Make trio run the tasks that are ready in an order that depends on the seed alone.

    trio has this for hypothesis, without a public name; pytest-trio does the same.
    """
    trio_run: Any = importlib.import_module("trio._core._run")
    allowed, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = allowed
        trio_run._r.setstate(state)
