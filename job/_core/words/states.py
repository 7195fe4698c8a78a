"""The states of jobs and tasks, and the one table of legal moves for each.

The tables are authoritative: the engine refuses any other move, and the documentation draws its diagrams from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class _Member(Enum):
    # Enum hashes by name, in Python code. Hashing by identity is as good for members, and several times faster.
    __hash__ = object.__hash__


class _State(_Member):
    _moves: frozenset[Enum]  # Filled in from the tables below.


class JobState(_State):
    """Where a job is in its life. `CANCELLED` and `DONE` are terminal."""

    NEW = "new"
    ONESHOT_RUNNING = "oneshot running"
    RECURRENT_RUNNING = "recurrent running"
    STOPPING = "stopping"
    FINALIZING = "finalizing"
    CANCELLED = "cancelled"
    DONE = "done"


class TaskState(_State):
    """Where a task is in its life.

    `FINISHED`: done, or stopped at a step by `finish`. `FAILED`: ended by its own error. `CANCELLED`: cut before its next step,
    for whatever cause, or never started.
    """

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Phase(_Member):
    """The routine of a task that was running."""

    INIT = "init"
    RUN = "run"
    FINALIZE = "finalize"


# The engine needs these members for each job. Before Python 3.12, an attribute of an Enum takes twenty times as long to look up
# as a global, because the metaclass has a `__getattr__`.
JOB_NEW: Final = JobState.NEW

JOB_ONESHOT_RUNNING: Final = JobState.ONESHOT_RUNNING

JOB_RECURRENT_RUNNING: Final = JobState.RECURRENT_RUNNING

JOB_FINALIZING: Final = JobState.FINALIZING

JOB_DONE: Final = JobState.DONE

TASK_PENDING: Final = TaskState.PENDING

TASK_RUNNING: Final = TaskState.RUNNING

TASK_FINISHED: Final = TaskState.FINISHED

TASK_CANCELLED: Final = TaskState.CANCELLED

INIT: Final = Phase.INIT

PHASE_RUN: Final = Phase.RUN

JOB_MOVES: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.NEW: frozenset(
            {JobState.ONESHOT_RUNNING, JobState.RECURRENT_RUNNING, JobState.CANCELLED, JobState.DONE}
        ),
        JobState.ONESHOT_RUNNING: frozenset({JobState.RECURRENT_RUNNING, JobState.STOPPING}),
        JobState.RECURRENT_RUNNING: frozenset({JobState.STOPPING, JobState.FINALIZING}),
        JobState.STOPPING: frozenset({JobState.FINALIZING}),
        JobState.FINALIZING: frozenset({JobState.CANCELLED, JobState.DONE}),
        JobState.CANCELLED: frozenset(),
        JobState.DONE: frozenset(),
    }
)

TASK_MOVES: Final[Mapping[TaskState, frozenset[TaskState]]] = MappingProxyType(
    {
        TaskState.PENDING: frozenset({TaskState.RUNNING, TaskState.CANCELLED}),
        TaskState.RUNNING: frozenset({TaskState.FINISHED, TaskState.FAILED, TaskState.CANCELLED}),
        TaskState.FINISHED: frozenset(),
        TaskState.FAILED: frozenset(),
        TaskState.CANCELLED: frozenset(),
    }
)

for _moves in (JOB_MOVES, TASK_MOVES):
    for _state, _next in _moves.items():
        _state._moves = _next


def illegal_move(old: Enum, new: Enum) -> AssertionError:
    """Return the error for a move that is not in the table: a bug of the engine, never of the user."""
    return AssertionError(f"illegal move {old} -> {new}")


class StopPolicy(Enum):
    """What a job does when a task with this policy ends.

    A listener or a cron task, which never ends by itself, does not hold up a job whose real work is a `STOP_GROUP`.
    """

    ERROR = "error"
    """An error cancels the job; done is fine."""
    STRICT = "strict"
    """As ERROR; in addition, a done before the job is stopping is an error (`UnexpectedStopError`)."""
    STOP_GROUP = "stop group"
    """As ERROR; in addition, the job finishes when all tasks of the group are done."""
    CONTAIN = "contain"
    """An error is recorded and reported; it stops no other task, and does not change the job's end."""


# The engine needs these for each task; the comment on the job states above says why they are globals.
ERROR: Final = StopPolicy.ERROR

STRICT: Final = StopPolicy.STRICT

STOP_GROUP: Final = StopPolicy.STOP_GROUP
