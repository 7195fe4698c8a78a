"""`every`: run a task at the points of a fixed grid."""

from __future__ import annotations

import math
from typing import final

import trio

from .._core import check
from .._core.forms import AsyncRoutine, Inner, TaskForm
from .._core.run.pause import pause_until
from .._core.steps import ticked
from .._core.task import Task
from .._core.words.grid import Grid
from ._wrapper import Wrapper, check_form


def every(interval: float, t: TaskForm, *, immediate: bool = True) -> Wrapper:
    """Return a factory of a task whose tick means "again at the next point" of a grid of `interval` seconds.

    The grid begins with the first call of `run` and does not drift. A run that takes longer than the interval skips the points
    that it missed; they are not made up for. `idle()` polls as usual, and a run that is retried after a failure does not wait
    for a point. A stop of the job ends the wait at once. The task's idle clock goes on during the wait.

    For a pause of fixed length between two runs, sleep in the run itself.

    Args:
        interval: seconds, more than 0.
        t: the task, in any of its forms.
        immediate: True to run first at the start, False to run first one interval later.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    seconds = check.positive_seconds("interval", interval)
    if seconds == math.inf:
        raise ValueError(f"interval must be finite, got {interval!r}")
    check_form("t", t)
    check.bool_("immediate", immediate)

    def change(inner: Inner) -> Inner:
        return inner if inner.run is None else inner._replace(run=Every(inner.run, seconds, immediate=immediate).run)

    return Wrapper(t, change)


@final
class Every:
    """Calls a run at the points of its grid."""

    __slots__ = ("_grid", "_immediate", "_interval", "_run", "_waits")

    def __init__(self, run: AsyncRoutine, interval: float, *, immediate: bool) -> None:
        self._run = run
        self._interval = interval
        self._immediate = immediate
        self._grid: Grid | None = None
        self._waits = not immediate

    async def run(self, task: Task) -> object:
        """Wait for the next point, unless the last run ended without a tick; then run."""
        grid = self._begun()
        if self._waits and not await pause_until(task, grid.point):
            return None
        self._waits = False
        result = await self._run(task)
        if ticked(task):
            grid.move_on(trio.current_time())
            self._waits = True
        return result

    def _begun(self) -> Grid:
        if self._grid is None:
            delay = 0.0 if self._immediate else self._interval
            self._grid = Grid(trio.current_time() + delay, self._interval)
        return self._grid
