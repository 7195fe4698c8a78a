"""The chain of cancel scopes of a trio task: the only module that uses private parts of trio.

Theory: each trio task points at a cancel status, the innermost scope that it is in; each status points at its parent. A step
of the task is cancelled if its status, or any status up to the next shield, is cancelled. trio lets code walk this chain only
from inside: `CancelScope.__enter__` adds a scope innermost, and only code within a scope can ask whether it is cancelled.

The engine needs three things more:

- ask from outside whether a scope, or the scopes around it, are cancelled: to tell an outer cancellation from a scope that
  died;
- open a scope around those already open: the guard of a finalizer must enclose the nursery that init left open, and opening
  the guard in advance would cost each waiting task its memory;
- leave scopes that a routine left open, as trio does when a trio task ends. A scope around each such task would do as well,
  and would cost a short job a tenth of its time.
"""

from __future__ import annotations

import math

import trio


def is_cancelled(task: trio.lowlevel.Task) -> bool:
    """Return True if the next checkpoint of a trio task would raise Cancelled."""
    return task._cancel_status.effectively_cancelled


def is_cancelled_around(scope: trio.CancelScope) -> bool:
    """Return True if the scopes around an open scope cancel what is in it, whatever the scope's own state."""
    around = scope._cancel_status and scope._cancel_status._parent
    return around is not None and around.effectively_cancelled


def has_opened(task: trio.lowlevel.Task, around: trio.CancelScope) -> bool:
    """Return True if a trio task has opened a scope inside `around`."""
    return task._cancel_status is not around._cancel_status


def open_outside(scope: trio.CancelScope, around: trio.CancelScope) -> None:
    """Open `scope` directly inside `around`, outside of everything else that the running trio task has opened there."""
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
    """Remove the deadlines of the scopes that a trio task has opened inside `around`."""
    status: trio._core._run.CancelStatus | None = task._cancel_status
    while status is not None and status is not around._cancel_status:
        if status._scope.deadline != math.inf:
            status._scope.deadline = math.inf
        status = status._parent


def abandon_scopes_in(task: trio.lowlevel.Task, around: trio.CancelScope) -> None:
    """Take a trio task out of the scopes that it opened inside `around` and did not close."""
    task._activate_cancel_status(around._cancel_status)
