"""The family of a job: its parent, its children, and the stops that go from one to the other. Both are held weakly.

Jobs may nest to any depth, so a parent reaches the jobs below it from here, level by level. If each job told its own children,
the recursion would overflow Python's stack.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final
from weakref import WeakValueDictionary, ref

from ..log import Loggers
from .registry import job_started
from .trio.clock import clock
from .words.exceptions import JobCancelledError
from .words.records import Cause, CauseKind
from .words.states import JobState

if TYPE_CHECKING:
    from .job import Job
    from .task import Task


@final
class Children:
    """The children of a job that have not ended. A running child is kept alive by its own run; a NEW one is left alone."""

    __slots__ = ("_jobs",)

    def __init__(self) -> None:
        self._jobs: WeakValueDictionary[int, Job[Any]] = WeakValueDictionary()

    def add(self, child: Job[Any]) -> None:
        """Add a child."""
        self._jobs[child.id] = child

    def discard(self, child: Job[Any]) -> None:
        """Remove a child that has ended or has a new parent."""
        self._jobs.pop(child.id, None)

    def leave_other_runs(self) -> None:
        """Remove the children of other trio runs: a job is a child only within its own trio run."""
        for child in self.started():
            if child._run is not None and not child._run.is_here():
                detach(child)

    def started(self) -> list[Job[Any]]:
        """Return the running children, oldest first."""
        found = (
            reference() for reference in self._jobs.valuerefs()
        )  # Unlike `values`, this is safe in another thread.
        return [child for child in found if child is not None and child.state is not JobState.NEW and not child.ended]

    def that_finish(self) -> list[Job[Any]]:
        """Return the children that a finish of the parent reaches: the running ones, except those that a task closes itself."""
        return [child for child in self.started() if not is_closed_by_task(child)]

    def that_end_first(self) -> list[Job[Any]]:
        """Return the running children that end before the parent's finalizers; the finalizers close the others."""
        return [child for child in self.started() if not _is_left_open(child)]

    def cancel(self, cause: Cause) -> None:
        """Cancel all running jobs below, because their parent was interrupted."""
        for child in self.started():
            self.cancel_one(child, cause)

    def cancel_one(self, child: Job[Any], cause: Cause) -> None:
        """Cancel a child and all running jobs below it."""
        pending = deque([(child, cause)])
        while pending:
            each, cause = pending.popleft()
            cancelled_by_parent(each, cause)
            if each._children is not None and (theirs := each._stop_record.cause) is not None:
                pending.extend((below, theirs) for below in each._children.started())

    def finish(self, cause: Cause, grace: float) -> None:
        """Finish all running jobs below, within what is left of their parent's grace."""
        for child in self.that_finish():
            self.finish_one(child, cause, grace)

    def finish_one(self, child: Job[Any], cause: Cause, grace: float) -> None:
        """Finish a child and all running jobs below it."""
        pending = deque([(child, cause)])
        while pending:
            each, cause = pending.popleft()
            asked = finished_by_parent(each, cause, grace)
            if each._children is not None and asked is not None:
                pending.extend((below, asked) for below in each._children.that_finish())

    def expire(self) -> None:
        """End the stop budgets of all running jobs below, because their parent's is spent."""
        pending = deque(self.started())
        while pending:
            child = pending.popleft()
            assert child._run is not None
            child._run.expire()
            if child._children is not None:
                pending.extend(child._children.started())

    async def ended(self, which: Callable[[Children], list[Job[Any]]]) -> None:
        """Wait until none of these jobs is running."""
        while children := which(self):
            for child in children:
                await child.wait()


def join(job: Job[Any], parent: Job[Any] | None) -> ref[Job[Any]] | None:
    """Become a child of `parent`, unless it is past having any; return a weak reference to it."""
    if parent is None:
        job._loggers = Loggers(None)
        return None
    if parent.ended or parent.state is JobState.FINALIZING:
        return join(job, None)
    parent._check_run("becoming the parent of another job")
    job._loggers = Loggers(parent._loggers)
    adopt(parent, job)
    return ref(parent)


def enter_below(job: Job[Any], opener: Task) -> None:
    """Make the job whose routine enters this one its parent, wherever it was made."""
    parent = opener.job
    if job._detached or job.parent is parent or parent.state is JobState.FINALIZING or is_below(parent, job):
        return
    detach(job)
    adopt(parent, job)
    job._loggers.parent = parent._loggers
    job._parent = ref(parent)


def detach(job: Job[Any]) -> None:
    """Let a job go on without its parent."""
    parent = job.parent
    if parent is not None and parent._children is not None:
        parent._children.discard(job)
    job._parent = None
    if job._run is not None and not job._hidden:
        job_started(job)


def is_below(job: Job[Any], other: Job[Any]) -> bool:
    """Return True if `other` is this job, or one above it."""
    above: Job[Any] | None = job
    while above is not None and above is not other:
        above = above.parent
    return above is other


def adopt(job: Job[Any], child: Job[Any]) -> None:
    """Add a child to a job, which may be running."""
    if job._children is None:
        job._children = Children()
        if job._run is not None:
            job._run.stop.children = job._children
    job._children.add(child)


def finish_family(job: Job[Any], cause: Cause, grace: float) -> None:
    """Finish a job and all running jobs below it; one that has not run ends at once."""
    if job.ended:
        return
    if job._run is None:
        job._stop_record.ask(cause, -math.inf)
        end_unrun(job)
    elif finish_alone(job, cause, grace) and job._children is not None:
        job._children.finish(cause, grace)


def finish_alone(job: Job[Any], cause: Cause, grace: float) -> bool:
    """Finish a job but not its children; return True if these are to be finished, too."""
    by_oneshot = cause.task is not None and cause.task is job._oneshot
    return job._run is not None and job._run.stop.finish(cause, grace, no_inits=by_oneshot or grace <= 0)


def end_unrun(job: Job[Any]) -> None:
    """End a job that never ran."""
    for task in job.tasks:
        if not task.ended:
            task._cancel_unrun()
    if not job._ended:  # An observer may have ended it by an order.
        job._complete(contained=False)


def cancelled_by_parent(job: Job[Any], cause: Cause) -> None:
    """Interrupt a running job because its parent was interrupted; its own children are left to the caller."""
    assert job._run is not None
    job._run.stop.hurry()
    if not job._run.is_finalizing() and not job._stop_record.interrupted:
        error = JobCancelledError("the parent job was cancelled")
        job._run.stop.interrupt(CauseKind.PARENT, None, None, error, parent=cause, mapped=False)


def finished_by_parent(job: Job[Any], cause: Cause, grace: float) -> Cause | None:
    """Finish a job but not its children; return the cause for these if they are to be finished, too."""
    asked = Cause(CauseKind.PARENT, at=clock(), parent=cause)
    return asked if finish_alone(job, asked, grace) else None


def is_closed_by_task(job: Job[Any]) -> bool:
    """Return True if a task has entered a job for its own life: a finish of the parent leaves the job to that task."""
    return job._block is not None and job._block.closed_by_task


def _is_left_open(job: Job[Any]) -> bool:
    """Return True if a task of the parent has opened the block of a job, which it may close in its finalizer only."""
    return job._block is not None and job._block.opened_by_task
