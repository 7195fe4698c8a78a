"""The jobs that were made inside of a job, held weakly.

Jobs nest as deep as you like, so what a parent tells those below it is told from here, level by level, and not by each job to
the next: that would end with Python's stack.
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
    """The children of a job that have not ended. One that runs is kept alive by its own run; one that is NEW is left alone."""

    __slots__ = ("_jobs",)

    def __init__(self) -> None:
        self._jobs: WeakValueDictionary[int, Job[Any]] = WeakValueDictionary()

    def add(self, child: Job[Any]) -> None:
        """Take a new child."""
        self._jobs[child.id] = child

    def discard(self, child: Job[Any]) -> None:
        """Forget a child that has ended, or is another job's from now on."""
        self._jobs.pop(child.id, None)

    def leave_other_runs(self) -> None:
        """Let go the children that run in another trio run: a job is a child only within its own."""
        for child in self.started():
            if child._run is not None and not child._run.is_here():
                child._detach()

    def started(self) -> list[Job[Any]]:
        """Return the children that run, oldest first."""
        found = (reference() for reference in self._jobs.valuerefs())  # `values` would not do for another thread
        return [child for child in found if child is not None and child.state is not JobState.NEW and not child.ended]

    def that_finish(self) -> list[Job[Any]]:
        """Return those that a finish of the parent reaches: all that run, but what a task has opened it closes itself."""
        return [child for child in self.started() if not child._closed_by_task]

    def that_end_first(self) -> list[Job[Any]]:
        """Return those that run and will have ended before the parent's finalizers: the others are closed by one of these."""
        return [child for child in self.started() if not child._left_open]

    def cancel(self, cause: Cause) -> None:
        """Cancel all below that run, because their parent was interrupted."""
        for child in self.started():
            self.cancel_one(child, cause)

    def cancel_one(self, child: Job[Any], cause: Cause) -> None:
        """Cancel a child and all that run below it."""
        pending = deque([(child, cause)])
        while pending:
            each, cause = pending.popleft()
            each._cancelled_by_parent(cause)
            if each._children is not None and (theirs := each._stop_record.cause) is not None:
                pending.extend((below, theirs) for below in each._children.started())

    def finish(self, cause: Cause, grace: float) -> None:
        """Finish all below that run, within what is left of their parent's grace."""
        for child in self.that_finish():
            self.finish_one(child, cause, grace)

    def finish_one(self, child: Job[Any], cause: Cause, grace: float) -> None:
        """Finish a child and all that run below it."""
        pending = deque([(child, cause)])
        while pending:
            each, cause = pending.popleft()
            asked = each._finished_by_parent(cause, grace)
            if each._children is not None and asked is not None:
                pending.extend((below, asked) for below in each._children.that_finish())

    def expire(self) -> None:
        """End the stop budgets of all below that run: their parent's is over."""
        pending = deque(self.started())
        while pending:
            child = pending.popleft()
            child._expire()
            if child._children is not None:
                pending.extend(child._children.started())

    async def ended(self, which: Callable[[Children], list[Job[Any]]]) -> None:
        """Wait until none of these runs."""
        while children := which(self):
            for child in children:
                await child.wait()
