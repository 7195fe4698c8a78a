"""What becomes of a message when its job has ended. Decisions only; the consumer carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias, final

from .._core.job import Job
from .._core.retry import Backoff
from .._core.words.groups import holds_for
from .._core.words.records import CauseKind
from .._core.words.states import JobState
from ._errors import Discard, Reject
from ._message import Message


@final
@dataclass(frozen=True, slots=True)
class Ack:
    """It is done; or, with an error, it is to be left undone."""

    discarded: BaseException | None = None


@final
@dataclass(frozen=True, slots=True)
class Release:
    """It is to be delivered again."""

    after: float = 0
    error: BaseException | None = None
    code: str | None = None
    count: bool = True


@final
@dataclass(frozen=True, slots=True)
class Bury:
    """It is to go to the dead letters."""

    error: BaseException | None
    code: str | None


Settlement: TypeAlias = Ack | Release | Bury

UNCOUNTED: Final = Release(count=False)
"""A stop has come between: nothing is wrong with the message."""


@final
@dataclass(frozen=True, slots=True)
class Rules:
    """What an attempt that failed leads to."""

    max_deliveries: int
    retry: Backoff

    def after_error(self, message: Message[Any], error: BaseException | None, code: str | None) -> Settlement:
        """Decide on a delivery that has failed."""
        if error is not None and holds_for(Discard, error):
            return Ack(error)
        if message.delivery >= self.max_deliveries or (error is not None and holds_for(Reject, error)):
            return Bury(error, code)
        return Release(self.retry.after(message.delivery), error, code)

    def after_job(self, message: Message[Any], job: Job[Any], *, stopping: bool) -> Settlement:
        """Decide on a delivery whose job has ended; `stopping`: the consumer's own job is asked to stop."""
        verdict = job.verdict
        assert verdict is not None
        cause = verdict.cause
        if verdict.state is JobState.DONE and (job.completed or (_ended_by_itself(job) and not stopping)):
            return Ack()
        if cause.kind is CauseKind.PARENT or (verdict.state is JobState.DONE and stopping):
            return UNCOUNTED
        return self.after_error(message, cause.error, verdict.code)


def _ended_by_itself(job: Job[Any]) -> bool:
    """Return True if only its own tasks asked a DONE job to finish."""
    verdict = job.verdict
    assert verdict is not None
    return not job.stopping or (verdict.cause.kind is CauseKind.FINISHED and verdict.cause.task is not None)
