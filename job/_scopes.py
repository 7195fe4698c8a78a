"""What trio does with the scopes that a trio task leaves open when it ends, for a task that has none of its own.

It forgets them. It has no public way to ask for that, nor to see that there is something to forget; a scope around each such
task would tell, and costs a short job a tenth of its time.
"""

from __future__ import annotations

from typing import Any

import trio


def innermost_scope() -> Any:
    """Return what stands for the innermost scope of the running trio task."""
    return trio.lowlevel.current_task()._cancel_status


def abandon_scopes_in(scope: Any) -> None:
    """Take the running trio task out of the scopes that were opened inside of this one and not closed."""
    trio.lowlevel.current_task()._activate_cancel_status(scope)
