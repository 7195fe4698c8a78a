"""Fire-and-forget work with an owner: tasks that never touch each other, watched, counted, awaited or cancelled together.

- `Manager`: runs functions once or in a loop, for as long as its block is open

For work that belongs together, where one failure ends all, use a `Job`; for a handful of calls that you wait for on the spot a
plain nursery; for work that must survive the process a real queue.
"""

from __future__ import annotations

from .._core import door
from ._manager import Manager

__all__ = ["Manager"]

door.export(globals())
