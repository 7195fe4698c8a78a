"""The tools that the project tests itself with, for your own suite.

- `MemoryTransport`: a network in memory, for `job.net.Endpoint`
- `MemoryQueue`: a queue in memory, for `job.queue.consume`
- `Recorder`: an observer that keeps the events it receives
- `check_trace`: checks a `Trace`, the record of what a job did, against the guarantees of the contract
- `cancel_at_each_checkpoint`: runs your job and cancels it at its first, second, … last checkpoint; yields the traces
- `play`: runs a `Scenario`, a job described as data
- `job.testing.strategies`: hypothesis strategies of random scenarios; the only part that needs hypothesis
"""

from __future__ import annotations

from .._core import door
from ._check_trace import BrokenGuaranteeError, check_trace
from ._memory import MemoryListener, MemoryStream, MemoryTransport
from ._memory_queue import MemoryQueue
from ._plans import Call, Ends, JobPlan, PlannedError, PlannedFatalError, Push, Scenario, TaskPlan
from ._play import play
from ._recorder import Recorder
from ._stage import StuckError
from ._sweep import Struck, cancel_at_each_checkpoint
from ._trace import (
    Added,
    Ask,
    Asked,
    Closed,
    End,
    Entered,
    Entry,
    Failure,
    JobFacts,
    JobMoved,
    Left,
    Opened,
    Outcome,
    Record,
    TaskFacts,
    TaskMoved,
    Trace,
)

__all__ = [
    "Added",
    "Ask",
    "Asked",
    "BrokenGuaranteeError",
    "Call",
    "Closed",
    "End",
    "Ends",
    "Entered",
    "Entry",
    "Failure",
    "JobFacts",
    "JobMoved",
    "JobPlan",
    "Left",
    "MemoryListener",
    "MemoryQueue",
    "MemoryStream",
    "MemoryTransport",
    "Opened",
    "Outcome",
    "PlannedError",
    "PlannedFatalError",
    "Push",
    "Record",
    "Recorder",
    "Scenario",
    "Struck",
    "StuckError",
    "TaskFacts",
    "TaskMoved",
    "TaskPlan",
    "Trace",
    "cancel_at_each_checkpoint",
    "check_trace",
    "play",
]

door.export(globals())
