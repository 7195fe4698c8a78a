"""Every error that the framework itself raises, as one tree under `JobError`.

A user's own exceptions never change their type on the way through a job; what is here is raised by the framework
because of a limit that was set, a rule that was broken or a stop that was asked for.
"""

from __future__ import annotations

from typing import final

from .user_code import shown


class JobError(Exception):
    """The root of all errors of the framework: catch it to tell them from your own."""


@final
class JobStateError(JobError, RuntimeError):
    """A call came at a time when the job's state does not allow it.

    Raised by a second `run`, a second oneshot task, a task added to a job that is stopping, or `Task.enter` from another
    trio task. It points at a bug in the calling code: move the call, or make a new job (a job runs once).
    """


@final
class JobCancelledError(JobError):
    """A job or a task was cancelled: by `Job.cancel`, its parent, an outer cancel scope, or a scope of its own.

    Nothing to mend by itself; `Job.verdict` tells who asked.
    """


@final
class JobTimeoutError(JobError, TimeoutError):
    """The job was still running when its `timeout` had passed. Give it more time, or find out what it waited for."""


@final
class IdleTimeoutError(JobError, TimeoutError):
    """A task did not tick within its idle timeout.

    Expected where a peer falls silent. A `run` that works for long should call `Task.tick` as a heartbeat, or wrap the work
    in `Task.busy`.
    """


@final
class AssertFailedError(JobError, AssertionError):
    """An assertion of a task failed with something that is no exception; `value` is what it was given."""

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"assertion failed: {shown(self.value)}"


@final
class UnexpectedStopError(JobError):
    """A task with `StopPolicy.STRICT` was done before its job was asked to stop.

    Use another policy if the task may end by itself.
    """


@final
class MissingStepError(JobError):
    """A `run` routine returned without a step. End each call with `tick()`, `done()`, `idle()` or `finish_job()`."""


@final
class FinalizeTimeoutError(JobError, TimeoutError):
    """A finalizer, with the exits of its task, took longer than the job's `finalize_timeout` and was cut.

    Make the finalizer faster, or give the job a longer `finalize_timeout`.
    """


@final
class StopTimeoutError(JobError, TimeoutError):
    """Something did not end in the time that it had for stopping, and was cancelled.

    Raised for the job's `stop_timeout` (shutdown hook, children and finalizers together) and for tasks under
    `job.tasks.force_stop`; the message names what overran.
    """
