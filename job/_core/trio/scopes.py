"""What trio knows of the cancel scopes around a piece of code, and has no public way to ask for.

When a trio task ends, trio forgets the scopes that it has left open; for a task that has none of its own this is done here. A
scope around each such task would do as well, and costs a short job a tenth of its time. And whether a scope is cancelled, its
own or one around it, can be asked only inside of it, behind whatever the code there has opened. Likewise a scope can be opened
only inside of all that are open; one that was opened in time, in case it should be needed, costs each task its memory.
"""

from __future__ import annotations

import math

import trio


def is_cancelled(task: trio.lowlevel.Task) -> bool:
    """Whether what a trio task does next is cancelled."""
    return task._cancel_status.effectively_cancelled


def is_cancelled_around(scope: trio.CancelScope) -> bool:
    """Whether an open scope would be cancelled if only those around it were."""
    around = scope._cancel_status and scope._cancel_status._parent
    return around is not None and around.effectively_cancelled


def has_opened(task: trio.lowlevel.Task, around: trio.CancelScope) -> bool:
    """Whether a trio task has a scope open inside of this one."""
    return task._cancel_status is not around._cancel_status


def open_outside(scope: trio.CancelScope, around: trio.CancelScope) -> None:
    """Open `scope` in the running trio task, right inside of `around`: it encloses all that the task has opened in there."""
    task = trio.lowlevel.current_task()
    innermost = outermost = task._cancel_status
    if innermost is around._cancel_status:
        scope.__enter__()
        return
    while outermost.parent not in (around._cancel_status, None):
        outermost = outermost.parent
    task._activate_cancel_status(around._cancel_status)
    scope.__enter__()
    outermost.parent = scope._cancel_status
    task._activate_cancel_status(innermost)


def forget_deadlines(task: trio.lowlevel.Task, around: trio.CancelScope) -> None:
    """Take the deadlines off the scopes that a trio task has opened inside of this one."""
    status: trio._core._run.CancelStatus | None = task._cancel_status
    while status is not None and status is not around._cancel_status:
        if status._scope.deadline != math.inf:
            status._scope.deadline = math.inf
        status = status._parent


def abandon_scopes_in(task: trio.lowlevel.Task, around: trio.CancelScope) -> None:
    """Take a trio task out of the scopes that it has opened inside of this one and not closed."""
    task._activate_cancel_status(around._cancel_status)
