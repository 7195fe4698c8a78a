"""Fire-and-forget work with an owner: tasks that never touch each other, watched, counted, awaited or cancelled together.

- `Manager`: runs functions once or in a loop, for as long as its block is open

For work that belongs together, where one failure ends everything, use a `Job`. For a handful of calls that you await on the
spot, use a plain nursery. For work that must survive the process, use a real queue.
"""

from __future__ import annotations

from .._core import door
from ._manager import Manager

__all__ = ["Manager"]

door.export(globals())
