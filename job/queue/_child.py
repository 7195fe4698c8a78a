"""The job of one message: a contained child of the consumer's job."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .._core.border import mark_started
from .._core.job import Job
from .._core.words.user_code import shown
from ._errors import Discard, MessageLostError, Reject
from ._message import Message

if TYPE_CHECKING:
    from ._held import Held

BuildJob: TypeAlias = "Callable[[Message[Any]], Job[Any]]"

_QUIET: Final = (Discard, Reject, MessageLostError)  # each has a line of its own


def build_child(build_job: BuildJob, held: Held) -> Job[Any]:
    """Return the job of a message.

    Raises:
        TypeError: what `build_job` gave is none; a coroutine, the usual slip, is closed.
        JobStateError: it has been run.
        BaseException: what `build_job` raised.
    """
    job: object = build_job(held.message)
    if inspect.iscoroutine(job):
        job.close()
    if not isinstance(job, Job):
        raise TypeError(f"build_job must return a Job, got {shown(job)}")
    mark_started(job, quiet=_QUIET)
    for name, value in held.fields.items():
        job.fields.setdefault(name, value)
    return job
