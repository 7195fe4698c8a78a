"""Jobs and tasks on trio: sets of concurrent tasks that stand or fall together, for network proxies and services.

The core is here; the rooms beside it are modules of their own:

- `job.admin`: a window into a program that runs, over HTTP
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

from ._core import door
from ._core.context import current_job, current_task
from ._core.forms import Routines
from ._core.idle_clock import IdleClock
from ._core.job import Job
from ._core.observers import register_observer
from ._core.task import Task
from ._core.words.events import (
    Event,
    JobEnded,
    JobStateChanged,
    Observer,
    TaskAdded,
    TaskFailed,
    TaskStalled,
    TaskStateChanged,
)
from ._core.words.exceptions import (
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
from ._core.words.records import Cause, CauseKind, JobStatistics, TaskError, TaskStatistics, Verdict
from ._core.words.states import JobState, Phase, StopPolicy, TaskState
from ._program.run import run
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

door.export(globals())
