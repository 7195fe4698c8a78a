"""Run one task of a job, from its init to its finalizer, in one trio task and one context (G4).

Theory. A task goes through five stages and may skip any of them: set up (its init), the wait for the other inits,
the run loop, the wait for its turn, and the clean-up (its finalizer, then its exits). What a routine raises is caught
in the stage where it arises and recorded before anything is cancelled (G5), so the nursery never sees a user's error
and never builds a group.

Two promises make sure that a job ends. A task that leaves its trio task is counted out on every path, and hands its
turn to the next finalizer on every path; both stand in one `finally`. And an exception that comes out of the engine
itself, which should not exist, ends the job with that exception as the cause: `salvage` then does what is left of the
stages.

No wait in here opens a cancel scope. A routine may have left a nursery or a scope open for its finalizer, and a scope
opened inside those would have to be closed before them. Where a wait must not be cancelled, its abort function declines
instead.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol
from weakref import ref

import trio
from trio.lowlevel import current_task, enable_ki_protection

from ..context import make_current
from ..task import DONE, Task
from ..trio.calls import call
from ..trio.scopes import abandon_scopes_in, forget_deadlines, has_opened, is_cancelled
from ..trio.time_slice import TimeSlice
from ..trio.wakeup import Wakeup, shielded, unshielded
from ..words.states import PHASE_RUN, STRICT, TASK_CANCELLED, TASK_FINISHED, TASK_RUNNING, Phase
from .failures import Failures
from .idle_watch import IdleWatch
from .progress import CANCELLED, STARTING, Progress
from .stop import Stop
from .stop_record import StopRecord
from .task_loop import run_loop
from .teardown import Finalizers

if TYPE_CHECKING:
    from ..idle_clock import IdleClock


class TaskHost(Protocol):
    """What a task needs of the run that it is part of."""

    progress: Progress
    record: StopRecord
    stop: Stop
    time_slice: TimeSlice
    waiting_for_inits: list[Wakeup]

    @property
    def failures(self) -> Failures: ...
    @property
    def finalizers(self) -> Finalizers: ...
    def advance(self) -> None: ...
    def idle_watch(self) -> IdleWatch: ...
    def ignores_cancel(self) -> bool: ...
    def leave_loop(self, task: Task) -> None: ...
    def count_out(self, task: Task) -> None: ...


@enable_ki_protection
async def run_task(run: TaskHost, task: Task) -> None:
    """Run a task through all of its stages; it raises nothing."""
    make_current(ref(task))
    trio_task = task._trio_task = current_task()
    exc = None
    try:
        if task._init is not None or task._finalize is not None or task._loop_scope is not None:
            exc = await set_up(run, task)
        if exc is None and enter_loop(run, task):
            try:
                if task._run is not None:
                    loop = run_loop(task, task._run, run.record, run.time_slice)
                    await (loop if task._idle is None else watched(run, task, task._idle, loop))
                if task._step == DONE and task._failure is None and task.policy is not STRICT:
                    task._move(TASK_FINISHED)  # as nearly every loop does
                else:
                    run.failures.loop_returned(task)
            except BaseException as error:
                exc = error
                run.failures.ended_by(task, task._phase, error)
        run.leave_loop(task)
        if task._turn is not None:
            await clean_up(run, task, trio_task, task._turn, exc)
        elif has_opened(trio_task, run.stop.scope):
            close_scopes(run, task, trio_task)
    except BaseException as fault:
        await salvage(run, task, trio_task, fault)
    finally:
        if task._counted or task._turn is not None:
            run.count_out(task)
        task._run = task._trio_task = None
        del exc  # its traceback refers to this frame


async def salvage(run: TaskHost, task: Task, trio_task: trio.lowlevel.Task, fault: BaseException) -> None:
    """End the job with a fault of the engine itself, and clean up the task in which it arose as far as that is left."""
    run.stop.engine_failed(fault)
    if not task.ended:
        task._state = TASK_CANCELLED  # not by `_move`, which calls the observers: they may be what has failed
    if task._counted:
        run.leave_loop(task)
    if task._turn is not None and task._must_finalize:
        await clean_up(run, task, trio_task, task._turn, fault)


async def set_up(run: TaskHost, task: Task) -> BaseException | None:
    """Take a task up to its run loop; return what ended it before."""
    if run.stop.mode is CANCELLED and not task._must_finalize:
        task._init = task._finalize = None
        return None
    if task._loop_scope is not None:
        task._loop_scope.__enter__()
    if task._init is not None or task._finalize is not None:
        task._turn = Wakeup()
    task._must_finalize = True
    exc = None
    if task._init is not None:
        task._move(TASK_RUNNING)
        try:
            await call(task._init, task)
        except BaseException as error:
            exc = error
            run.failures.ended_by(task, Phase.INIT, error)
        if task.index != 0:
            run.advance()
    if exc is None and task.index != 0 and run.progress is STARTING:
        exc = await wait_for_inits(run, task)
    return exc


async def wait_for_inits(run: TaskHost, task: Task) -> BaseException | None:
    """Wait until all inits of the start have passed; return what ended the task meanwhile."""
    if run.stop.mode is not CANCELLED:
        wakeup = Wakeup()
        run.waiting_for_inits.append(wakeup)
        try:
            await wakeup.wait(unshielded)
        except BaseException as exc:
            run.failures.ended_by(task, None, exc)
            return exc
    return None


def enter_loop(run: TaskHost, task: Task) -> bool:
    """Move to the run loop and return True, or return False if the job has been cancelled by now."""
    if run.stop.mode is CANCELLED:
        task._move(TASK_CANCELLED)
        return False
    if task._init is None:
        task._move(TASK_RUNNING)
    else:
        task._phase = PHASE_RUN
    return True


async def watched(run: TaskHost, task: Task, clock: IdleClock, loop: Awaitable[None]) -> None:
    """Run a loop that has an idle timeout."""
    watch = run.idle_watch()
    if not watch.sleeping:
        run.stop.start_helper(watch.run)
        watch.sleeping = True
    watch.add(task, clock)
    # What `trio.current_time` comes to, for a third of its price.
    task._now = trio.lowlevel.current_clock().current_time
    try:
        await loop
    finally:
        watch.remove(task)


async def clean_up(
    run: TaskHost, task: Task, trio_task: trio.lowlevel.Task, turn: Wakeup, exc: BaseException | None
) -> None:
    """Wait for the turn of a task, then call its finalizer and leave what it has entered."""
    if task.transient:
        task._must_finalize = False
        await run.finalizers.clean_up(task, exc)
        return
    if not turn.woken:
        # After done(), run may have cancelled a scope opened by init or `enter`; that is not a failure.
        # Nor is it one whose deadline, meant for the run, comes only now (G4).
        closed = exc is None and is_cancelled(trio_task)
        if exc is None:
            forget_deadlines(trio_task, run.stop.scope)
        try:
            await turn.wait(shielded if closed else run.ignores_cancel)
        except BaseException as interruption:
            run.failures.classify(task, None, interruption)
            if not turn.woken:
                await turn.wait(shielded)
    task._must_finalize = False
    await run.finalizers.clean_up(task, exc)
    if task._placeholder_error is not None:
        run.failures.confirm_placeholder(task, task._placeholder_error)


def close_scopes(run: TaskHost, task: Task, trio_task: trio.lowlevel.Task) -> None:
    """Close the scopes of a task that has nothing to clean up: its own, and those that a routine has left open."""
    if task._loop_scope is None:
        abandon_scopes_in(trio_task, run.stop.scope)
    else:
        run.finalizers.close(task, trio_task)
        task._retire()
