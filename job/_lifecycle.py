"""One run of a job, from the first init to the last finalizer.

The layout of trio tasks: the caller's own (the host) runs the oneshot and, where nothing forbids it, the first recurrent loop,
and the next one if that has ended without ever suspending; every other task has a trio task in one nursery, for its init, its
loop and its finalizer (G4). Nobody supervises: the trio task that takes a step of the life cycle starts the next one. An init that has passed starts the next init, the last one opens
the gate for all loops, the loop that exits last begins the finalizers, and each finalizer hands the turn to the one before it.
So a job pays for no coordinator, and the order (G1) is the order of these calls.

Errors never reach the nursery: each is recorded in the trio task where it arises, before anything is cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, final

import trio
from trio.lowlevel import enable_ki_protection

from ._calls import call, without_cancelled
from ._context import enter_context_of, in_context
from ._ending import Ending, idle_error, is_fatal, kind_of
from ._exceptions import JobCancelledError, UnexpectedStopError
from ._finalizers import Finalizers
from ._idle_watch import IdleWatch
from ._loop import run_loop
from ._park import Park, always, never
from ._policy import StopPolicy
from ._shutdown import Shutdown
from ._states import JobState, Phase, TaskState
from ._stop import Stop
from ._task import BETWEEN, DONE, Task
from ._verdict import Cause, CauseKind, TaskError

if TYPE_CHECKING:
    from ._job import Job


@final
class Lifecycle:
    """The engine of one job; the job holds it while it runs."""

    __slots__ = (
        "_context",
        "_ending",
        "_gate",
        "_held",
        "_host_free",
        "_host_park",
        "_idle",
        "_initialising",
        "_job",
        "_kept",
        "_nursery",
        "_open",
        "_open_group",
        "_queue",
        "_ready",
        "_released",
        "finalizers",
        "stop",
    )

    def __init__(self, job: Job[Any], ending: Ending) -> None:
        self._job = job
        self._ending = ending
        self._context: Context
        self._nursery: trio.Nursery
        self._queue: list[Task] = []  # not looked at yet, the last one first
        self._ready: deque[Task] = deque()  # plain tasks that wait for the gate or, behind it, for the host
        self._gate: list[Park] = []  # the others that wait for the gate
        self._released = False  # the gate is open: all inits of the start have passed
        self._initialising = False
        self._open = 0  # what keeps the job up: loops that have not exited, and holds
        self._open_group = 0  # tasks of the stop group that are not done
        self._kept = 0  # holds that a stop ends
        self._held = 0  # holds of a block, which a failure of the job has to wait for
        self._host_free = False
        self._host_park = Park()
        self._idle: IdleWatch | None = None
        self.stop = Stop(job, ending, self)
        self.finalizers = Finalizers(job._finalize_timeout, self._finalizer_failed, self._host_park.wake)

    # -- the host

    @enable_ki_protection
    async def live(self) -> None:
        """Run the job until nothing of it is left; what happened is in the ending, nothing is raised."""
        self._context = copy_context()
        try:
            async with trio.open_nursery() as self._nursery:
                self.stop.arm(self._nursery)
                try:
                    await self._live_host()
                    await self._host_park.wait(self._deaf)
                except BaseException as exc:
                    self._host_struck(exc)
                await self._host_park.wait(always)
        except BaseExceptionGroup as group:
            # Nothing but trio itself adds to the nursery: a KeyboardInterrupt that came while it closed.
            for error in group.exceptions:
                self._ending.add(None, None, error)

    async def _live_host(self) -> None:
        oneshot = self._job._oneshot
        self._job._move(JobState.RECURRENT_RUNNING if oneshot is None else JobState.ONESHOT_RUNNING)
        self._meet_parent()
        await self._meet_cancellation()
        if oneshot is None:
            self._begin_recurrents(host_free=True)
            self.close_if_empty()
        else:
            await self._lent_to(oneshot)
        while self._released and self._ready:
            await self._lent_to(self._ready.popleft())
        if self._job._watches_idle and not self.stop.winding_up:
            await self._idle_watch().run()

    async def _meet_cancellation(self) -> None:
        """Start in a scope that may be cancelled already; no routine of a short job need ever look."""
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException as exc:
            self._host_struck(exc)

    def _meet_parent(self) -> None:
        """Start under a parent that may be stopping already."""
        parent = self._job._running_parent()
        if parent is not None:
            parent.stop.child_started(self._job)

    def _lent_to(self, task: Task) -> Awaitable[None]:
        """Run a task in the host's trio task, and leave that as it was."""
        return in_context(self._context.copy(), self._live_task(task), self._spawn_ready)

    def _host_struck(self, exc: BaseException) -> None:
        if not isinstance(exc, trio.Cancelled):
            self.stop.interrupt(CauseKind.ERROR, None, None, exc)
        elif self._ending.cause is None and not self.stop.expired():
            self._ending.cancelled = exc
            self.stop.struck_from_outside()

    # -- starting

    def enrol(self, task: Task) -> None:
        """Count in a task that the job starts with."""
        self._open += 1
        if task.index != 0:
            self._queue.insert(0, task)
        if _in_group(task):
            self._open_group += 1

    def add(self, task: Task) -> None:
        """Take a task that is added while the job runs."""
        task._context = copy_context()
        self.enrol(task)
        if self.stop.halted:  # by the task's own factory
            self.drop_queue()
            self.close_if_empty()
        elif self._released and not self._initialising:
            self._advance()

    def hold(self) -> None:
        """Keep the job up, with or without tasks."""
        self._kept = 1
        self._open += 1

    def hold_for_block(self) -> None:
        """Keep the job up until `release_block`."""
        self._held = 1
        self._open += 1

    def _begin_recurrents(self, *, host_free: bool) -> None:
        self._host_free = host_free
        self._advance()
        self._host_free = False

    def _advance(self) -> None:
        """Start the next init; past the last one open the gate."""
        self._initialising = False
        while self._queue and not self.stop.halted:
            task = self._queue.pop()
            if task._init is not None:
                self._initialising = True
                self._spawn(task)
                return
            self._pass(task)
        if not self._released and not self.stop.halted:
            self._release()

    def _pass(self, task: Task) -> None:
        """Let a task without an init go on to the gate."""
        self._await_turn_of(task)
        if task._finalize is None and not self._released:
            self._ready.append(task)
        else:
            self._spawn(task)

    def _release(self) -> None:
        """Open the gate: all run loops start."""
        self._released = True
        for park in self._gate:
            park.wake()
        # The watch needs the host more than a loop does: either way it is one trio task less.
        if self._job._watches_idle or not self._host_free:
            self._spawn_ready()
        if self._job._oneshot is None and self._open:  # an empty job has ended before anybody looks
            self._job._set_ready()
        self._check_group()

    def _spawn_ready(self) -> None:
        """Start the loops that the host cannot run: it is about to be busy for longer."""
        while self._released and self._ready:
            self._spawn(self._ready.popleft())

    def _spawn(self, task: Task) -> None:
        # In the context of the code that added it, and nothing in it of the task that happens to run here.
        context = self._context if task._context is None else task._context
        context.run(self._start, task)

    def _start(self, task: Task) -> None:
        self._nursery.start_soon(self._live_task, task, name=task.name)

    def _await_turn_of(self, task: Task) -> None:
        task._due = True
        if not task.transient:
            self.finalizers.order.append(task)

    # -- living

    @enable_ki_protection
    async def _live_task(self, task: Task) -> None:
        """One task from init to finalizer, in the trio task and the context that it was given."""
        enter_context_of(task)
        task._home = trio.lowlevel.current_task()
        exc = await (self._loop(task) if task._plain and self._released else self._init_and_loop(task))
        if task.index == 0:
            self._oneshot_ended(task)
        self._job._loop_ended(task)
        if not task.transient:
            self._count_out(task)
        if task._due and task._baton is not None:
            await self._clean_up(task, task._baton, exc)
        if task.transient:
            self._job._forget(task)
            self._count_out(task)
        task._home = None
        del exc  # its traceback refers to this frame

    def _oneshot_ended(self, task: Task) -> None:
        # BETWEEN: a stop found it in a wait, that of an init which was to be tried again.
        passed = task._step == DONE if task._run is not None else task._step != BETWEEN
        succeeded = passed and task.state is TaskState.FINISHED
        if succeeded and not self._ending.no_inits and not self.stop.halted:
            if not self._ending.stopping:
                self._job._move(JobState.RECURRENT_RUNNING)
            self._job._set_ready()
            self._begin_recurrents(host_free=task._guard is None)
        else:
            self.drop_queue()

    async def _init_and_loop(self, task: Task) -> BaseException | None:
        """Take a task to the exit of its run loop; return what ended it before its time."""
        if self.stop.halted and not task._due:
            task._move(TaskState.CANCELLED)
            return None
        if not task._plain:
            task._open_guard()
        if task.index == 0 and task._init is None:
            self._await_turn_of(task)
        if task._init is not None and (exc := await self._initialise(task)) is not None:
            return exc
        if task.index != 0 and not self._released and (exc := await self._wait_at_gate(task)) is not None:
            return exc
        return await self._loop(task)

    async def _initialise(self, task: Task) -> BaseException | None:
        assert task._init is not None
        task._move(TaskState.RUNNING)
        self._await_turn_of(task)
        exc = await self._attempt(task, Phase.INIT, call(task._init, task))
        if task.index != 0:
            self._advance()
        return exc

    async def _wait_at_gate(self, task: Task) -> BaseException | None:
        if self.stop.halted:
            return None
        park = Park()
        self._gate.append(park)
        return await self._attempt(task, None, park.wait(never))

    async def _loop(self, task: Task) -> BaseException | None:
        if self.stop.halted:
            task._move(TaskState.CANCELLED)
            return None
        if task._init is None:
            task._move(TaskState.RUNNING)
        try:
            if task._run is not None:
                await (run_loop(task, task._run, self._ending) if task._idle is None else self._watched_loop(task))
        except BaseException as exc:
            await self._ended_by(task, task._phase, exc)
            return exc
        self._loop_returned(task)
        return None

    async def _watched_loop(self, task: Task) -> None:
        """Run a loop that has an idle timeout."""
        assert task._run is not None
        assert task._idle is not None
        watch = self._idle_watch()
        if not watch.sleeping:
            self.stop.help(watch.run)
            watch.sleeping = True
        watch.add(task, task._idle)
        try:
            await run_loop(task, task._run, self._ending)
        finally:
            watch.remove(task)

    def _idle_watch(self) -> IdleWatch:
        if self._idle is None:
            self._idle = IdleWatch(self._idle_expired)
        return self._idle

    def _loop_returned(self, task: Task) -> None:
        if task.policy is StopPolicy.STRICT and task._step == DONE and not self._ending.stopping:
            error = UnexpectedStopError(
                f"task {task.name!r} with StopPolicy.STRICT was done before the job was stopping"
            )
            self._fail(task, Phase.RUN, error, CauseKind.UNEXPECTED_STOP)
        task._move(TaskState.FINISHED if task.error is None else TaskState.FAILED)

    async def _clean_up(self, task: Task, baton: Park, exc: BaseException | None) -> None:
        if task.transient:
            await self.finalizers.clean_up(task, exc)
        else:
            await self._wait_for_turn(task, baton)
            await self.finalizers.clean_up(task, exc)
            self.finalizers.next()

    def _count_out(self, task: Task) -> None:
        self._open -= 1
        if _in_group(task):
            self._open_group -= 1
            self._check_group()
        self.close_if_empty()

    def _check_group(self) -> None:
        if self._released and self._job._has_group and self._open_group == 0 and not self._ending.stopping:
            self._job.finish()

    # -- what went wrong

    async def _attempt(
        self, task: Task, phase: Phase | None, work: Coroutine[Any, Any, object]
    ) -> BaseException | None:
        """Await a part of a task's life; record what comes out of it and return it. No phase: the engine's own wait."""
        try:
            await work
        except BaseException as exc:
            await self._ended_by(task, phase, exc)
            return exc
        return None

    async def _ended_by(self, task: Task, phase: Phase | None, exc: BaseException) -> None:
        await self._explain(task, phase, exc)
        if not task.ended:
            task._move(TaskState.CANCELLED if task.error is None else TaskState.FAILED)

    async def _explain(self, task: Task, phase: Phase | None, exc: BaseException) -> None:
        error = without_cancelled(exc)
        await self.stop.look_outside(task)
        if error is not None:
            self._fail(task, phase or Phase.RUN, error, kind_of(task, error))
        elif self._ending.cause is None and not self.stop.halted and not _expects_cancelled(task, phase):
            self._scope_died(task, phase or Phase.RUN)
        elif self._ending.cause is None and task.error is None and phase is not None:
            self._cut(task, phase)
        elif self._ending.outside and task._home is self._nursery.parent_task and isinstance(exc, trio.Cancelled):
            self._ending.cancelled = exc

    def _cut(self, task: Task, phase: Phase) -> None:
        if task._step == BETWEEN:
            task._move(TaskState.FINISHED)
        elif not task._cut_alone:
            self._ending.cut.append((task, phase))

    def _fail(
        self, task: Task, phase: Phase, error: BaseException, kind: CauseKind, *, provisional: bool = False
    ) -> None:
        """Record an error of a task, and let its policy decide."""
        contained = task.policy is StopPolicy.CONTAIN and not is_fatal(error)
        record = self._contain if contained else partial(self.stop.interrupt, kind, provisional=provisional)
        failure = record(task, phase, error)
        task.error = task.error or failure
        self._job._task_failed(task, failure, survived=contained)

    def _contain(self, task: Task, phase: Phase, error: BaseException) -> TaskError:
        # A transient task leaves the job, and its error with it: observers and the log have heard of it.
        return TaskError(task, phase, error) if task.transient else self._ending.add(task, phase, error)

    def note(self, task: Task, phase: Phase, error: Exception) -> None:
        """Record an error of a task that does not change the job's end."""
        failure = self._contain(task, phase, error)
        self._job._task_failed(task, failure, survived=task.policy is StopPolicy.CONTAIN)

    def _scope_died(self, task: Task, phase: Phase) -> None:
        error = JobCancelledError("a scope of the task was cancelled")
        self._fail(task, phase, error, CauseKind.ERROR, provisional=True)

    def _idle_expired(self, task: Task) -> None:
        if self.stop.halted:  # by another holder of the same clock: this one is cancelled like all the others
            return
        assert task._idle is not None
        self._fail(task, Phase.RUN, idle_error(task, task._idle.seconds), CauseKind.IDLE)
        if task._loop_scope is not None:
            task._loop_scope.cancel()

    def _finalizer_failed(self, task: Task, error: BaseException) -> None:
        contained = task.policy is StopPolicy.CONTAIN and not is_fatal(error)
        if contained:
            failure = self._contain(task, Phase.FINALIZE, error)
        elif (replaced := self._ending.replace_provisional(task, Phase.FINALIZE, error)) is not None:
            failure = replaced
        elif self._ending.cause is None:
            at = trio.current_time()
            failure = self._ending.interrupt(Cause(CauseKind.FINALIZE, task, Phase.FINALIZE, error, at))
        else:
            failure = self._ending.add(task, Phase.FINALIZE, error)
        task.error = task.error or failure
        self._job._task_failed(task, failure, survived=contained)

    # -- stopping, as the stop asks for it

    def drop_queue(self) -> None:
        """Give up the tasks that were never started."""
        dropped = [*reversed(self._queue), *self._ready]
        self._queue.clear()
        self._ready.clear()
        self._open -= len(dropped)
        for task in dropped:
            task._move(TaskState.CANCELLED)

    def release_hold(self) -> None:
        """Let the job end when its loops have exited."""
        self._open -= self._kept
        self._kept = 0
        if self._ending.cause is None or self._job._block_scope is None:
            self.release_block()  # after a finish it goes on by itself; after a failure it will not be entered
        self.close_if_empty()

    def release_block(self) -> None:
        """Let go what `hold_for_block` held."""
        self._open -= self._held
        self._held = 0
        self.close_if_empty()

    def expire(self) -> None:
        """End the budget of the stop: the parent's is over."""
        self.stop.halt()
        self.finalizers.expire()
        if self.stop.children is not None:
            self.stop.children.expire()

    def close_if_empty(self) -> None:
        """Go on to the finalizers where no loop is left."""
        if self._open == 0 and not self.stop.winding_up:
            self.stop.wind_up()
            if self._idle is not None:
                self._idle.close()
            shutdown = Shutdown(self._job, self.stop, self.finalizers)
            self._context.copy().run(shutdown.begin, self._nursery)  # not in that of the task that ended last

    async def _wait_for_turn(self, task: Task, baton: Park) -> None:
        try:
            await baton.wait(self._deaf)
        except BaseException as exc:
            await self._explain(task, None, exc)
            await baton.wait(always)

    def _deaf(self) -> bool:
        """Whether a cancellation would tell nothing new."""
        return self.stop.halted or self.stop.sealed


def _expects_cancelled(task: Task, phase: Phase | None) -> bool:
    """Whether a Cancelled tells nothing new: the task's loop was cut alone, or it failed and only waits for its turn."""
    return task._cut_alone or task._struck or (phase is None and task.error is not None)


def _in_group(task: Task) -> bool:
    return task.policy is StopPolicy.STOP_GROUP and task._run is not None
