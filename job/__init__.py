"""Jobs and tasks on trio: sets of concurrent tasks that stand and fall together, for network proxies and services.

The core is here; the rooms beside it are modules of their own:

- `job.background`: fire-and-forget tasks under one manager
- `job.futures`: functions whose results can be awaited from anywhere
- `job.instrumentation`: what lives now, what it costs and where it hangs
- `job.log`: registered loggers
- `job.net`: endpoints, streams, frames, relays and balancing for proxies
- `job.queue`: jobs from a durable queue, on as many machines as you like
- `job.tasks`: tasks on a clock, retried, restarted, or under signals
- `job.testing`: what the project tests itself with, for your own suite
"""

from __future__ import annotations

from ._context import current_job, current_task
from ._events import (
    Event,
    JobEnded,
    JobStateChanged,
    Observer,
    TaskAdded,
    TaskFailed,
    TaskStalled,
    TaskStateChanged,
    register_observer,
)
from ._exceptions import (
    AssertFailedError,
    FinalizeTimeoutError,
    IdleTimeoutError,
    JobCancelledError,
    JobError,
    JobStateError,
    JobTimeoutError,
    MissingStepError,
    StopTimeoutError,
    UnexpectedStopError,
)
from ._forms import Routines
from ._idle import IdleClock
from ._job import Job
from ._policy import StopPolicy
from ._program import run
from ._states import JobState, Phase, TaskState
from ._statistics import JobStatistics, TaskStatistics
from ._task import Task
from ._verdict import Cause, CauseKind, TaskError, Verdict
from .log import JobLog, register_default_logger

__all__ = [
    "AssertFailedError",
    "Cause",
    "CauseKind",
    "Event",
    "FinalizeTimeoutError",
    "IdleClock",
    "IdleTimeoutError",
    "Job",
    "JobCancelledError",
    "JobEnded",
    "JobError",
    "JobLog",
    "JobState",
    "JobStateChanged",
    "JobStateError",
    "JobStatistics",
    "JobTimeoutError",
    "MissingStepError",
    "Observer",
    "Phase",
    "Routines",
    "StopPolicy",
    "StopTimeoutError",
    "Task",
    "TaskAdded",
    "TaskError",
    "TaskFailed",
    "TaskStalled",
    "TaskState",
    "TaskStateChanged",
    "TaskStatistics",
    "UnexpectedStopError",
    "Verdict",
    "current_job",
    "current_task",
    "register_default_logger",
    "register_observer",
    "run",
]

# Tracebacks and reprs name the door, not the room behind it.
for _name in __all__:
    if isinstance(globals()[_name], type) or callable(globals()[_name]):
        globals()[_name].__module__ = __name__
del _name
