"""A future: a view of the task that computes it."""

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
    """The status of a future. All but `PENDING` are final."""

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
    """The result of a function that may still be running. Made by the `submit` of `open_futures`, never directly.

    `await future` waits for it. Any number of tasks may do so, any number of times, also after the block has ended. Cancelling
    a waiter does not affect the future.
    """

    __slots__ = ("__weakref__", "_scope", "_task", "_unclaimed")

    def __init__(self, task: Task, unclaimed: Unclaimed) -> None:
        self._task = task
        self._scope = cancellable(task)
        self._unclaimed = unclaimed

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the function to end, and return its result.

        Raises:
            Exception: the function raised it; it is the same object each time, and the block's end will not raise it.
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
        """The present status."""
        return _STATUS[self._task.state]

    def cancel(self) -> None:
        """Cancel this future only; a function that has not begun is never called. This has no effect once it has ended."""
        self._scope.cancel()

    def __repr__(self) -> str:
        return f"<Future {self._task.name!r} {self.status.value}>"
