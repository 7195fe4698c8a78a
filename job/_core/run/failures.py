"""Record task failures: classify the exception, attribute it, apply the stop policy.

Recorded in the trio task where it arises, before anything is cancelled (G5). Where a Cancelled came from is never told by its
type: the job looks at its own scope, then outside of it; if neither is cancelled, a scope of the task has died.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, final

import trio

from ..report import report_failure
from ..task import BETWEEN, DONE, Task
from ..trio.calls import without_cancelled
from ..words.exceptions import JobCancelledError, UnexpectedStopError
from ..words.records import Cause, CauseKind, TaskError
from ..words.states import STRICT, TASK_FINISHED, Phase, StopPolicy, TaskState
from .progress import CANCELLED
from .stop import Stop
from .stop_record import StopRecord, idle_error, is_fatal, kind_of

if TYPE_CHECKING:
    from ..job import Job


@final
class Failures:
    """Records how the tasks of one job end before their time."""

    __slots__ = ("_job", "_stop", "_stop_record")

    def __init__(self, job: Job[Any], record: StopRecord, stop: Stop) -> None:
        self._job = job
        self._stop_record = record
        self._stop = stop

    def ended_by(self, task: Task, phase: Phase | None, exc: BaseException) -> None:
        """Record what ended a task; no phase: it ended the engine's own wait."""
        self.classify(task, phase, exc)
        if not task.ended:
            task._move(TaskState.CANCELLED if task._failure is None else TaskState.FAILED)

    def classify(self, task: Task, phase: Phase | None, exc: BaseException) -> None:
        """Record what interrupted a task, in whatever state it is."""
        error = without_cancelled(exc)
        self._stop.check_outer_cancel()
        if error is not None:
            self.fail(task, phase or Phase.RUN, error, kind_of(task, error))
        elif (
            self._stop_record.cause is None and self._stop.mode is not CANCELLED and not _expects_cancelled(task, phase)
        ):
            self._scope_died(task, phase or Phase.RUN)
        elif self._stop_record.cause is None and task._failure is None and phase is not None:
            self._cut(task, phase)
        elif (
            self._stop_record.outside
            and task._trio_task is self._stop.nursery.parent_task
            and isinstance(exc, trio.Cancelled)
        ):
            self._stop_record.cancelled = exc

    def _cut(self, task: Task, phase: Phase) -> None:
        if task._step == BETWEEN:
            task._move(TASK_FINISHED)
        elif not task._cut_alone:
            self._stop_record.cut.append((task, phase))

    def fail(
        self, task: Task, phase: Phase, error: BaseException, kind: CauseKind, *, mapped: bool = True
    ) -> TaskError:
        """Record an error of a task, and let its policy decide."""
        contained = task.policy is StopPolicy.CONTAIN and not is_fatal(error)
        record = self._contain if contained else partial(self._stop.interrupt, kind, mapped=mapped)
        failure = record(task, phase, error)
        if task._failure is None:
            task._failed_with(failure)
        report_failure(self._job, task, failure, survived=contained)
        return failure

    def _contain(self, task: Task, phase: Phase, error: BaseException) -> TaskError:
        # A transient task leaves the job, and its error with it: observers and the log have heard of it.
        return TaskError(task, phase, error) if task.transient else self._stop_record.add(task, phase, error)

    def note(self, task: Task, phase: Phase, error: Exception) -> None:
        """Record an error of a task that does not change the job's end."""
        failure = self._contain(task, phase, error)
        report_failure(self._job, task, failure, survived=task.policy is StopPolicy.CONTAIN)

    def loop_returned(self, task: Task) -> None:
        """Record that a task's run loop has come to its end by itself, or was stopped at a step."""
        if task.policy is STRICT and task._step == DONE and not self._stop_record.stopping:
            error = UnexpectedStopError(
                f"task {task.name!r} with StopPolicy.STRICT was done before the job was stopping"
            )
            self.fail(task, Phase.RUN, error, CauseKind.UNEXPECTED_STOP)
        if task._failure is not None:
            task._move(TaskState.FAILED)
        else:
            # Not every loop suspends after the job was cancelled: one may find that out between two steps.
            cut = self._stop_record.cause is not None and task._step != DONE
            task._move(TaskState.CANCELLED if cut else TASK_FINISHED)

    def idle_expired(self, task: Task) -> None:
        """Record that a task's idle clock ran out; where it is contained, cancel its loop alone."""
        if (
            self._stop.mode is CANCELLED
        ):  # by another holder of the same clock: this one is cancelled like all the others
            return
        assert task._idle is not None
        self.fail(task, Phase.RUN, idle_error(task, task._idle.seconds), CauseKind.IDLE)
        if task._loop_scope is not None:
            task._loop_scope.cancel()

    def finalizer_failed(self, task: Task, error: BaseException) -> None:
        """Record an error of a finalizer or an exit; alone it makes the job CANCELLED."""
        contained = task.policy is StopPolicy.CONTAIN and not is_fatal(error)
        placeholder, task._placeholder_error = task._placeholder_error, None
        if placeholder is not None and (contained or self._stop_record.caused_by(placeholder)):
            failure = self._stop_record.replace(placeholder, Phase.FINALIZE, error)
            task._failed_with(failure)
        elif contained:
            failure = self._contain(task, Phase.FINALIZE, error)
        elif self._stop_record.cause is None and self._stop.is_finalizing():
            at = trio.current_time()
            failure = self._stop_record.interrupt(Cause(CauseKind.FINALIZE, task, Phase.FINALIZE, error, at))
        else:  # before the finalizers of the job it is a transient task's, and the others are to hear of it
            failure = self._stop.interrupt(CauseKind.FINALIZE, task, Phase.FINALIZE, error)
        if task._failure is None:
            task._failed_with(failure)
        report_failure(self._job, task, failure, survived=contained)

    def came_last(self, error: BaseException) -> None:
        """Record what came when all was over; alone it makes the job CANCELLED."""
        if self._stop_record.cause is None:
            self._stop_record.interrupt(Cause(CauseKind.ERROR, error=error, at=trio.current_time()), mapped=False)
        else:
            self._stop_record.add(None, None, error)

    def _scope_died(self, task: Task, phase: Phase) -> None:
        error = JobCancelledError("a scope of the task was cancelled")
        # Later, by what the finalizer and the exits raise
        may_be_replaced = task._turn is not None and not task.transient
        failure = self.fail(task, phase, error, CauseKind.ERROR, mapped=not may_be_replaced)
        if may_be_replaced:
            task._placeholder_error = failure

    def confirm_placeholder(self, task: Task, dead: TaskError) -> None:
        """Let the error that stood for a dead scope be the real one: the finalizer and the exits had nothing to tell."""
        if self._stop_record.caused_by(dead):
            failure = self._stop_record.replace(dead, dead.phase, dead.error)
            task._failed_with(failure)


def _expects_cancelled(task: Task, phase: Phase | None) -> bool:
    """Return True if a Cancelled tells nothing new: the task was cut alone, or has failed and waits for its turn."""
    return task._cut_alone or task._cancel_expected or (phase is None and task._failure is not None)
