"""What goes wrong between a job and its queue, and the two ways in which a job gives its message up."""

from __future__ import annotations

from typing import final

from .._core.words.exceptions import JobError


@final
class UnavailableError(JobError, ConnectionError):
    """The broker is out of reach. Try again later; what was being `put` may be stored or not."""


@final
class MessageLostError(JobError):
    """The lease of a message was over, and another consumer has taken it: the job that works on it here is cancelled.

    Seen where the process was stopped, or a step blocked trio's loop, for longer than the lease. Give the source a longer
    `lease`, or move the work to a thread.
    """


@final
class Discard(JobError):  # noqa: N818 - an order, and no fault
    """Raise it in a job, or in `build_job`, to have the message acknowledged undone: what it asks for is no longer wanted."""


@final
class Reject(JobError):  # noqa: N818 - an order, and no fault
    """Raise it in a job, or in `build_job`, to have the message put to the dead letters at once: no retry can mend it."""
