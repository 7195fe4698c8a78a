"""The records of a job: why it ended, what went wrong, and snapshots of it. This module holds data only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..task import Task
    from .states import JobState, Phase, TaskState


class CauseKind(Enum):
    """The kind of cause that ended a job; its value is the first word of `Verdict.code`."""

    FINISHED = "finished"
    ERROR = "error"
    ASSERT = "assert"
    IDLE = "idle"
    TIMEOUT = "timeout"
    CANCEL = "cancel"
    UNEXPECTED_STOP = "unexpected-stop"
    PARENT = "parent"
    SIGNAL = "signal"
    FINALIZE = "finalize"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class TaskError:
    """One thing that went wrong: its task, its phase, and the error.

    task and phase are None for `Job.cancel`, the job timeout, the outer scope and the shutdown hook.
    """

    task: Task | None
    phase: Phase | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class Cause:
    """The first cause of a job's end.

    `at` is in seconds on trio's clock, or None outside of a trio run. If the parent ended this job, `parent` is the parent's
    own cause, so the chain leads to the origin.
    """

    kind: CauseKind
    task: Task | None = None
    phase: Phase | None = None
    error: BaseException | None = None
    at: float | None = None
    parent: Cause | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a job ended. `cut` holds the tasks that `finish` had to cancel, in index order; empty unless the job is DONE."""

    state: JobState
    cause: Cause
    errors: tuple[TaskError, ...]
    cut: tuple[Task, ...]
    started_at: float | None
    ended_at: float | None
    code: str


def verdict_code(cause: Cause, cut: Sequence[tuple[Task, Phase]]) -> str:
    """Spell the short, stable code of a verdict: `finished`, `idle@read:run`, `finished-cut@relay:run`.

    The place is the task and phase that caused the end, or the first task that was cut.
    """
    kind = cause.kind.value
    if cut:
        task, phase = cut[0]
        return f"{kind}-cut@{task.name}:{phase.value}"
    if cause.task is None or cause.phase is None:
        return kind
    return f"{kind}@{cause.task.name}:{cause.phase.value}"


@dataclass(frozen=True, slots=True)
class TaskStatistics:
    """A snapshot of one task: `steps` counts finished calls of run, `idle_left` is the seconds until its idle timeout."""

    index: int
    name: str
    state: TaskState
    steps: int
    idle_left: float | None


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """A snapshot of one job. `age` is the seconds since its start, or None before it; `tasks` are in index order."""

    name: str
    id: int
    state: JobState
    age: float | None
    children: int
    tasks: tuple[TaskStatistics, ...]
