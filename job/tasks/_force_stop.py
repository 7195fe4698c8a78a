"""`force_stop`: bound how long a run may take to stop."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import final

import trio

from .._core import check
from .._core.border import stop_cause
from .._core.forms import AsyncRoutine, Inner, TaskForm
from .._core.run.incarnations import note_outer_cancel, note_overrun, open_frame
from .._core.steps import ticked
from .._core.task import Task
from .._core.words.blocks import asynccontextmanager
from .._core.words.exceptions import StopTimeoutError
from ._wrapper import Wrapper, check_form


def force_stop(t: TaskForm, after: float) -> Wrapper:
    """Return a factory of a task whose run has `after` seconds to return once the job stops, and is then cancelled.

    The time is exact, however the job stops: a longer grace is cut short, and a cancellation of any cause is kept from the run
    for that long. The run learns of the stop from `Job.stopping`, `Job.wait_stopping` or `Task.cancel_on_stop`. A run that had
    to be cancelled is recorded in `Job.errors` as a `StopTimeoutError` that names it; after a `finish` the job is still DONE.

    If the job's `grace` suits every task, you do not need this.

    Args:
        t: the task, in any of its forms.
        after: seconds from the request to stop; 0 cancels at once.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    check_form("t", t)
    seconds = check.seconds("after", after)

    def change(inner: Inner) -> Inner:
        if inner.run is None:
            return inner
        forced = ForceStop(inner.init, inner.run, seconds)
        return Inner(forced.init, forced.run, inner.finalize)

    return Wrapper(t, change)


@final
class ForceStop:
    """Keeps a run from cancellation until its time to leave is over.

    Theory: it needs a scope around the run. That scope must lie outside of whatever the routines leave open for their
    finalizer, so it is opened before init; an incarnation is begun inside it, so that the finalizer can be shielded from the
    scope.
    """

    __slots__ = ("_after", "_cut", "_init", "_left", "_run", "_running", "_shielded", "_shields")

    def __init__(self, init: AsyncRoutine | None, run: AsyncRoutine, after: float) -> None:
        self._init = init
        self._run = run
        self._after = after
        self._cut: trio.CancelScope
        self._shields = True  # True if the next run is shielded.
        self._shielded = False  # True while the shield is up.
        self._running = False
        self._left = False

    async def init(self, task: Task) -> None:
        """Open the scopes, then initialise."""
        self._shields, self._shielded, self._left = True, False, False
        await task.enter(self._watched(task))
        self._cut = await task.enter(trio.CancelScope())
        open_frame(task)
        if self._init is not None:
            await self._init(task)

    async def run(self, task: Task) -> object:
        """Run behind the shield while there is time left.

        The shield stays up from a tick to the next run, because lowering and raising it costs more than the step. The watcher
        lowers it when necessary.
        """
        job = task.job
        if not self._shielded:
            self._shield(self._shields)
        if job.stopping:
            self._arm(task)
        self._running = True
        try:
            result = await self._run(task)
        except BaseException:
            self._leave(task)
            raise
        if job.stopping or not ticked(task):
            self._leave(task)
        else:
            self._running = False
        return result

    def _leave(self, task: Task) -> None:
        self._running = False
        self._shield(False)
        self._arm(task)  # A run that never awaits returns before the watcher wakes up.
        if self._cut.cancel_called:
            self._overran(task)
        self._cut.deadline = math.inf  # Waiting for the turn to clean up is not an overrun.

    def _shield(self, up: bool) -> None:
        self._cut.shield = self._shielded = up

    @asynccontextmanager
    async def _watched(self, task: Task) -> AsyncIterator[None]:
        raised = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, task)
            try:
                yield
            except BaseException as exc:  # It must not pass through the nursery, which would take its repr.
                raised = exc
            self._left = True
            nursery.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def _watch(self, task: Task) -> None:
        """Wait for the stop, or for a cancellation that the shield hides from the run."""
        try:
            await task.job.wait_stopping()
        except trio.Cancelled:
            if not self._left:
                note_outer_cancel(task)
            raise
        finally:
            if not task.job.stopping:  # Only this task is cancelled, for example by an outer wrapper.
                self._shields = False
                self._shield(False)
            elif self._running:
                self._arm(task)
            else:
                self._shield(False)

    def _arm(self, task: Task) -> None:
        """Set the deadline of the run, once it is known."""
        stop = stop_cause(task.job)
        if stop is not None and stop.at is not None:
            self._cut.deadline = stop.at + self._after

    def _overran(self, task: Task) -> None:
        error = StopTimeoutError(f"task {task.name!r} did not leave within {self._after:g} s of the stop")
        note_overrun(task, error)
