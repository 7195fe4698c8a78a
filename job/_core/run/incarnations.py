"""The lives of a task that is set up more than once: each from its init to its finalizer and exits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import trio

from ..forms import Inner
from ..task import Task
from ..trio.calls import call
from ..words.states import Phase

if TYPE_CHECKING:
    from .lifecycle import Lifecycle


@final
class Lives:
    """Begins and ends the lives of one task, one after another.

    Each has exits and a guard of its own, inside of those of the task, and cleans up as a task does at its end: shielded and
    within the job's `finalize_timeout`. The last one is left to the task's own end.

    Around the guard there is a scope, `cut`, by which a life can be cut short.
    """

    __slots__ = ("_around", "_finalize", "_guard", "_init", "alive", "begun", "cut")

    def __init__(self, routines: Inner) -> None:
        self._init = routines.init
        self._finalize = routines.finalize
        self._around = 0
        self._guard: trio.CancelScope
        self.cut: trio.CancelScope
        self.begun = False  # its finalizer is due
        self.alive = False  # its init has passed

    async def begin(self, task: Task) -> None:
        """Begin a life; what init raises is raised, and the life is still to be ended."""
        self._around = len(task._around)
        task._begin_life()
        self.cut = await task.enter(trio.CancelScope())
        task._begin_life()
        assert task._guard is not None
        self._guard = task._guard
        self.begun = True
        task._phase = Phase.INIT
        if self._init is not None:
            await call(self._init, task)
        task._phase = Phase.RUN
        self.alive = True

    async def end(self, task: Task, exc: BaseException | None) -> list[Exception]:
        """End the life; return what its finalizer and exits raised.

        Raises:
            BaseException: one of them raised something that is no Exception, and that nobody may keep.
        """
        self.begun = self.alive = False
        task._phase = Phase.FINALIZE
        faults: list[Exception] = []
        for fault in await engine_of(task).finalizers.end_life(task, self._finalize, self._around, exc):
            if not isinstance(fault, Exception):
                raise fault
            faults.append(fault)
        task._phase = Phase.RUN
        return faults

    async def finalize(self, task: Task) -> None:
        """Finalize the last life, where it has not ended yet: the task's own finalizer."""
        if self.begun and self._finalize is not None:
            self.begun = self.alive = False
            await self._finalize(task)

    def died_inside(self) -> bool:
        """Whether a scope that the life has left open is cancelled: a nursery of its init whose child has failed, say.

        What lies outside is hidden behind the guard while it looks.
        """
        self._guard.shield = True
        try:
            return trio.current_effective_deadline() == -math.inf
        finally:
            self._guard.shield = False


def engine_of(task: Task) -> Lifecycle:
    """Return the engine of a running task's job."""
    life = task.job._life
    assert life is not None
    return life
