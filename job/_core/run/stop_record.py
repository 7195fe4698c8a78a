"""What has come to a job's end so far: the first cause, the finish that was asked for, and all that went wrong.

Data and decisions only; the life cycle acts on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import final

import trio

from ..task import Task
from ..words.exceptions import IdleTimeoutError, JobCancelledError, JobTimeoutError
from ..words.records import Cause, CauseKind, TaskError, Verdict, verdict_code
from ..words.states import JobState, Phase
from ..words.user_code import as_text, set_cause, shown

ErrorWrapper = Callable[[BaseException], BaseException]


@final
class StopRecord:
    """The record of a job's end while it is being written. The first cause stands; later errors are added, none is lost."""

    __slots__ = (
        "_wrapper",
        "asked",
        "cancelled",
        "cause",
        "cut",
        "cut_at",
        "errors",
        "fatal",
        "hurried",
        "no_inits",
        "outside",
        "stopping",
    )

    def __init__(self, wrapper: ErrorWrapper | None) -> None:
        self._wrapper = wrapper
        self.cause: Cause | None = None  # what interrupted the job
        self.stopping = False  # the job has been asked to stop, well or ill; read at each step of each loop
        self.asked: Cause | None = None  # what asked for a finish; `cause` takes its place
        self.cut_at = math.inf  # when that finish cancels what has not stepped
        self.hurried = False  # it was cancelled: what waits for a peer is to wait no longer, in the finalizers too
        self.no_inits = False  # that finish lets no further init be entered
        self.errors: list[TaskError] = []
        self.cut: list[tuple[Task, Phase]] = []
        self.outside = False  # the cause is an outer cancel scope
        self.cancelled: trio.Cancelled | None = None  # that of the outer scope, as it reached the host
        self.fatal: BaseException | None = None  # KeyboardInterrupt and the like: goes on unchanged, whatever the cause

    @property
    def interrupted(self) -> bool:
        """True once the first cause is known."""
        return self.cause is not None

    def interrupt(self, cause: Cause, *, mapped: bool = True) -> TaskError:
        """Record what interrupted the job, the first such thing.

        mapped: the user's error_wrapper may replace the error.
        """
        self.stopping = True
        self.cut.clear()
        return self._set_cause(cause, len(self.errors), mapped=mapped)

    def _set_cause(self, cause: Cause, position: int, *, mapped: bool) -> TaskError:
        error, fault = cause.error, None
        assert error is not None
        self.cause = cause  # first of all: the wrapper itself may try to stop the job
        if mapped and self._wrapper is not None and not is_fatal(error):
            error, fault = map_error(self._wrapper, error)
        self.cause = replace(cause, error=error) if error is not cause.error else cause
        failure = TaskError(cause.task, cause.phase, error)
        self.errors.insert(position, failure)
        self._note_fatal(error)
        if fault is not None:
            self.add(cause.task, cause.phase, fault)
        return failure

    def ask(self, cause: Cause, cut_at: float) -> bool:
        """Record a finish; return whether it changes anything. A later one can only shorten the grace."""
        if self.cause is not None or (self.asked is not None and cut_at >= self.cut_at):
            return False
        self.asked = self.asked or cause
        self.stopping = True
        self.cut_at = cut_at
        return True

    def add(self, task: Task | None, phase: Phase | None, error: BaseException) -> TaskError:
        """Record that something went wrong."""
        failure = TaskError(task, phase, error)
        self.errors.append(failure)
        self._note_fatal(error)
        return failure

    def _note_fatal(self, error: BaseException) -> None:
        if self.fatal is None and is_fatal(error):
            self.fatal = error

    def caused_by(self, failure: TaskError) -> bool:
        """Return True if this failure is what interrupted the job."""
        return self.cause is not None and self.cause.error is failure.error

    def replace(self, failure: TaskError, phase: Phase | None, error: BaseException) -> TaskError:
        """Put the real error in the place of the one that stood for it."""
        position = next(at for at, listed in enumerate(self.errors) if listed is failure)
        if self.cause is not None and self.caused_by(failure):
            del self.errors[position]
            return self._set_cause(replace(self.cause, phase=phase, error=error), position, mapped=True)
        self.errors[position] = TaskError(failure.task, phase, error)
        return self.errors[position]

    def code(self) -> str | None:
        """Return what the verdict would say if the job ended now; None where nothing has asked it to end."""
        cause = self.cause or self.asked
        return None if cause is None else verdict_code(cause, self._places_cut())

    def _places_cut(self) -> list[tuple[Task, Phase]]:
        return [] if self.cause is not None else sorted(self.cut, key=lambda place: place[0].index)

    def verdict(self, started_at: float | None, ended_at: float | None) -> Verdict:
        """Sum up."""
        cause = self.cause or self.asked or Cause(CauseKind.FINISHED, at=ended_at)
        done = self.cause is None
        cut = self._places_cut()
        return Verdict(
            state=JobState.DONE if done else JobState.CANCELLED,
            cause=cause,
            errors=tuple(self.errors),
            cut=tuple(task for task, _ in cut),
            started_at=started_at,
            ended_at=ended_at,
            code=verdict_code(cause, cut),
        )


def kind_of(task: Task, error: BaseException) -> CauseKind:
    """Return what kind of cause an error that came out of a routine is."""
    asserted = error is task._asserted or isinstance(error, AssertionError)
    return CauseKind.ASSERT if asserted else CauseKind.ERROR


def is_fatal(error: BaseException) -> bool:
    """Return True if an error must not be contained or mapped: KeyboardInterrupt, SystemExit and their kind."""
    return not isinstance(error, Exception)


def map_error(wrapper: ErrorWrapper, error: BaseException) -> tuple[BaseException, BaseException | None]:
    """Return what the wrapper makes of an error, and the wrapper's own error if it fails: then the original stands."""
    try:
        wrapped: object = wrapper(error)
    except BaseException as fault:
        return error, fault
    if not isinstance(wrapped, BaseException):
        return error, TypeError(f"error_wrapper must return an exception, got {shown(wrapped)}")
    if wrapped is not error:
        set_cause(wrapped, error)
    return wrapped, None


def as_error(error: object) -> BaseException:
    """Return what `Job.cancel` was given as an exception."""
    if isinstance(error, BaseException):
        return error
    if error is None:
        return JobCancelledError("the job was cancelled")
    return JobCancelledError(as_text(error))


def timeout_error(name: str, seconds: float) -> JobTimeoutError:
    """Return the error of a job that ran too long."""
    return JobTimeoutError(f"job {name!r} was still running after its timeout of {seconds:g} s")


def idle_error(task: Task, seconds: float) -> IdleTimeoutError:
    """Return the error of a task that fell silent."""
    return IdleTimeoutError(f"task {task.name!r} did not tick within its idle timeout of {seconds:g} s")
