"""The run loop: call `run` again and again, and do what its step says."""

from __future__ import annotations

from time import monotonic
from typing import Final, Protocol

from trio.lowlevel import current_task, disable_ki_protection

from ..forms import AsyncRoutine, refuse_routines
from ..task import BETWEEN, DONE, IDLE, NONE, TICK, Task
from ..trio.time_slice import TimeSlice
from ..words.exceptions import MissingStepError
from .pause import pause_for

SHORTEST_PAUSE: Final = 0.001

LONGEST_PAUSE: Final = 0.05


class Stoppable(Protocol):
    """Says whether the job has been asked to stop. An attribute and no call: it is read after each step."""

    stopping: bool


# User routines are open to KeyboardInterrupt, and what they are called from decides: hence the loop is open, too. It has
# nothing that an interrupt between two lines could break.
@disable_ki_protection
async def run_loop(task: Task, run: AsyncRoutine, stop: Stoppable, time_slice: TimeSlice) -> None:
    """Call `run` until it is done, or stopped at a step.

    Raises:
        MissingStepError: `run` returned without a step while the job was not stopping.
        BaseException: whatever `run` raises.
    """
    until = time_slice.slice_ends  # of a slice that others have begun, the rest
    now = 0.0
    pause = 0.0  # the last time that it was idle
    idle_at = -1  # which step that was
    while True:
        task._step = NONE
        result = await run(task)
        task.steps += 1
        if task._step == TICK and (now := monotonic()) < until and not stop.stopping and result is None:
            continue  # fast path
        if result is not None and task._bare:
            refuse_routines(task.name, result)
        step = task._step
        if step == DONE:
            return
        if step == TICK:
            if now >= until:
                task._step = BETWEEN
                trio_task = task._trio_task or current_task()
                until = time_slice.may_go_on(trio_task, now) or await time_slice.checkpoint()
        elif step == IDLE:
            task._step = BETWEEN
            pause = min(max(SHORTEST_PAUSE, 2 * pause), LONGEST_PAUSE) if task.steps == idle_at + 1 else 0.0
            idle_at = task.steps
            await pause_for(pause, None if task.index == 0 else task._host)
        elif stop.stopping:
            return
        else:
            raise MissingStepError(f"run of task {task.name!r} returned without tick(), done(), idle() or finish_job()")
        if stop.stopping and task.index != 0:  # a oneshot that ticks under a grace goes on until it is done
            return
