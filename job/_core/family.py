"""The children of a job, held weakly.

Jobs may nest to any depth, so a parent reaches the jobs below it from here, level by level. If each job told its own children,
the recursion would overflow Python's stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final
from weakref import WeakValueDictionary

from .words.states import JobState

if TYPE_CHECKING:
    from .job import Job
    from .words.records import Cause


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
                child._detach()

    def started(self) -> list[Job[Any]]:
        """Return the running children, oldest first."""
        found = (
            reference() for reference in self._jobs.valuerefs()
        )  # Unlike `values`, this is safe in another thread.
        return [child for child in found if child is not None and child.state is not JobState.NEW and not child.ended]

    def that_finish(self) -> list[Job[Any]]:
        """Return the children that a finish of the parent reaches: the running ones, except those that a task closes itself."""
        return [child for child in self.started() if not child._closed_by_task]

    def that_end_first(self) -> list[Job[Any]]:
        """Return the running children that end before the parent's finalizers; the finalizers close the others."""
        return [child for child in self.started() if not child._left_open]

    def cancel(self, cause: Cause) -> None:
        """Cancel all running jobs below, because their parent was interrupted."""
        for child in self.started():
            self.cancel_one(child, cause)

    def cancel_one(self, child: Job[Any], cause: Cause) -> None:
        """Cancel a child and all running jobs below it."""
        pending = deque([(child, cause)])
        while pending:
            each, cause = pending.popleft()
            each._cancelled_by_parent(cause)
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
            asked = each._finished_by_parent(cause, grace)
            if each._children is not None and asked is not None:
                pending.extend((below, asked) for below in each._children.that_finish())

    def expire(self) -> None:
        """End the stop budgets of all running jobs below, because their parent's is spent."""
        pending = deque(self.started())
        while pending:
            child = pending.popleft()
            child._expire()
            if child._children is not None:
                pending.extend(child._children.started())

    async def ended(self, which: Callable[[Children], list[Job[Any]]]) -> None:
        """Wait until none of these jobs is running."""
        while children := which(self):
            for child in children:
                await child.wait()
