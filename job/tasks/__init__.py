"""Ready-made tasks, and wrappers that change how often, when, or for how long a task runs.

- `once`, `recurrent`: make a task from a function
- `every`, `cron`: run a task at the points of a grid or of a schedule
- `retry`, `restart`: repeat what failed; `Retry` and `Backoff` say how often and how soon
- `force_stop`: bound how long a task may take to stop
- `reload_on_signal`, `signal_listener`: act on a signal

Each takes a task in any form and returns a factory, so they compose: `every(60, retry(fetch, attempts=3, wait=1))`.
A wrapped task keeps its name, its init and its finalizer.
"""

from __future__ import annotations

from .._core import door
from .._core.retry import Backoff, Retry
from ._cron import cron
from ._every import every
from ._force_stop import force_stop
from ._functions import once, recurrent
from ._reload import reload_on_signal
from ._restart import restart
from ._retry import retry
from ._signal_listener import signal_listener

__all__ = [
    "Backoff",
    "Retry",
    "cron",
    "every",
    "force_stop",
    "once",
    "recurrent",
    "reload_on_signal",
    "restart",
    "retry",
    "signal_listener",
]

door.export(globals())
