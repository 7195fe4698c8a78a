"""What trio knows of the cancel scopes around a piece of code, and has no public way to ask for.

When a trio task ends, trio forgets the scopes that it has left open; for a task that has none of its own this is done here. A
scope around each such task would do as well, and costs a short job a tenth of its time. And whether a scope is cancelled, its
own or one around it, can be asked only inside of it, behind whatever the code there has opened.
"""

from __future__ import annotations

from typing import Any

import trio


def innermost_scope(task: trio.lowlevel.Task) -> Any:
    """Return what stands for the innermost scope of a trio task."""
    return task._cancel_status


def is_cancelled(task: trio.lowlevel.Task) -> bool:
    """Whether what a trio task does next is cancelled."""
    return task._cancel_status.effectively_cancelled


def is_cancelled_around(scope: trio.CancelScope) -> bool:
    """Whether an open scope would be cancelled if only those around it were."""
    around = scope._cancel_status and scope._cancel_status.parent
    return around is not None and around.effectively_cancelled


def abandon_scopes_in(task: trio.lowlevel.Task, scope: Any) -> None:
    """Take a trio task out of the scopes that it has opened inside of this one and not closed."""
    task._activate_cancel_status(scope)
