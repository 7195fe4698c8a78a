"""A future: a view of the task that works at it."""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from typing import Any, Final, Generic, TypeVar, cast, final

from .._core.border import cancellable
from .._core.task import Task
from .._core.words.states import TaskState
from ._unclaimed import Unclaimed

T = TypeVar("T")


class FutureStatus(Enum):
    """What has become of a future so far. All but `PENDING` are for good."""

    PENDING = "pending"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATUS: Final = {
    TaskState.PENDING: FutureStatus.PENDING,
    TaskState.RUNNING: FutureStatus.PENDING,
    TaskState.FINISHED: FutureStatus.FINISHED,
    TaskState.FAILED: FutureStatus.FAILED,
    TaskState.CANCELLED: FutureStatus.CANCELLED,
}


@final
class Future(Generic[T]):
    """The result of a function that may be running still. Made by the `submit` of `open_futures`, never directly.

    `await future` waits for it. Any number of tasks may, at the same time, later, and when the block has ended; a waiter that
    is cancelled leaves the future alone.
    """

    __slots__ = ("__weakref__", "_scope", "_task", "_unclaimed")

    def __init__(self, task: Task, unclaimed: Unclaimed) -> None:
        self._task = task
        self._scope = cancellable(task)
        self._unclaimed = unclaimed

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the function to end, and give what it returned.

        Raises:
            Exception: what the function raised, the same object each time. It will not be raised by the block's end.
            JobCancelledError: the future was cancelled.
        """
        return self._outcome().__await__()

    async def _outcome(self) -> T:
        try:
            return cast("T", await self._task.wait())
        except Exception as error:
            self._unclaimed.claim(error)
            raise

    @property
    def status(self) -> FutureStatus:
        """What has become of it so far."""
        return _STATUS[self._task.state]

    def cancel(self) -> None:
        """Cancel it, and nothing else; one that has not begun is not called at all. Without effect once it has ended."""
        self._scope.cancel()

    def __repr__(self) -> str:
        return f"<Future {self._task.name!r} {self.status.value}>"
