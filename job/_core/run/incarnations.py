"""The incarnations of a task that is set up more than once: each lasts from its init to its finalizer and exits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import trio

from ..forms import Inner
from ..task import Task
from ..trio.calls import call
from ..words.states import Phase
from .pause import between_steps

if TYPE_CHECKING:
    from .lifecycle import JobRun


@final
class Incarnations:
    """Begins and ends the incarnations of one task, one after another.

    Each has exits and a guard of its own, inside of those of the task, and cleans up as a task does at its end: shielded and
    within the job's `finalize_timeout`. The last one is left to the task's own end.

    Around the guard there is a scope, `cut`, by which an incarnation can be cut short.
    """

    __slots__ = ("_finalize", "_guard", "_init", "_outer_frames", "alive", "begun", "cut")

    def __init__(self, routines: Inner) -> None:
        self._init = routines.init
        self._finalize = routines.finalize
        self._outer_frames = 0
        self._guard: trio.CancelScope
        self.cut: trio.CancelScope
        self.begun = False  # its finalizer is due
        self.alive = False  # its init has passed

    async def begin(self, task: Task) -> None:
        """Begin an incarnation. What init raises is raised; the incarnation must still be ended."""
        self._outer_frames = len(task._outer_frames)
        task._push_frame()
        self.cut = await task.enter(trio.CancelScope())
        task._push_frame()
        assert task._guard is not None
        self._guard = task._guard
        self.begun = True
        task._phase = Phase.INIT
        if self._init is not None:
            await call(self._init, task)
        task._phase = Phase.RUN
        self.alive = True

    async def end(self, task: Task, exc: BaseException | None) -> list[Exception]:
        """End the incarnation; return what its finalizer and exits raised.

        Raises:
            BaseException: one of them raised something that is no Exception and must not be kept.
        """
        self.begun = self.alive = False
        task._phase = Phase.FINALIZE
        faults: list[Exception] = []
        for fault in await engine_of(task).finalizers.end_incarnation(task, self._finalize, self._outer_frames, exc):
            if not isinstance(fault, Exception):
                raise fault
            faults.append(fault)
        task._phase = Phase.RUN
        return faults

    async def renew(self, task: Task) -> bool:
        """End the incarnation that was cut and begin the next, with a checkpoint between them.

        Returns:
            Whether there is a next one: none is begun once the job is stopping.

        Raises:
            Exception: the first of what its finalizer and exits raised; the others are recorded.
        """
        faults = await self.end(task, None)
        if faults:
            task._phase = Phase.FINALIZE
            for fault in faults[1:]:
                note_fault(task, fault, Phase.FINALIZE)
            raise faults[0]
        task._cancel_expected = False
        if not await between_steps(task):  # no init is entered once the job is cancelled
            return False
        await self.begin(task)
        return True

    def was_cut(self, task: Task) -> bool:
        """Return True if `cut` is cancelled; the Cancelled that it leaves behind is no failure of the task then."""
        cut = self.cut.cancel_called
        task._cancel_expected = task._cancel_expected or cut
        return cut

    async def finalize(self, task: Task) -> None:
        """Finalize the last incarnation if it has not ended yet: the task's own finalizer."""
        if self.begun and self._finalize is not None:
            self.begun = self.alive = False
            await self._finalize(task)

    def died_inside(self) -> bool:
        """Return True if a scope that it has left open is cancelled: a nursery of its init whose child has failed, say.

        What lies outside is hidden behind the guard while it looks.
        """
        self._guard.shield = True
        try:
            return trio.current_effective_deadline() == -math.inf
        finally:
            self._guard.shield = False


def open_frame(task: Task) -> None:
    """Open a frame inside the present one of a task: what the routines enter from now on is left before what is around."""
    task._push_frame()


def note_fault(task: Task, error: Exception, phase: Phase) -> None:
    """Record an error of a running task that does not change the job's end."""
    engine_of(task).failures.note(task, phase, error)


def note_outer_cancel(task: Task) -> None:
    """Record a cancellation from outside of a running task's job, which the task may not see behind a shield."""
    engine_of(task).stop.check_outer_cancel()


def note_overrun(task: Task, error: Exception) -> None:
    """Record that a run had to be cancelled, once; the Cancelled that this leaves behind is no failure of the task."""
    if not task._cancel_expected:
        task._cancel_expected = True
        note_fault(task, error, Phase.RUN)


def engine_of(task: Task) -> JobRun:
    """Return the engine of a running task's job."""
    run = task.job._run
    assert run is not None
    return run
