"""One run of a job, from the first init to the last finalizer.

The layout of trio tasks: the caller's own (the host) runs the oneshot and, where nothing forbids it, the first recurrent loop,
and the next one if that has ended without ever suspending; every other task has a trio task in one nursery, for its init, its
loop and its finalizer (G4). Nobody supervises: the trio task that takes a step of the life cycle starts the next one. An init
that has passed starts the next init, the last one starts all loops, the loop that exits last begins the
finalizers, and each finalizer hands the turn to the one before it. So a job pays for no coordinator, and the order (G1) is the
order of these calls.

Errors never reach the nursery: each is recorded in the trio task where it arises, before anything is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, final
from weakref import ref

import trio
from trio import open_nursery
from trio.lowlevel import current_task, enable_ki_protection

from ..context import make_current
from ..task import BETWEEN, DONE, Task
from ..trio.calls import call
from ..trio.drive import COMPLETED, drive_rest
from ..trio.scopes import abandon_scopes_in, forget_deadlines, has_opened, is_cancelled
from ..trio.time_slice import time_slice
from ..trio.wakeup import Wakeup, shielded, unshielded
from ..words.records import CauseKind
from ..words.states import (
    JOB_FINALIZING,
    JOB_ONESHOT_RUNNING,
    JOB_RECURRENT_RUNNING,
    PHASE_RUN,
    STOP_GROUP,
    STRICT,
    TASK_CANCELLED,
    TASK_FINISHED,
    TASK_RUNNING,
    Phase,
)
from .failures import Failures
from .idle_watch import IdleWatch
from .progress import CANCELLED, FINALIZING, OVER, RUNNING, STARTING, WINDING_UP, checked_progress
from .stop import Stop
from .stop_record import StopRecord
from .task_loop import run_loop
from .teardown import Finalizers, Shutdown

if TYPE_CHECKING:
    from ..idle_clock import IdleClock
    from ..job import Job

_index: Final = attrgetter("index")


@final
class JobRun:
    """The engine of one job; the job holds it while it runs."""

    __slots__ = (
        "_block_holds",
        "_context",
        "_failures",
        "_finalizers",
        "_host_wakeup",
        "_idle",
        "_initialising",
        "_job",
        "_keep_open_holds",
        "_live_count",
        "_live_group_count",
        "_queue",
        "_ready",
        "_stop_record",
        "_time_slice",
        "_to_finalize",
        "_waiting_for_inits",
        "progress",
        "stop",
    )

    _context: Context

    def __init__(self, job: Job[Any], record: StopRecord, *, block_hold: bool) -> None:
        """Make the engine of a job that starts now; `block_hold`: a block keeps it up until `drop_block_hold`."""
        self._job = job
        self._stop_record = record
        self._queue = list(reversed(job._tasks.values()))  # not looked at yet, the last one first
        if job._oneshot is not None:
            self._queue.append(job._oneshot)
        self._ready: list[Task] = []  # plain tasks that wait for the inits, then for the host
        self._waiting_for_inits: list[Wakeup] = []  # the others that wait for the inits
        self.progress = STARTING
        self._initialising = False  # an init is under way
        self._keep_open_holds: int = job._keep_open  # holds that a stop ends
        self._block_holds: int = block_hold  # holds of a block, which a failure of the job has to wait for
        # What keeps the job up: loops that have not exited, and holds.
        self._live_count = len(self._queue) + self._keep_open_holds + self._block_holds
        # Tasks of it that are not done
        self._live_group_count = sum(map(_in_group, self._queue)) if job._has_group else 0
        self._host_wakeup: Wakeup | None = None
        self._idle: IdleWatch | None = None
        self._failures: Failures | None = None
        self._finalizers: Finalizers | None = None
        self._to_finalize: list[Task] = []  # that have something to clean up
        self._time_slice = time_slice()
        self.stop = Stop(job, record, self)

    def is_here(self) -> bool:
        """Whether the caller is in the trio run in which the job runs."""
        try:
            return time_slice() is self._time_slice
        except RuntimeError:
            return False

    @enable_ki_protection
    async def run_to_end(self, *, contained: bool) -> None:
        """Run the job to its verdict. What happened is in the stop record; nothing is raised."""
        try:
            async with open_nursery() as nursery:
                self.stop.arm(nursery)
                try:
                    self._context = copy_context()
                    task = self._first()
                    while task is not None:
                        # In the host's trio task, but not in its context.
                        context = self._context.copy() if task._context is None else task._context
                        steps = self._run_task(task).__await__()
                        trap = context.run(next, steps, COMPLETED)
                        if trap is not COMPLETED:
                            self._spawn_ready()
                            await drive_rest(context.run, steps, trap)
                        del context, steps, trap  # and what they hold: the host may live long after this task
                        task = self._next_ready()
                    if self._job._watches_idle and not self.loops_have_exited() and not self._idle_watch().sleeping:
                        await self._idle_watch().run()
                    if self.progress is not OVER:
                        await self._wait_for_the_rest(self._ignores_cancel)
                except BaseException as exc:
                    self._on_host_interrupted(exc)
                if self.progress is not OVER:
                    await self._wait_for_the_rest(shielded)
        except BaseExceptionGroup as group:
            # Nothing but trio itself adds to the nursery: a KeyboardInterrupt that came while it closed.
            for error in group.exceptions:
                self.failures.came_last(error)
        finally:
            self._job._complete(contained=contained)
            del (
                self.stop,
                self._failures,
                self._finalizers,
                self._idle,
            )  # break reference cycles; refcounting can then free these

    def _first(self) -> Task | None:
        """Begin; return what the host is to run first: the oneshot, else a plain loop, else nothing."""
        job = self._job
        oneshot = job._oneshot
        job._move(JOB_RECURRENT_RUNNING if oneshot is None else JOB_ONESHOT_RUNNING)
        # Its parent may be stopping, or its scope cancelled, and no routine need ever look.
        if job._parent is not None and (parent := job._running_parent()) is not None:
            if parent.is_here():
                parent.stop.child_started(job)
            else:
                job._detach()
        if job._children is not None:
            job._children.leave_other_runs()
        self.stop.recheck()
        if oneshot is not None:
            return self._queue.pop() if self._queue else None  # else it was dropped: the job is cancelled already
        self._advance()
        self.close_if_empty()
        return self._next_ready()

    def loops_have_exited(self) -> bool:
        """Return True once nothing is left that could be cut."""
        return self.progress is not STARTING and self.progress is not RUNNING

    def is_finalizing(self) -> bool:
        """Return True once the finalizers have begun: the cause of the end stands."""
        return self.progress is FINALIZING or self.progress is OVER

    def _host_is_free(self) -> bool:
        """Return True while the host can run loops: it neither waits for the rest nor, as the oneshot, for its finalizer."""
        oneshot = self._job._oneshot
        return self._host_wakeup is None and (oneshot is None or oneshot._turn is None)

    def _next_ready(self) -> Task | None:
        """Take a plain loop that may start."""
        return self._ready.pop(0) if self.progress is not STARTING and self._ready else None

    def _wait_for_the_rest(self, ignore_cancel: Callable[[], bool]) -> Awaitable[None]:
        self._host_wakeup = Wakeup()
        return self._host_wakeup.wait(ignore_cancel)

    def _on_host_interrupted(self, exc: BaseException) -> None:
        if not isinstance(exc, trio.Cancelled):
            self.stop.interrupt(CauseKind.ERROR, None, None, exc)
        elif self._stop_record.cause is None and not self.stop.note_timeout():
            self._stop_record.cancelled = exc
            self.stop.note_outer_cancel()

    def add(self, task: Task) -> None:
        """Take a task that is added while the job runs."""
        task._context = copy_context()
        self._queue.insert(0, task)
        self._live_count += 1
        self._live_group_count += _in_group(task)
        try:
            if self.stop.mode is CANCELLED:  # by the task's own factory
                self.drop_queue()
                self.close_if_empty()
            elif self.progress is not STARTING and not self._initialising:
                self._advance()
        except BaseException as fault:
            self.stop.engine_failed(fault)
            raise

    def _advance(self) -> None:
        """Start the next init; after the last one start the loops."""
        self._initialising = False
        queue, stop = self._queue, self.stop
        while queue and stop.mode is not CANCELLED:
            task = queue.pop()
            if task._init is not None:
                self._initialising = True
                self._spawn(task)
                return
            if task._finalize is None and self.progress is STARTING:
                self._ready.append(task)
            else:
                task._must_finalize = True
                self._spawn(task)
        if self.progress is STARTING and stop.mode is not CANCELLED:
            self._start_loops()

    def _start_loops(self) -> None:
        """Start all run loops: the inits have passed."""
        self.progress = checked_progress(self.progress, RUNNING)
        self._job._ready = True
        for wakeup in self._waiting_for_inits:
            wakeup.wake()
        # The watch needs the host more than a loop does: either way it is one trio task less.
        if self._job._watches_idle or not self._host_is_free():
            self._spawn_ready()
        if self._job._oneshot is None and self._live_count:  # an empty job has ended before anybody looks
            self._job._set_ready()
        if self._job._has_group:
            self._check_group()

    def _spawn_ready(self) -> None:
        """Start the loops that the host cannot run: it is about to be busy for longer."""
        while self.progress is not STARTING and self._ready:
            self._spawn(self._ready.pop(0))

    def _spawn(self, task: Task) -> None:
        # In the context of the code that added it, and nothing in it of the task that happens to run here.
        context = self._context if task._context is None else task._context
        try:
            # Of PosArgT
            context.run(self.stop.nursery.start_soon, self._run_task, task, name=task.name)  # type: ignore[arg-type]
        except BaseException:  # a fault of the engine: the task must not be waited for
            task._state = TASK_CANCELLED
            task._counted = False
            self._live_count -= 1
            raise

    @enable_ki_protection
    async def _run_task(self, task: Task) -> None:
        """One task from init to finalizer, in the trio task and the context that it was given."""
        make_current(ref(task))
        trio_task = task._trio_task = current_task()
        exc = None
        try:
            if task._init is not None or task._finalize is not None or task._loop_scope is not None:
                exc = await self._set_up(task)
            if exc is None and self._enter_loop(task):
                try:
                    if task._run is not None:
                        loop = run_loop(task, task._run, self._stop_record, self._time_slice)
                        await (loop if task._idle is None else self._watched(task, task._idle, loop))
                    if task._step == DONE and task._failure is None and task.policy is not STRICT:
                        task._move(TASK_FINISHED)  # as nearly every loop does
                    else:
                        self.failures.loop_returned(task)
                except BaseException as error:
                    exc = error
                    self.failures.ended_by(task, task._phase, error)
            self._leave_loop(task)
            if task._turn is not None:
                await self._clean_up(task, trio_task, task._turn, exc)
            elif has_opened(trio_task, self.stop.scope):
                self._close_scopes(task, trio_task)
        except BaseException as fault:
            await self._salvage(task, trio_task, fault)
        finally:
            if task._counted or task._turn is not None:
                self._count_out(task)
            task._run = task._trio_task = None
            del exc  # its traceback refers to this frame

    async def _salvage(self, task: Task, trio_task: trio.lowlevel.Task, fault: BaseException) -> None:
        """End the job with a fault of the engine itself, and clean up the task in which it arose as far as that is left."""
        self.stop.engine_failed(fault)
        if not task.ended:
            task._state = TASK_CANCELLED  # past its observers, who may be what has failed
        if task._counted:
            self._leave_loop(task)
        if task._turn is not None and task._must_finalize:
            await self._clean_up(task, trio_task, task._turn, fault)

    def _count_out(self, task: Task) -> None:
        """Let the job go on without a task that leaves its trio task now, whatever has happened to it."""
        if task._counted:
            task._counted = False
            self._live_count -= 1
            if task.transient:
                self._job._forget(task)
            self.close_if_empty()
        if self._finalizers is not None and self._finalizers.turn is task:
            self._finalizers.next()
        if task._turn is not None:
            task._retire()

    async def _set_up(self, task: Task) -> BaseException | None:
        """Take a task up to its run loop; return what ended it before."""
        if self.stop.mode is CANCELLED and not task._must_finalize:
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
                self.failures.ended_by(task, Phase.INIT, error)
            if task.index != 0:
                self._advance()
        if exc is None and task.index != 0 and self.progress is STARTING:
            exc = await self._wait_for_inits(task)
        return exc

    async def _wait_for_inits(self, task: Task) -> BaseException | None:
        if self.stop.mode is not CANCELLED:
            wakeup = Wakeup()
            self._waiting_for_inits.append(wakeup)
            try:
                await wakeup.wait(unshielded)
            except BaseException as exc:
                self.failures.ended_by(task, None, exc)
                return exc
        return None

    def _enter_loop(self, task: Task) -> bool:
        """Whether the task may begin its run loop: not in a job that is cancelled by now."""
        if self.stop.mode is CANCELLED:
            task._move(TASK_CANCELLED)
            return False
        if task._init is None:
            task._move(TASK_RUNNING)
        else:
            task._phase = PHASE_RUN
        return True

    async def _watched(self, task: Task, clock: IdleClock, loop: Awaitable[None]) -> None:
        """Run a loop that has an idle timeout."""
        watch = self._idle_watch()
        if not watch.sleeping:
            self.stop.start_helper(watch.run)
            watch.sleeping = True
        watch.add(task, clock)
        # What `trio.current_time` comes to, for a third of its price.
        task._now = trio.lowlevel.current_clock().current_time
        try:
            await loop
        finally:
            watch.remove(task)

    def _idle_watch(self) -> IdleWatch:
        if self._idle is None:
            self._idle = IdleWatch(self.failures.idle_expired)
        return self._idle

    def _leave_loop(self, task: Task) -> None:
        if self._job._waiters is not None:
            self._job._waiters.loop_ended(task)
        if task.transient:
            return  # counts until it is gone
        if task._turn is not None:
            self._to_finalize.append(task)
        task._counted = False
        self._live_count -= 1
        if task.index == 0:
            self._oneshot_ended(task)
        if self._job._has_group and _in_group(task):
            self._live_group_count -= 1
            self._check_group()
        if self._live_count == 0:
            self.close_if_empty()

    def _oneshot_ended(self, task: Task) -> None:
        self.stop.recheck()  # before an init is entered
        # BETWEEN: a stop found it in a wait, that of an init which was to be tried again.
        passed = task._step == DONE or (task._run is None and task._step != BETWEEN)
        if (
            passed
            and task._state is TASK_FINISHED
            and not self._stop_record.no_inits
            and self.stop.mode is not CANCELLED
        ):
            if not self._stop_record.stopping:
                self._job._move(JOB_RECURRENT_RUNNING)
            self._job._set_ready()
            self._advance()
        else:
            self.drop_queue()

    def _check_group(self) -> None:
        if (
            self.progress is RUNNING
            and self._job._has_group
            and self._live_group_count == 0
            and not self._stop_record.stopping
        ):
            self._job.finish()

    @property
    def failures(self) -> Failures:
        """Failure bookkeeping for this job's tasks, created on first use."""
        if self._failures is None:
            self._failures = Failures(self._job, self._stop_record, self.stop)
        return self._failures

    @property
    def finalizers(self) -> Finalizers:
        """The finalizer queue, created on first use."""
        if self._finalizers is None:
            seconds = self._job._limits.finalize_timeout
            self._finalizers = Finalizers(self.stop.scope, seconds, self._finalizer_failed, self._all_over)
        return self._finalizers

    def _finalizer_failed(self, task: Task, error: BaseException) -> None:
        self.failures.finalizer_failed(task, error)  # asked for here, so that they are made only then

    async def _clean_up(
        self, task: Task, trio_task: trio.lowlevel.Task, turn: Wakeup, exc: BaseException | None
    ) -> None:
        if task.transient:
            task._must_finalize = False
            await self.finalizers.clean_up(task, exc)
            return
        if not turn.woken:
            # After done(), run may have cancelled a scope opened by init or `enter`; that is not a failure.
            # Nor is it one whose deadline, meant for the run, comes only now (G4).
            closed = exc is None and is_cancelled(trio_task)
            if exc is None:
                forget_deadlines(trio_task, self.stop.scope)
            try:
                await turn.wait(shielded if closed else self._ignores_cancel)
            except BaseException as interruption:
                self.failures.classify(task, None, interruption)
                if not turn.woken:
                    await turn.wait(shielded)
        task._must_finalize = False
        await self.finalizers.clean_up(task, exc)
        if task._placeholder_error is not None:
            self.failures.confirm_placeholder(task, task._placeholder_error)

    def _close_scopes(self, task: Task, trio_task: trio.lowlevel.Task) -> None:
        """Take a task without a finalizer out of its own scope, and of those that it has left open."""
        if task._loop_scope is None:
            abandon_scopes_in(trio_task, self.stop.scope)
        else:
            self.finalizers.close(task, trio_task)
            task._retire()

    def _ignores_cancel(self) -> bool:
        """Return True if a cancellation can be ignored: the job is cancelled already, or finalizing."""
        return self.stop.mode is CANCELLED or self.is_finalizing()

    def close_if_empty(self) -> None:
        """Go on to the finalizers where no loop is left."""
        if self._live_count == 0 and not self.loops_have_exited():
            self.progress = checked_progress(self.progress, WINDING_UP)
            self.stop.wind_up()
            if self._idle is not None:
                self._idle.close()
            job, children = self._job, self._job._children
            if (
                job._on_shutdown is None
                and job._limits.stop_timeout == inf
                and (children is None or not children.started())
            ):
                self._finalize()
            else:
                shutdown = Shutdown(job, self.stop, self.finalizers, self._finalize)
                self._context.copy().run(shutdown.begin, self.stop.nursery)  # not in that of the task that ended last

    def _finalize(self) -> None:
        """Begin the finalizers, the latest first: tasks are initialised in the order of their indexes."""
        self.progress = checked_progress(self.progress, FINALIZING)
        self.stop.seal()
        self._job._move(JOB_FINALIZING)
        if self._to_finalize:
            self._to_finalize.sort(key=_index)
            self.finalizers.begin(self._to_finalize)
        else:
            self._all_over()

    def _all_over(self) -> None:
        self.progress = checked_progress(self.progress, OVER)
        if self._host_wakeup is not None:
            self._host_wakeup.wake()

    def drop_queue(self) -> None:
        """Give up the tasks that were never started."""
        dropped = [*reversed(self._queue), *self._ready]
        self._queue.clear()
        self._ready.clear()
        self._live_count -= len(dropped)
        for task in dropped:
            task._counted = False
            task._move(TASK_CANCELLED)

    def wake_shielded(self) -> None:
        """Wake the tasks that wait for the inits behind a shield of their own: the cancellation has not reached them."""
        for wakeup in self._waiting_for_inits:
            if wakeup.waiting:
                wakeup.wake()

    def drop_keep_open(self) -> None:
        """Let the job end when its loops have exited."""
        self._live_count -= self._keep_open_holds
        self._keep_open_holds = 0
        if self._stop_record.cause is None or self._job._block is None or not self._job._block.entered:
            self.drop_block_hold()  # after a finish it goes on by itself; after a failure it will not be entered
        self.close_if_empty()

    def drop_block_hold(self) -> None:
        """Drop the hold of the block."""
        self._live_count -= self._block_holds
        self._block_holds = 0
        self.close_if_empty()

    def expire(self) -> None:
        """End the budget of the stop: the parent's is over."""
        self.stop.halt()
        self.finalizers.expire()
        if self.stop.children is not None:
            self.stop.children.expire()


def _in_group(task: Task) -> bool:
    return task.policy is STOP_GROUP and task._run is not None
