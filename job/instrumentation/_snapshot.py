"""A job, its tasks and all jobs below it at one moment, as data."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from .._core.inside import age, family, idle_left, now_in
from .._core.job import Job
from .._core.task import Task
from .._core.words.states import JobState, StopPolicy, TaskState
from .._core.words.values import Values
from ._where import Where, where

_PLAIN: Final = frozenset({str, bool, type(None)})
_LARGE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class TaskSnapshot:
    """One task at one moment.

    Attributes:
        index: 0 for the oneshot.
        name: of the task.
        state: where it is in its life.
        policy: what its end means for its job.
        steps: how many calls of its run have ended.
        idle_left: seconds until its idle timeout, None without one.
        where: the innermost line of the user's code that it waits in (that of the `await` for a job that it runs itself);
            None where it waits in none, as in a relay or an idle pause, where it runs just now, or where it was not asked for.
    """

    index: int
    name: str
    state: TaskState
    policy: StopPolicy
    steps: int
    idle_left: float | None
    where: Where | None

    def as_dict(self) -> dict[str, Any]:
        """Return the snapshot as JSON data."""
        left = self.idle_left
        return {
            "index": self.index,
            "name": self.name,
            "state": self.state.value,
            "policy": self.policy.name.lower(),
            "steps": self.steps,
            "idle_left": left if left is None or isfinite(left) else None,
            "where": None if self.where is None else self.where._asdict(),
        }


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """One job at one moment, with all that ran below it.

    Attributes:
        id: no other job of the process has it.
        name: of the job.
        state: where it is in its life.
        age: seconds since it was started, None before; of an ended job, how long it ran.
        fields: a copy, with the values as they are in the log.
        code: of the first cause, or of what asked it to finish; None while neither is.
        children: the jobs below it that run, the oldest first.
        tasks: in the order of their indexes.
    """

    id: int
    name: str
    state: JobState
    age: float | None
    fields: dict[str, Any]
    code: str | None
    children: tuple[JobSnapshot, ...]
    tasks: tuple[TaskSnapshot, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the snapshot as JSON data, however deep it is."""
        top = self.without_children()
        pending = [(self, top)]
        while pending:
            each, made = pending.pop()
            made["children"] = [child.without_children() for child in each.children]
            pending += zip(each.children, made["children"], strict=True)
        return top

    def without_children(self) -> dict[str, Any]:
        """Return the same as `as_dict`, without the children."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state.value,
            "age": self.age,
            "fields": self.fields,
            "code": self.code,
            "children": [],
            "tasks": [task.as_dict() for task in self.tasks],
        }

    def __repr__(self) -> str:
        return f"<JobSnapshot of {self.id} {self.name!r} {self.state.value}, {len(self.children)} children>"


def snapshot(job: Job[Any], *, where: bool = True) -> JobSnapshot:
    """Return what a job, its tasks and the jobs below it are at this moment.

    This may be called from any thread and from a signal handler. It passes no checkpoint: on the job's own loop, the snapshot
    is of one moment; in another thread, the jobs go on meanwhile.

    Args:
        job: any job, running or not.
        where: True to look up where each task waits, which is half of the work.

    Raises:
        TypeError: `job` is not a Job.
    """
    if not isinstance(job, Job):
        raise TypeError(f"job must be a Job, got {job!r}")
    with _collector_at_rest():
        return _snapshot(job, where)


def _snapshot(job: Job[Any], where: bool) -> JobSnapshot:
    found = list(family(job))
    below: list[list[JobSnapshot]] = [[] for _ in found]
    for position in range(len(found) - 1, 0, -1):  # Children come after their parents, so this visits them first.
        each, above = found[position]
        below[above].append(picture(each, below[position], where=where))
    return picture(job, below[0], where=where)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Pause the garbage collector: it would traverse all live objects several times while the snapshot is made."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def picture(job: Job[Any], children: list[JobSnapshot], *, where: bool) -> JobSnapshot:
    """Return a snapshot of a job with the given children, youngest first."""
    now = now_in(job)
    return JobSnapshot(
        job.id,
        job.name,
        job.state,
        age(job),
        _plain(job.fields),
        job.code,
        tuple(reversed(children)),
        tuple([_picture_of_task(task, now, where) for task in job.tasks]),
    )


def _picture_of_task(task: Task, now: float | None, look: bool) -> TaskSnapshot:
    return TaskSnapshot(
        task.index,
        task.name,
        task.state,
        task.policy,
        task.steps,
        idle_left(task, now),
        where(task) if look else None,
    )


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the fields of a job with the values that the log has for them."""
    copy = fields.copy()
    if all(map(_is_plain, copy.values())):  # as most are
        return copy
    values = Values()
    plain: dict[str, Any] = values.plain(copy)
    values.raise_order()
    return plain


def _is_plain(value: object) -> bool:
    kind = type(value)
    return kind in _PLAIN or (kind is float and isfinite(value)) or (kind is int and -_LARGE < value < _LARGE)  # type: ignore[arg-type,operator]
