"""What hangs, as text: for those who have sent a third signal, and from within its handler."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ._values import Values

if TYPE_CHECKING:
    from ._job import Job

LINES: Final = 100
"""Of a server with thousands of connections the oldest say enough."""

_DEEP: Final = 20  # levels, beyond which a line is not moved further to the right
_NOT_THE_USERS: Final = sys.stdlib_module_names | {"job", "outcome", "structlog", "trio"}


def dump(job: Job[Any]) -> str:
    """Return a job that runs, its tasks and those of the jobs below it, a line each."""
    lines: list[str] = []
    left = [(job, 0)]
    while left and len(lines) < LINES:
        found, depth = left.pop()
        indent = "  " * min(depth, _DEEP)
        lines.append(f"{indent}job {Values().shown(found.name)} {found.state.value}")
        lines += [
            f"{indent}  task {task.index} {Values().shown(task.name)} {task.state.value}, {task.steps} steps"
            for task in found.tasks[:LINES]
        ]
        if found._children is not None:
            left += [(child, depth + 1) for child in reversed(found._children.started())]
    if left or len(lines) > LINES:
        lines[LINES:] = ["…"]
    return "\n".join(lines)


def place(frame: FrameType | None) -> str:
    """Return where the user's code is that runs in this moment; nothing where the loop waits."""
    while frame is not None and (module := str(frame.f_globals.get("__name__"))) != "job._program":
        if module.partition(".")[0] not in _NOT_THE_USERS:
            code = frame.f_code
            return f", in {code.co_name} at {code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
