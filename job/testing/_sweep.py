"""The sweep: cancel one job at each of its checkpoints in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

import trio

from .._core import check
from .._core.words.states import JobState
from ._stage import FOREVER, Performance, StuckError, perform
from ._trace import Ask, Entry, Trace

if TYPE_CHECKING:
    from .._core.job import Job

_NOT_RUNNING = (JobState.NEW, JobState.DONE, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Struck:
    """One run of a sweep: the step before which the job was struck, its trace, and those of the jobs inside it."""

    step: int
    traces: tuple[Trace, ...]


def cancel_at_each_checkpoint(
    build: Callable[[], Job[Any]], *, by: Ask = Ask.OUTER, entry: Entry = Entry.RUN, block: float = 0.0, seed: int = 0
) -> Iterator[Struck]:
    """Run a job again and again under virtual time, and strike it before its 1st, 2nd, … last step; call this outside of trio.

    A step is what one trio task does between two of its checkpoints, so these are all the moments at which another trio
    task could strike.

    Args:
        build: makes the job; called once for each run, inside of trio. All runs must take the same steps up to the strike.
        by: how it is struck: the scope around it is cancelled, `Job.cancel`, or `Job.finish` with the job's grace.
        entry: how it is run; an `async with` has a block that sleeps for `block` seconds.
        seed: for the order in which trio runs tasks that are ready at the same time.

    Raises:
        StuckError: a run does not end; the message says which run, and what hangs.
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    check.uncalled("build", build)
    check.plain("build", build)
    check.member("by", by, Ask)
    check.member("entry", entry, Entry)
    return _sweep(partial(_strike, build=build, by=by, entry=entry, block=check.seconds("block", block), seed=seed))


def _sweep(strike: Callable[[int], Struck | None]) -> Iterator[Struck]:
    step = 1
    while (struck := strike(step)) is not None:
        yield struck
        step += 1


def _strike(
    step: int, build: Callable[[], Job[Any]], *, by: Ask, entry: Entry, block: float, seed: int
) -> Struck | None:
    """Run the job once; return None if it ended before it could be struck."""
    striker = Striker(step, by)
    try:
        traces = perform(
            lambda tracer: build(),
            on_stage=striker.watch,
            entry=entry,
            block=block,
            seed=seed,
            instruments=(striker,),
        )
    except StuckError as stuck:
        strike = f"struck before step {step} by {by}" if striker.left == 0 else f"not struck yet at step {step}"
        raise StuckError(f"{strike}, entered by {entry}: {stuck}") from None
    return Struck(step, traces) if striker.left == 0 else None


@final
class Striker(trio.abc.Instrument):
    """Counts the steps that trio tasks take from when the job starts, and strikes before the given one."""

    def __init__(self, step: int, by: Ask) -> None:
        self.left = step
        self._by = by
        self._performance: Performance | None = None

    def watch(self, performance: Performance) -> None:
        """Count from the start of this job."""
        self._performance = performance

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count one step."""
        if self.left > 0 and self._performance is not None and self._is_running(self._performance.job):
            self.left -= 1
            if self.left == 0:
                self._performance.ask(self._by)

    @staticmethod
    def _is_running(job: Job[Any]) -> bool:
        """Return True while the job can be struck: anything after `FOREVER` is the end of a run that hangs."""
        return job.state not in _NOT_RUNNING and trio.current_time() < FOREVER
