"""Errors between a job and its queue, and the two exceptions with which a job gives up its message."""

from __future__ import annotations

from typing import final

from .._core.words.exceptions import JobError


@final
class UnavailableError(JobError, ConnectionError):
    """The broker is out of reach. Try again later; a message that was being `put` may or may not be stored."""


@final
class MessageLostError(JobError):
    """The lease of a message expired, and another consumer has taken it over: its job here is cancelled.

    This happens if the process was stopped, or a step blocked trio's loop, for longer than the lease. Give the source a longer
    `lease`, or move the work to a thread.
    """


@final
class Discard(JobError):  # noqa: N818 - an order, and no fault
    """Raise this in a job, or in `build_job`, to acknowledge the message without doing it, as it is no longer wanted."""


@final
class Reject(JobError):  # noqa: N818 - an order, and no fault
    """Raise this in a job, or in `build_job`, to move the message to the dead letters at once, as no retry can help."""
