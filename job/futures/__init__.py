"""Functions that run beside the code that submits them, and whose results can be awaited from anywhere, any number of times.

- `open_futures()`: the block that owns them
- `Submit`: the value of the block; call it with a function and its arguments
- `Future`, `FutureStatus`: the result to come

For calls whose results are not needed one by one, use a plain nursery. For work that should go on when some of it fails, use
`job.background`.
"""

from __future__ import annotations

from .._core import door
from ._future import Future, FutureStatus
from ._open import Submit, open_futures

__all__ = ["Future", "FutureStatus", "Submit", "open_futures"]

door.export(globals())
