"""Drive one run of a job, from the first init to the last finalizer.

Theory. There is no supervisor: the trio task that completes a step of the life cycle starts the next step. An init that
has passed starts the next init; the last init starts all loops; the loop that exits last begins the finalizers; each
finalizer hands the turn to the one before it. The order of a job (G1) is the order of these calls, and no task exists
only to coordinate.

Trio tasks. The caller's own trio task, the host, runs the oneshot and, where nothing forbids it, the first recurrent
loop; if that ends without ever suspending, it runs the next one too. Every other task of the job has a trio task of its
own in a single nursery, for its init, its loop and its finalizer (G4). A short job so needs no trio task but its
caller's.

Counting. `_live_count` is the number of loops that have not exited, plus one for each hold (`keep_open`, an open
block). Whatever lowers it calls `close_if_empty`, which begins the end at zero. How far the run has come is its
`progress`; whether it stops is the `mode` of its `Stop`. Each has a table of moves and a single writer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, final

import trio
from trio import open_nursery
from trio.lowlevel import enable_ki_protection

from ..family import detach
from ..task import BETWEEN, DONE, Task
from ..trio.drive import COMPLETED, drive_rest
from ..trio.time_slice import time_slice
from ..trio.wakeup import Wakeup, shielded
from ..words.records import CauseKind
from ..words.states import (
    JOB_FINALIZING,
    JOB_ONESHOT_RUNNING,
    JOB_RECURRENT_RUNNING,
    STOP_GROUP,
    TASK_CANCELLED,
    TASK_FINISHED,
)
from .failures import Failures
from .idle_watch import IdleWatch
from .progress import CANCELLED, FINALIZING, OVER, RUNNING, STARTING, WINDING_UP
from .stop import Stop
from .stop_record import StopRecord
from .task_run import run_task
from .teardown import Finalizers, Shutdown

if TYPE_CHECKING:
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
        "_to_finalize",
        "progress",
        "record",
        "stop",
        "time_slice",
        "waiting_for_inits",
    )

    _context: Context

    def __init__(self, job: Job[Any], record: StopRecord, *, block_hold: bool) -> None:
        """Make the engine of a job that starts now; `block_hold`: a block keeps it up until `drop_block_hold`."""
        self._job = job
        self.record = record
        self._queue = list(reversed(job._tasks.values()))  # not looked at yet, the last one first
        if job._oneshot is not None:
            self._queue.append(job._oneshot)
        self._ready: list[Task] = []  # plain tasks that wait for the inits, then for the host
        self.waiting_for_inits: list[Wakeup] = []  # the others that wait for the inits
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
        self.time_slice = time_slice()
        self.stop = Stop(job, record, self)

    def is_here(self) -> bool:
        """Return True if the caller is in the trio run in which the job runs."""
        try:
            return time_slice() is self.time_slice
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
                        steps = run_task(self, task).__await__()
                        trap = context.run(next, steps, COMPLETED)
                        if trap is not COMPLETED:
                            self._spawn_ready()
                            await drive_rest(context.run, steps, trap)
                        del context, steps, trap  # and what they hold: the host may live long after this task
                        task = self._next_ready()
                    if self._job._watches_idle and not self.loops_have_exited() and not self.idle_watch().sleeping:
                        await self.idle_watch().run()
                    if self.progress is not OVER:
                        await self._wait_for_the_rest(self.ignores_cancel)
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
                detach(job)
        if job._children is not None:
            job._children.leave_other_runs()
        self.stop.recheck()
        if oneshot is not None:
            return self._queue.pop() if self._queue else None  # else it was dropped: the job is cancelled already
        self.advance()
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
        elif self.record.cause is None and not self.stop.note_timeout():
            self.record.cancelled = exc
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
                self.advance()
        except BaseException as fault:
            self.stop.engine_failed(fault)
            raise

    def advance(self) -> None:
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
        self.progress = self.progress.moves[RUNNING]
        self._job._ready = True
        for wakeup in self.waiting_for_inits:
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
            context.run(self.stop.nursery.start_soon, run_task, self, task, name=task.name)  # type: ignore[arg-type]
        except BaseException:  # a fault of the engine: the task must not be waited for
            task._state = TASK_CANCELLED
            task._counted = False
            self._live_count -= 1
            raise

    def count_out(self, task: Task) -> None:
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

    def idle_watch(self) -> IdleWatch:
        if self._idle is None:
            self._idle = IdleWatch(self.failures.idle_expired)
        return self._idle

    def leave_loop(self, task: Task) -> None:
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
        if passed and task._state is TASK_FINISHED and not self.record.no_inits and self.stop.mode is not CANCELLED:
            if not self.record.stopping:
                self._job._move(JOB_RECURRENT_RUNNING)
            self._job._set_ready()
            self.advance()
        else:
            self.drop_queue()

    def _check_group(self) -> None:
        if (
            self.progress is RUNNING
            and self._job._has_group
            and self._live_group_count == 0
            and not self.record.stopping
        ):
            self._job.finish()

    @property
    def failures(self) -> Failures:
        """Failure bookkeeping for this job's tasks, created on first use."""
        if self._failures is None:
            self._failures = Failures(self._job, self.record, self.stop)
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

    def ignores_cancel(self) -> bool:
        """Return True if a cancellation can be ignored: the job is cancelled already, or finalizing."""
        return self.stop.mode is CANCELLED or self.is_finalizing()

    def close_if_empty(self) -> None:
        """Go on to the finalizers where no loop is left."""
        if self._live_count == 0 and not self.loops_have_exited():
            self.progress = self.progress.moves[WINDING_UP]
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
        self.progress = self.progress.moves[FINALIZING]
        self.stop.seal()
        self._job._move(JOB_FINALIZING)
        if self._to_finalize:
            self._to_finalize.sort(key=_index)
            self.finalizers.begin(self._to_finalize)
        else:
            self._all_over()

    def _all_over(self) -> None:
        self.progress = self.progress.moves[OVER]
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
        for wakeup in self.waiting_for_inits:
            if wakeup.waiting:
                wakeup.wake()

    def drop_keep_open(self) -> None:
        """Let the job end when its loops have exited."""
        self._live_count -= self._keep_open_holds
        self._keep_open_holds = 0
        if self.record.cause is None or self._job._block is None or not self._job._block.entered:
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
