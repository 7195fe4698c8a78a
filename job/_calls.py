"""How the engine calls a user's routine, and how it reads what comes out."""

from __future__ import annotations

import trio
from trio.lowlevel import disable_ki_protection

from ._forms import AsyncRoutine
from ._task import Task


@disable_ki_protection
async def call(routine: AsyncRoutine, task: Task) -> object:
    """Call a routine. User code is open to KeyboardInterrupt; what it is called from decides."""
    return await routine(task)


def without_cancelled(error: BaseException) -> BaseException | None:
    """Return what a user raised: the error, a group without the Cancelled in it, or None where nothing else is left."""
    if isinstance(error, trio.Cancelled):
        return None
    if isinstance(error, BaseExceptionGroup):
        cancelled, rest = error.split(trio.Cancelled)
        return error if cancelled is None else rest  # a split makes new groups, also where it finds nothing
    return error
