"""Between the last run loop and the first finalizer: the children end, the shutdown hook is called."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final
from weakref import ref

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ._calls import without_cancelled
from ._children import Children
from ._context import make_current
from ._exceptions import StopTimeoutError
from ._finalizers import Finalizers
from ._stop import Stop
from ._verdict import Cause, CauseKind

if TYPE_CHECKING:
    from ._job import Job, ShutdownHook


@final
class Shutdown:
    """The end of a job, from when its run loops have exited; one `stop_timeout` bounds all of it."""

    __slots__ = ("_finalize", "_finalizers", "_job", "_stop")

    def __init__(self, job: Job[Any], stop: Stop, finalizers: Finalizers, finalize: Callable[[], None]) -> None:
        self._job = job
        self._stop = stop
        self._finalizers = finalizers
        self._finalize = finalize

    def begin(self, nursery: trio.Nursery) -> None:
        """Start the budget, and go on to the finalizers: at once, where there is nobody to wait for."""
        job = self._job
        if job._limits.stop_timeout != math.inf:
            self._finalizers.limit(trio.current_time() + job._limits.stop_timeout, job._limits.stop_timeout)
        children = self._stop.children
        if (children is not None and children.that_end_first()) or job._on_shutdown is not None:
            nursery.start_soon(self._first_the_others)
        else:
            self._finalize()

    @enable_ki_protection
    async def _first_the_others(self) -> None:
        # Whatever comes out of here must not be lost, nor keep the finalizers from their turn.
        try:
            make_current(ref(self._job))
            with trio.CancelScope(shield=True):
                await self._end_children()
                cause = self._stop.ending.cause
                if cause is not None and cause.error is not None and self._job._on_shutdown is not None:
                    await self._call_hook(self._job._on_shutdown, cause.error)
        except BaseException as fault:
            self._stop.engine_failed(fault)
        finally:
            self._finalize()

    async def _end_children(self) -> None:
        children = self._stop.children
        if children is None:
            return
        if not self._stop.ending.stopping:
            children.finish(Cause(CauseKind.FINISHED, at=trio.current_time()), self._job._limits.grace)
        with trio.CancelScope(deadline=self._finalizers.stop_at) as budget:
            await children.ended(Children.that_end_first)
        if budget.cancelled_caught:
            error = StopTimeoutError(f"children of job {self._job.name!r} overran its stop_timeout")
            self._stop.ending.add(None, None, error)
            children.expire()
            await children.ended(Children.that_end_first)

    async def _call_hook(self, hook: ShutdownHook, error: BaseException) -> None:
        with trio.CancelScope() as budget:
            in_time = self._finalizers.bound(budget)
            struck = False
            try:
                await _call(hook, error)
            except BaseException as exc:
                fault = without_cancelled(exc)
                struck = fault is not exc
                if fault is not None:
                    self._stop.ending.add(None, None, fault)
        if budget.cancel_called and (struck or in_time):
            late = self._finalizers.overrun(f"on_shutdown of job {self._job.name!r}")
            self._stop.ending.add(None, None, late)


@disable_ki_protection
async def _call(hook: ShutdownHook, error: BaseException) -> None:
    result = hook(error)
    if inspect.isawaitable(result):
        await result
