"""What lives now, what it costs and where it hangs: of a program that runs, from any thread.

- `roots`, `snapshot`, `tree`: the jobs, as objects, as data and as a page of text
- `Metrics`: the same in numbers, for Prometheus (the extra `metrics`)
- `watch_loop`: a warning where a step holds up the loop, or a task spins
"""

from __future__ import annotations

from .._core.inside import roots
from ._metrics import Metrics
from ._snapshot import JobSnapshot, TaskSnapshot, snapshot
from ._tree import tree
from ._watch import watch_loop
from ._where import Where

__all__ = ["JobSnapshot", "Metrics", "TaskSnapshot", "Where", "roots", "snapshot", "tree", "watch_loop"]

for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
