"""Functions that run beside the code that submitted them, and whose results can be awaited, from anywhere and any number of times.

- `open_futures()`: the block that owns them
- `Submit`: what the block gives: call it with a function and its arguments
- `Future`, `FutureStatus`: the result to be

For calls whose results nobody needs one by one use a plain nursery; for work that should go on when some of it fails, unasked,
`job.background`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any, Final, Generic, TypeVar, TypeVarTuple, Unpack, cast, final

import trio

from ._events import Event, TaskFailed
from ._job import Job
from ._policy import StopPolicy
from ._states import TaskState
from ._task import Task
from ._verdict import TaskError
from ._work import Work

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

__all__ = ["Future", "FutureStatus", "Submit", "open_futures"]


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

    def __init__(self, task: Task, unclaimed: _Unclaimed) -> None:
        self._task = task
        self._scope = task._cancellable()
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
        finally:
            # A Cancelled of the waiter's own gets here too, and finds the task not ended, or its error as good as delivered.
            self._unclaimed.claim(self._task)

    @property
    def status(self) -> FutureStatus:
        """What has become of it so far."""
        return _STATUS[self._task.state]

    def cancel(self) -> None:
        """Cancel it, and nothing else; one that has not begun is not called at all. Without effect once it has ended."""
        self._scope.cancel()

    def __repr__(self) -> str:
        return f"<Future {self._task.name!r} {self.status.value}>"
