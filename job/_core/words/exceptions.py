"""Every error that the framework itself raises, as one tree under `JobError`.

A user's own exceptions keep their type on their way through a job. The framework raises these because a limit was reached, a
rule was broken, or a stop was requested.
"""

from __future__ import annotations

from typing import final

from .user_code import shown


class JobError(Exception):
    """The root of the framework's errors: catch it to tell them from your own."""


@final
class JobStateError(JobError, RuntimeError):
    """The job's state does not allow this call.

    Raised by a second `run`, a second oneshot task, a task added to a job that is stopping, or `Task.enter` from another
    trio task. It is a bug in the calling code: move the call, or make a new job, because a job runs once.
    """


@final
class JobCancelledError(JobError):
    """A job or a task was cancelled: by `Job.cancel`, its parent, an outer cancel scope, or a scope of its own.

    It needs no fix by itself; `Job.verdict` says what requested it.
    """


@final
class JobTimeoutError(JobError, TimeoutError):
    """The job was still running after its `timeout`. Give it more time, or find out what it waited for."""


@final
class IdleTimeoutError(JobError, TimeoutError):
    """A task did not tick within its idle timeout.

    This is expected when a peer falls silent. A `run` that works for long should call `Task.tick` as a heartbeat, or wrap the
    work in `Task.busy`.
    """


@final
class AssertFailedError(JobError, AssertionError):
    """An assertion of a task failed with something other than an exception; `value` is that object."""

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
    """Something did not stop in time, and was cancelled.

    Raised for the job's `stop_timeout` (shutdown hook, children and finalizers together) and for tasks under
    `job.tasks.force_stop`; the message names what overran.
    """
