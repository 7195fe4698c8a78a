"""Functions that run beside the code that submits them, and whose results can be awaited from anywhere, any number of times.

- `open_futures()`: the block that owns them
- `Submit`: what the block gives: call it with a function and its arguments
- `Future`, `FutureStatus`: the result to be

For calls whose results nobody needs one by one use a plain nursery; for work that should go on when some of it fails, unasked,
`job.background`.
"""

from __future__ import annotations

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


@final
class Submit:
    """Starts functions as futures. Given by `open_futures`, never made directly."""

    __slots__ = ("_job", "_unclaimed")

    def __init__(self, job: Job[None], unclaimed: _Unclaimed) -> None:
        self._job = job
        self._unclaimed = unclaimed

    def __call__(self, fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> Future[T]:
        """Call `fn(*args)` beside the caller; also from within another future, while the block waits for that.

        Raises:
            JobStateError: the block has ended.
        """
        work = Work(fn, args)

        async def run(task: Task) -> None:
            await trio.lowlevel.checkpoint_if_cancelled()
            task.done(await work())

        task = self._job.add_task(run, name=work.name, policy=StopPolicy.CONTAIN, transient=True)
        return Future(task, self._unclaimed)


@asynccontextmanager
async def open_futures() -> AsyncIterator[Submit]:
    """Open a block that owns futures; it gives the function that starts them, and its end waits for all of them.

    A future that fails touches no other. A block that raises cancels them all, and its error goes on bare; errors that nobody
    has awaited are then warnings in the log.

    Raises:
        Exception: at the block's end, the error of a future that nobody has awaited.
        ExceptionGroup: there are several of these.
    """
    unclaimed = _Unclaimed()
    # Quiet, as each error comes out one way or the other.
    job = Job[None](name="futures", quiet=(Exception,), observers=(unclaimed,))
    try:
        async with job:
            yield Submit(job, unclaimed)
            await job._drain()
    except BaseException:
        unclaimed.warn()
        raise
    unclaimed.raise_all()


@final
class _Unclaimed:
    """The errors of futures that nobody has awaited yet, in the order they happened; an observer of the job."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: dict[int, TaskError] = {}  # by the identity of the error, which two futures may share

    def on_event(self, event: Event) -> None:
        if isinstance(event, TaskFailed) and event.survived:
            self._failures[id(event.error.error)] = event.error

    def claim(self, error: Exception) -> None:
        """Somebody has got this one."""
        self._failures.pop(id(error), None)

    def warn(self) -> None:
        """Log them: something else is being raised."""
        for failure in self._failures.values():
            assert failure.task is not None
            failure.task.log.warning("future.unclaimed", error=repr(failure.error), exc_info=failure.error)
        self._failures.clear()

    def raise_all(self) -> None:
        """Raise them: a single one bare."""
        errors = [cast("Exception", failure.error) for failure in self._failures.values()]
        self._failures.clear()
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup(f"{len(errors)} futures failed and nobody awaited them", errors)
