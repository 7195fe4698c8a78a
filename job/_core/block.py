"""`async with` a job: the job runs beside the block, and the block keeps it open.

The block is a class, not a generator with a `yield`: a generator would change a StopAsyncIteration, and an error that cannot be
written to.

Theory: a task of another job may open a block for its whole life, with `Task.enter` or in its init. When the parent finishes
and cuts that task, the inner job must not be cut with it, because the task may need it until the end of its own finalizer.
Therefore a shield lies around the run of the inner job (not around the block) until the block is left. The shield does not
hide a cancel of the parent: the parent tells its children directly, at once.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, final

import trio
from trio.lowlevel import enable_ki_protection

from .context import current_task
from .family import enter_below
from .outcome import error_from_parent, failed_before, outcome
from .start import run_beside
from .trio.calls import without_cancelled
from .words.records import CauseKind

if TYPE_CHECKING:
    from .job import Job


@final
class Block:
    """One `async with` of a job; if the job or the block fails, the first of their errors comes out, bare.

    Attributes:
        opened_by_task: the block was opened in the trio task of one of the parent's tasks, and has not been left.
        closed_by_task: in addition, that task keeps it open for its whole life.
    """

    __slots__ = ("_job", "_nursery", "_scope", "_shield", "closed_by_task", "opened_by_task")

    _nursery: AbstractAsyncContextManager[trio.Nursery]

    def __init__(self, job: Job[Any]) -> None:
        self._job = job
        self._scope: trio.CancelScope | None = None  # Around the block.
        self._shield: trio.CancelScope | None = None  # Around the run of the job.
        opener = current_task()
        if opener is not None:
            enter_below(job, opener)
        self.opened_by_task = opener is not None and opener._trio_task is trio.lowlevel.current_task()
        self.closed_by_task = opener is not None and self.opened_by_task and opener._opens_for_life()

    @enable_ki_protection
    async def open(self) -> BaseException | None:
        """Start the job and wait until its oneshot is done; return the error to raise if the job failed before that."""
        self._nursery = trio.open_nursery()
        nursery = await self._nursery.__aenter__()
        raised = None
        try:
            await nursery.start(self._run)
        except BaseException as exc:
            raised = exc
        if raised is not None or self._job._stop_record.interrupted:
            return await self._end(raised) or error_from_parent(self._job)
        self._scope = trio.CancelScope()
        self._scope.__enter__()
        return None

    @enable_ki_protection
    async def close(self, exc: BaseException | None) -> BaseException | None:
        """Finish the job, or cancel it if the block raised `exc`; wait until it has ended and return the error to raise."""
        raised = exc if self._scope is None else _through(self._scope, exc)
        self._scope = None
        assert self._shield is not None
        self._shield.shield = False
        self._block_ended(raised)
        error = await self._end(raised)
        if error is None and not self.closed_by_task:
            return error_from_parent(self._job)
        return error  # If this is an exit of a parent's task, the parent knows of its cancellation.

    @property
    def entered(self) -> bool:
        """True while the block runs."""
        return self._scope is not None

    def cancel(self) -> None:
        """Cancel the block, because the job has failed."""
        if self._scope is not None:
            self._scope.cancel()

    @enable_ki_protection
    async def _run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope() as scope:

            def on_ready() -> None:
                scope.shield = self.closed_by_task
                task_status.started()

            self._shield = scope
            await run_beside(self._job, on_ready)

    async def _end(self, raised: BaseException | None) -> BaseException | None:
        """Wait for the end of the job, and return the error to raise."""
        job = self._job
        try:
            await self._nursery.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            # The job raises nothing into the nursery, so this is a KeyboardInterrupt that arrived while the nursery closed.
            raised = group.exceptions[0]
        finally:
            self.opened_by_task = False
        if raised is not None and not failed_before(job, raised):
            return raised
        return await outcome(job)

    def _block_ended(self, raised: BaseException | None) -> None:
        job, run = self._job, self._job._run
        error = None if raised is None else without_cancelled(raised)
        if run is None:
            if error is not None and failed_before(job, error):
                job._stop_record.add(None, None, error)
            return
        if raised is None:
            job.finish()
        elif error is not raised:  # The block's scope has absorbed the Cancelled that the job sent.
            run.stop.block_cancelled()
        if error is not None:
            run.stop.interrupt(CauseKind.ERROR, None, None, error, mapped=False)
        run.drop_block_hold()


def _through(scope: trio.CancelScope, exc: BaseException | None) -> BaseException | None:
    """Leave a scope with an exception, and return the exception that comes out."""
    about = (None, None, None) if exc is None else (type(exc), exc, exc.__traceback__)
    try:
        return None if scope.__exit__(*about) else exc
    except BaseException as changed:
        return changed


async def leave_block(job: Job[Any], exc: BaseException | None) -> BaseException | None:
    """Leave the `async with` of a job, which raised `exc`; return what is to come out."""
    assert job._block is not None
    block, job._block = job._block, None
    return await block.close(exc)
