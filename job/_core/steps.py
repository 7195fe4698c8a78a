"""Read and set the step of a task's current call of run, for the wrappers around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .forms import AsyncRoutine
from .task import BETWEEN, DONE, NONE, TICK, Task


def ticked(task: Task) -> bool:
    """Return True if the step of the current call of run is a tick."""
    return task._step == TICK


def clear_step(task: Task) -> None:
    """Forget the step that an attempt at the current call of run has taken: the next attempt takes its own."""
    task._step = NONE


def stepping(run: AsyncRoutine, step: Callable[[Task, object], None]) -> Callable[[Task], Awaitable[None]]:
    """Return a run that hands its task and what `run` returned to `step`, except where a stop has found it in a wait."""

    async def stepping(task: Task) -> None:
        result = await run(task)
        if task._step != BETWEEN:
            step(task, result)

    return stepping


def tick_by_default(task: Task, result: object) -> None:
    """Tick, unless the call has taken a step of its own."""
    if task._step == NONE:
        task.tick()


def done_with(task: Task, result: object) -> None:
    """Be done with this result; None leaves what a `done` in the call has said."""
    if task._step != DONE or result is not None:
        task.done(result)
