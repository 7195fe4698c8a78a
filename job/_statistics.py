"""Frozen snapshots of a job and its tasks, for monitors and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._states import JobState, TaskState


@dataclass(frozen=True, slots=True)
class TaskStatistics:
    """One task: `steps` counts finished calls of run, `idle_left` is seconds until its idle timeout, None without one."""

    index: int
    name: str
    state: TaskState
    steps: int
    idle_left: float | None


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """One job: `age` is seconds since its start, None before; `tasks` are in index order."""

    name: str
    id: int
    state: JobState
    age: float | None
    children: int
    tasks: tuple[TaskStatistics, ...]
