"""Waits that a stop of the job ends at once."""

from __future__ import annotations

import trio

from ..task import BETWEEN, NONE, Host, Task


async def pause_for(seconds: float, host: Host | None) -> None:
    """Wait; a stop of the host, where one is given, ends the wait at once."""
    if seconds == 0 or host is None:
        await trio.sleep(seconds)
        return
    with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
        host._add_stop_scope(scope)
        try:
            await trio.sleep_forever()
        finally:
            host._remove_stop_scope(scope)


async def pause_until(task: Task, at: float) -> bool:
    """Wait until `at`, on trio's clock; always a checkpoint.

    A stop of the job ends the wait, and finds the task between two steps, however many calls deep in its run.

    Returns:
        Whether to go on; if not, `run` should return and leave the step as it is.
    """
    task._step = BETWEEN
    with task.cancel_on_stop():
        await trio.sleep_until(at)
    return _goes_on(task)


async def pause(task: Task, seconds: float) -> bool:
    """Wait for some seconds, as `pause_until` does."""
    return await pause_until(task, trio.current_time() + seconds)


async def between_steps(task: Task) -> bool:
    """Make a checkpoint at which a stop finds the task between two steps; return as `pause_until` does."""
    task._step = BETWEEN
    await trio.lowlevel.checkpoint()
    return _goes_on(task)


def _goes_on(task: Task) -> bool:
    if task.job.stopping:
        return False
    task._step = NONE
    return True
