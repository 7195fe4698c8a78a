"""The block that owns futures: a job, with one task for each future."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar, TypeVarTuple, Unpack, final

import trio

from .._core.block import leave_block
from .._core.border import drained
from .._core.job import Job
from .._core.task import Task
from .._core.words.states import StopPolicy
from .._core.work import Work
from ._future import Future
from ._unclaimed import Unclaimed

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@final
class Submit:
    """The function that starts futures. Made by `open_futures`, never directly."""

    __slots__ = ("_job", "_unclaimed")

    def __init__(self, job: Job[None], unclaimed: Unclaimed) -> None:
        self._job = job
        self._unclaimed = unclaimed

    def __call__(self, fn: Callable[[Unpack[Ts]], Awaitable[T]], *args: *Ts) -> Future[T]:
        """Call `fn(*args)` beside the caller. A future may call this, too, also while the block's end waits for it.

        Raises:
            JobStateError: the block has ended.
        """
        work = Work(fn, args)

        async def run(task: Task) -> None:
            await trio.lowlevel.checkpoint_if_cancelled()
            task.done(await work())

        task = self._job.add_task(run, name=work.name, policy=StopPolicy.CONTAIN, transient=True)
        return Future(task, self._unclaimed)


def open_futures() -> AbstractAsyncContextManager[Submit]:
    """Open a block that owns futures; its value is the function that starts them, and its end waits for all of them.

    A future that fails affects no other. A block that raises cancels them all, and its error comes out bare; errors of futures
    that were never awaited are then warnings in the log.

    Raises:
        Exception: raised at the block's end: the error of a future that was never awaited.
        ExceptionGroup: raised at the block's end if there are several such errors.
    """
    return _Futures()


@final
class _Futures:
    """The block of `open_futures`; a class, because a generator may change an error that passes through it."""

    __slots__ = ("_job", "_unclaimed")

    def __init__(self) -> None:
        self._unclaimed = Unclaimed()
        # All errors are quiet, because each comes out one way or another.
        self._job = Job[None](name="futures", quiet=(Exception,), observers=(self._unclaimed,))

    async def __aenter__(self) -> Submit:
        await self._job.__aenter__()
        return Submit(self._job, self._unclaimed)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        raised = exc
        if raised is None:
            try:
                await drained(self._job)
            except BaseException as cut:
                raised = cut
        error = await leave_block(self._job, raised)
        if error is not None:
            self._unclaimed.warn()
        else:
            error = self._unclaimed.take()
        try:
            if error is not None and error is not exc:
                raise error
            return error is None
        finally:
            del self, exc, traceback, raised, error  # The traceback of the raised error refers to this frame.
