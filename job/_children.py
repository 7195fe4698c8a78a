"""The jobs that were made inside of a job, held weakly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final
from weakref import WeakValueDictionary

from ._states import JobState

if TYPE_CHECKING:
    from ._job import Job
    from ._verdict import Cause


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
        """Forget a child that has ended."""
        self._jobs.pop(child.id, None)

    def started(self) -> list[Job[Any]]:
        """Return the children that run, oldest first."""
        return [child for child in self._jobs.values() if child.state is not JobState.NEW and not child.ended]

    def cancel(self, cause: Cause) -> None:
        """Cancel all that run, because their parent was interrupted."""
        for child in self.started():
            child._cancelled_by_parent(cause)

    def finish(self, cause: Cause, grace: float) -> bool:
        """Finish all that run, within what is left of their parent's grace; return whether there are any."""
        children = self.started()
        for child in children:
            child._finished_by_parent(cause, grace)
        return bool(children)

    def expire(self) -> None:
        """End the stop budgets of all that run: their parent's is over."""
        for child in self.started():
            child._expire()

    async def ended(self) -> None:
        """Wait until none runs."""
        while children := self.started():
            await children[0].wait()
