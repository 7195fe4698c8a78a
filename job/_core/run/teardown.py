"""The teardown of a job: children and the shutdown hook, then the finalizers, in reverse order of the inits."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, final
from weakref import ref

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ..context import make_current
from ..family import Children
from ..forms import AsyncRoutine
from ..task import Task
from ..trio.calls import call, without_cancelled
from ..trio.drive import COMPLETED, drive_rest
from ..trio.scopes import has_opened, is_cancelled, open_outside
from ..words.exceptions import FinalizeTimeoutError, StopTimeoutError
from ..words.groups import leaves
from ..words.records import Cause, CauseKind
from .stop import Stop

if TYPE_CHECKING:
    from ..job import Job, ShutdownHook


class Fault(Protocol):
    """Records what went wrong in the finalizer or an exit of a task."""

    def __call__(self, task: Task, error: BaseException, /) -> None: ...


@final
class Finalizers:
    """Hands the turn from task to task; each cleans up in its own trio task, within its own scope (G3, G4).

    Args:
        scope: that of the run loops, around all that their tasks have opened.
        seconds: the `finalize_timeout` that a finalizer and the exits of its task share.
        fault: records errors and overruns.
        over: called when the last one has ended.
    """

    __slots__ = (
        "_bounds",
        "_clock",
        "_fault",
        "_over",
        "_scope",
        "_seconds",
        "_share_ends",
        "_shielded",
        "_to_finalize",
        "stop_at",
        "stop_seconds",
        "turn",
    )

    def __init__(self, scope: trio.CancelScope, seconds: float, fault: Fault, over: Callable[[], None]) -> None:
        self._to_finalize: list[Task] = []
        self.turn: Task | None = None  # the task that cleans up just now
        self.stop_at = math.inf
        self.stop_seconds = math.inf
        self._clock = trio.lowlevel.current_clock()
        self._scope = scope
        self._seconds = seconds
        self._fault = fault
        self._over = over
        self._shielded = False
        self._share_ends = math.inf  # when what runs has used up its own time
        self._bounds: set[trio.CancelScope] = set()  # of what runs: transient tasks clean up at the same time

    def begin(self, to_finalize: list[Task]) -> None:
        """Take those that have something to clean up, in the order of their inits, and give the turn to the last one."""
        if not self._scope.cancel_called:
            self._scope.shield = self._shielded = True  # one shield for all of them
        self._to_finalize = to_finalize
        self.next()

    def next(self) -> None:
        """Give the turn to the latest of those that are left."""
        while self._to_finalize:
            task = self._to_finalize.pop()
            if task._trio_task is not None and task._turn is not None:  # else a fault of the engine has taken it away
                self.turn = task
                task._turn.wake()
                return
        self.turn = None
        self._over()

    def limit(self, stop_at: float, seconds: float) -> None:
        """Set the bound of all that is still to come."""
        self.stop_at = min(stop_at, self.stop_at)
        self.stop_seconds = seconds

    def expire(self) -> None:
        """End the budget: what runs is cut, what is left is called but cancelled."""
        self.stop_at = -math.inf
        for scope in self._bounds:
            scope.deadline = -math.inf

    def bound(self, scope: trio.CancelScope) -> bool:
        """Give a scope its share of the time; return whether there was any left."""
        self._share_ends = trio.current_time() + self._seconds
        self._bounds.add(scope)
        scope.deadline = min(self._share_ends, self.stop_at)
        return trio.current_time() < scope.deadline

    def _open_guard(self, task: Task, share_ends: float) -> trio.CancelScope:
        """Bound what a task does from now on, and shield it."""
        deadline = min(share_ends, self.stop_at)
        if task._guard is None:
            task._guard = trio.CancelScope(deadline=deadline, shield=True)
            open_outside(task._guard, self._scope_around(task))
        else:
            task._guard.deadline = deadline
            task._guard.shield = True
        self._bounds.add(task._guard)
        return task._guard

    def _scope_around(self, task: Task) -> trio.CancelScope:
        return self._scope if task._loop_scope is None else task._loop_scope

    def overrun(self, what: str) -> FinalizeTimeoutError | StopTimeoutError:
        """Return the error of what overran its bound."""
        if self.stop_at < self._share_ends:
            seconds = "" if self.stop_seconds == math.inf else f" of {self.stop_seconds:g} s"
            return StopTimeoutError(f"{what} overran the job's stop_timeout{seconds}")
        return FinalizeTimeoutError(f"{what} took longer than its finalize_timeout of {self._seconds:g} s")

    def clean_up(self, task: Task, exc: BaseException | None) -> Awaitable[None]:
        """Call the finalizer of a task, then leave what it entered, telling that of the error that ended the task."""
        return self._unwind(task, task._finalize, len(task._outer_frames) + 1, exc, self._fault)

    def close(self, task: Task, trio_task: trio.lowlevel.Task) -> None:
        """Close the scopes of a task that has nothing to clean up."""
        self._close(task, trio_task, self._fault)

    async def end_incarnation(
        self, task: Task, finalize: AsyncRoutine | None, outer_frames: int, exc: BaseException | None
    ) -> list[BaseException]:
        """Clean up one incarnation of a task whose loop goes on, in the same way; return what went wrong.

        Args:
            task: the task to clean up; call from its own trio task.
            finalize: that of this incarnation.
            outer_frames: how many frames were around it when it began.
            exc: what ended it.
        """
        faults: list[BaseException] = []
        frames = len(task._outer_frames) - outer_frames
        await self._unwind(task, finalize, frames, exc, lambda _, error: faults.append(error))
        return faults

    async def _unwind(
        self,
        task: Task,
        finalize: AsyncRoutine | None,
        frames: int,
        exc: BaseException | None,
        fault: Fault,
    ) -> None:
        """Call a finalizer in the innermost frame, then close it and those around it; all share one `finalize_timeout`."""
        trio_task = task._trio_task
        assert trio_task is not None
        now = self._clock.current_time()
        self._share_ends = share_ends = now + self._seconds
        last = exc
        raised = before = None
        for _ in range(frames):
            before = last
            in_time = now < share_ends and now < self.stop_at
            # A guard in time is enough, as a deadline that is past is seen no earlier than where something suspends. But it
            # is opened first where what lies around the task is cancelled, or may be.
            if not in_time or not self._shielded or task._guard is not None or is_cancelled(trio_task):
                guard = self._open_guard(task, share_ends)
                if not in_time:
                    guard.cancel()
            if finalize is not None:
                raised = await self._attempt(task, share_ends, call(finalize, task), None, fault)
                last = last if raised is None else raised
                finalize = None
            while task._exits:
                leave = task._exits.pop()
                about = (None, None, None) if last is None else (type(last), last, last.__traceback__)
                raised = await self._attempt(task, share_ends, leave(*about), last, fault)
                last = last if raised is None else raised
            now = self._clock.current_time()
            # A thread or a loop without an await cannot be cut, only be found out by the time that it took.
            if (now >= share_ends or now >= self.stop_at) and (
                in_time or (last is not before and isinstance(last, trio.Cancelled))
            ):
                fault(task, self.overrun(f"finalizer of task {task.name!r}"))
            if task._guard is not None or has_opened(trio_task, self._scope):
                self._close(task, trio_task, fault)
        del exc, last, raised, before  # their tracebacks lead to this frame

    def _close(self, task: Task, trio_task: trio.lowlevel.Task, fault: Fault) -> None:
        if task._guard is None and has_opened(trio_task, self._scope_around(task)):
            # A routine left a scope open that its finalizer did not close: to close one around it says so.
            self._open_guard(task, math.inf)
        if task._guard is not None:
            self._bounds.discard(task._guard)
        try:
            task._pop_frame()
        except RuntimeError as misnested:
            fault(task, misnested)

    async def _attempt(
        self,
        task: Task,
        share_ends: float,
        work: Coroutine[Any, Any, object],
        known: BaseException | None,
        fault: Fault,
    ) -> BaseException | None:
        """Await a finalizer or an exit, guarded from where it first suspends, as most never do; return what it raised.

        known: already reported; not reported again if re-raised.
        """
        try:
            steps = work.__await__()
            trap = next(steps, COMPLETED)
            if trap is not COMPLETED:
                self._open_guard(task, share_ends)
                await drive_rest(operator.call, steps, trap)
        except BaseException as exc:
            error = without_cancelled(exc)
            if error is not None and not _same_news(error, known):
                fault(task, error)
            return exc
        return None


def _same_news(error: BaseException, known: BaseException | None) -> bool:
    """Return True if an exit only passed on the error that it was told of, bare or in a group (as a nursery does)."""
    if known is None:
        return False
    told = {id(leaf) for leaf in leaves(known)}
    return all(id(leaf) in told for leaf in leaves(error))


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
        """Start the budget and go on to the finalizers, at once if there is nothing to wait for."""
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
                cause = self._stop.record.cause
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
        if not self._stop.record.stopping:
            children.finish(Cause(CauseKind.FINISHED, at=trio.current_time()), self._job._limits.grace)
        with trio.CancelScope(deadline=self._finalizers.stop_at) as budget:
            await children.ended(Children.that_end_first)
        if budget.cancelled_caught:
            error = StopTimeoutError(f"children of job {self._job.name!r} overran its stop_timeout")
            self._stop.record.add(None, None, error)
            children.expire()
            await children.ended(Children.that_end_first)

    async def _call_hook(self, hook: ShutdownHook, error: BaseException) -> None:
        with trio.CancelScope() as budget:
            in_time = self._finalizers.bound(budget)
            interrupted = False
            try:
                await _call(hook, error)
            except BaseException as exc:
                fault = without_cancelled(exc)
                interrupted = fault is not exc
                if fault is not None:
                    self._stop.record.add(None, None, fault)
        if budget.cancel_called and (interrupted or in_time):
            late = self._finalizers.overrun(f"on_shutdown of job {self._job.name!r}")
            self._stop.record.add(None, None, late)


@disable_ki_protection
async def _call(hook: ShutdownHook, error: BaseException) -> None:
    result = hook(error)
    if inspect.isawaitable(result):
        await result
