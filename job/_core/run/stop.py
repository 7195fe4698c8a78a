"""Decide whether and how a running job stops: errors, timeouts, a finish, a parent, an outer cancel scope.

Theory. The first cause wins (G5), so each of these is recorded before anything is cancelled. Trio does not say where a
Cancelled comes from, and the type of an exception never tells; so the job looks instead: first at its own scope (was
the timeout or the grace over?), then at what lies around it, the outermost job first. It looks before it records any
other cause, and again when the last loop has exited, because a loop that was shielded or never suspended could not have
heard of the cancellation.

A stop goes down the tree of jobs from one place, level by level (see `family`): a call from each job to the next would
end with Python's stack. It never goes up.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, final

import trio
from trio.lowlevel import enable_ki_protection

from ..family import Children, is_closed_by_task
from ..task import Task
from ..trio.scopes import is_cancelled_around
from ..words.blocks import contextmanager
from ..words.exceptions import JobCancelledError
from ..words.records import Cause, CauseKind, TaskError
from ..words.states import JobState, Phase
from .progress import CANCELLED, FINALIZING, FINISHING, NO_STOP, OVER, RUNNING, STARTING, Progress
from .stop_record import StopRecord, is_fatal, timeout_error

if TYPE_CHECKING:
    from ..job import Job


class Stoppable(Protocol):
    """What a stop ends at once: a scope, or what else is to hear of it."""

    def cancel(self) -> None:
        """End it; a plain call, which raises nothing."""
        ...


class Loops(Protocol):
    """What a stop needs of the run."""

    progress: Progress

    def drop_queue(self) -> None:
        """Give up the tasks that were never started."""
        ...

    def wake_shielded(self) -> None:
        """Wake the tasks that wait for the inits and that the cancellation has not reached."""
        ...

    def drop_keep_open(self) -> None:
        """Let the job end when its loops have exited."""
        ...

    def close_if_empty(self) -> None:
        """Go on to the finalizers where no loop is left."""
        ...


@final
class Stop:
    """Decides whether and how a running job stops."""

    __slots__ = (
        "_helpers",
        "_job",
        "_loops",
        "children",
        "mode",
        "nursery",
        "record",
        "scope",
        "scopes",
        "timeout_at",
        "waits",
    )

    nursery: trio.Nursery
    scope: trio.CancelScope

    def __init__(self, job: Job[Any], record: StopRecord, loops: Loops) -> None:
        self._job = job
        self._loops = loops
        self._helpers: list[trio.CancelScope] = []
        self.record = record
        self.children: Children | None = job._children
        self.scopes: dict[Stoppable, None] = {}  # of waits that a stop ends at once
        self.waits: dict[trio.CancelScope, None] | None = None  # for peers, which only a cancellation ends
        self.timeout_at = inf
        self.mode = NO_STOP

    def _loops_have_exited(self) -> bool:
        progress = self._loops.progress
        return progress is not STARTING and progress is not RUNNING

    def is_finalizing(self) -> bool:
        """Return True once the finalizers have begun: the cause of the end stands."""
        progress = self._loops.progress
        return progress is FINALIZING or progress is OVER

    def arm(self, nursery: trio.Nursery) -> None:
        """Take the nursery whose scope bounds all run loops, and start the job's timeout."""
        self.nursery = nursery
        self.scope = nursery.cancel_scope
        timeout = self._job._limits.timeout
        if timeout != inf:
            self.timeout_at = trio.current_time() + timeout
            self.scope.deadline = self.timeout_at

    def interrupt(
        self,
        kind: CauseKind,
        task: Task | None,
        phase: Phase | None,
        error: BaseException,
        *,
        parent: Cause | None = None,
        mapped: bool = True,
        outside: bool = False,
    ) -> TaskError:
        """Record an error; where it is the first, cancel the job."""
        if kind is not CauseKind.TIMEOUT and not outside:
            self.check_outer_cancel()
        if self.record.interrupted or (self.is_finalizing() and not is_fatal(error)):
            return self.record.add(task, phase, error)
        cause = Cause(kind, task, phase, error, min(self.timeout_at, trio.current_time()), parent)
        failure = self.record.interrupt(cause, mapped=mapped)
        self.record.outside = outside
        if not self.is_finalizing():
            self._announce()
            if kind is not CauseKind.PARENT:  # else it is told below this job by the one that tells this one
                self._cancel_children()
            self.halt()
            self._loops.drop_keep_open()
        return failure

    def obey(self, order: BaseException) -> None:
        """Take an order (SystemExit, say) that came out of code of the user's which the engine had called on its way."""
        self.interrupt(CauseKind.ERROR, None, None, order)

    def engine_failed(self, fault: BaseException) -> None:
        """Record a fault of the engine itself, and end the job with it: whatever else has happened, none shall wait."""
        if self.record.interrupted or self.is_finalizing():
            self.record.add(None, None, fault)
        else:
            cause = Cause(CauseKind.ERROR, None, None, fault, trio.current_time())
            self.record.interrupt(cause, mapped=False)
        if not self.is_finalizing():
            self.halt()
            self._loops.drop_keep_open()
            self._cancel_children()

    def _cancel_children(self) -> None:
        if self.children is not None and self.record.cause is not None:
            self.children.cancel(self.record.cause)

    def finish(self, cause: Cause, grace: float, *, no_inits: bool) -> bool:
        """End the job well, within `grace` seconds; its children are for the caller to finish, where this returns True.

        (A call from job to job would end with Python's stack.)
        """
        self.note_timeout()
        first = not self.record.stopping
        self.record.no_inits = self.record.no_inits or no_inits
        if self.is_finalizing() or not self.record.ask(cause, trio.current_time() + grace):
            return False
        if first:
            self.mode = self.mode.moves[FINISHING]
            self._announce()
        if self.children is not None and self.children.that_finish():
            self.start_helper(self._cut_after_children)
        elif grace <= 0:
            self.halt()
        else:
            self._arm_cut()
        if first:
            self._loops.drop_keep_open()
        return True

    def child_started(self, child: Job[Any]) -> None:
        """Tell a child that starts while this job stops."""
        record, children = self.record, self.children
        assert children is not None
        if record.cause is not None:
            children.cancel_one(child, record.cause)
        elif is_closed_by_task(child):
            return
        elif record.asked is not None:
            children.finish_one(child, record.asked, max(0.0, record.cut_at - trio.current_time()))
            self.scope.deadline = self.timeout_at
            self.start_helper(self._cut_after_children)
        elif self._loops_have_exited():
            natural_end = Cause(CauseKind.FINISHED, at=trio.current_time())
            children.finish_one(child, natural_end, self._job._limits.grace)

    def halt(self) -> None:
        """Cancel all run loops."""
        if self.mode is not CANCELLED:
            self.mode = self.mode.moves[CANCELLED]
        self._loops.drop_queue()
        self.scope.cancel()
        self._loops.wake_shielded()
        self._loops.close_if_empty()

    def hurry(self) -> None:
        """Wait for no peer any longer: the job was cancelled, be it in its finalizers, where that changes nothing else."""
        self.record.hurried = True
        for scope in tuple(self.waits or ()):
            scope.cancel()

    @contextmanager
    def hurrying(self, scope: trio.CancelScope) -> Iterator[None]:
        """Cancel `scope` when the job is cancelled while the block runs, be it in its finalizers; at once, if it has been."""
        if self.record.hurried:
            scope.cancel()
        if self.waits is None:
            self.waits = {}
        self.waits[scope] = None
        try:
            yield
        finally:
            del self.waits[scope]

    def wind_up(self) -> None:
        """The last run loop has exited: nothing is left that could be cut."""
        self.recheck()
        if self.record.asked is not None:
            # The grace may have ended unnoticed: with another deadline that would look like a timeout
            self.note_timeout()
            self.scope.deadline = self.timeout_at
        for helper in self._helpers:
            helper.cancel()

    def seal(self) -> None:
        """The finalizers begin: nothing can interrupt the job any more."""
        if self.timeout_at != inf:
            self.scope.deadline = inf

    def _announce(self) -> None:
        if self._job.state is not JobState.STOPPING:
            self._job._move(JobState.STOPPING)
        self._job._tell_stopping()
        for scope in tuple(self.scopes):
            scope.cancel()

    def _arm_cut(self) -> None:
        self.scope.deadline = min(self.timeout_at, self.record.cut_at)

    async def _cut_after_children(self) -> None:
        """Cut this job's own tasks when its grace is over, but not before its children have ended (G10)."""
        await trio.sleep_until(self.record.cut_at)
        assert self.children is not None
        await self.children.ended(Children.that_finish)
        self.halt()

    def start_helper(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a part of the engine beside the tasks, until all run loops have exited."""
        if not self._loops_have_exited():
            self.nursery.start_soon(self._run_helper, work)

    @enable_ki_protection
    async def _run_helper(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # Not only its own scope may be cancelled: the host sees to that, and the nursery need not hear of it again.
        with trio.CancelScope() as scope:
            self._helpers.append(scope)
            try:
                if not self._loops_have_exited():
                    await work()
            except trio.Cancelled:
                pass
            except BaseException as fault:
                self.engine_failed(fault)

    def note_timeout(self) -> bool:
        """Record the timeout, or the end of the grace, if that is over; return True if the job's own scope is cancelled."""
        if not self.scope.cancel_called:
            return False
        if self.record.cause is None and self.mode is not CANCELLED:
            if self.scope.deadline == self.record.cut_at:
                self.halt()
            else:
                job = self._job
                error = timeout_error(job.name, job._limits.timeout)
                self.interrupt(CauseKind.TIMEOUT, None, None, error)
        return True

    def check_outer_cancel(self) -> None:
        """Record a cancellation from outside, if there is one: all that comes now is later than that."""
        self.note_timeout()
        if self.record.cause is None and not self.is_finalizing() and is_cancelled_around(self.scope):
            self.note_outer_cancel()

    def block_cancelled(self) -> None:
        """Record that the job's block was cancelled; from outside as a rule, but any Cancelled may come out of a block."""
        self.check_outer_cancel()
        if not self.record.stopping:
            self._record_outer_cancel()

    def recheck(self) -> None:
        """Check for a timeout or outer cancel that shielded or never-suspending loops could not see."""
        if self.timeout_at != inf or is_cancelled_around(self.scope):
            self.check_outer_cancel()

    def note_outer_cancel(self) -> None:
        """Record a cancellation by an outer scope, or by a job above whose time was up."""
        if not self._struck_above() and self.record.cause is None:
            self._record_outer_cancel()

    def _struck_above(self) -> bool:
        """Let the jobs above, the outermost first, record what struck them; return whether the nearest is interrupted.

        One that is interrupted tells those below it by itself.
        """
        struck = False
        for above in reversed(self._line_above()):
            if not struck:
                above.note_timeout()
                if above.record.cause is None and is_cancelled_around(above.scope):
                    above._record_outer_cancel()
            struck = above.record.cause is not None
        return struck

    def _line_above(self) -> list[Stop]:
        """Return the stops of the running jobs above, the nearest first, up to one that is interrupted.

        One that cleans up is none of them: what it was interrupted by is over, and its shield is between.
        """
        line: list[Stop] = []
        parent = self._job._running_parent()
        while parent is not None and not parent.is_finalizing():
            line.append(parent.stop)
            parent = None if parent.stop.record.interrupted else parent.stop._job._running_parent()
        return line

    def _record_outer_cancel(self) -> None:
        error = JobCancelledError("an outer cancel scope was cancelled")
        self.hurry()
        self.interrupt(CauseKind.CANCEL, None, None, error, mapped=False, outside=True)
