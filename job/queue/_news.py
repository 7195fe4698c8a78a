"""Log records about messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._core.context import current_job, current_task
from ._figures import figures_of

if TYPE_CHECKING:
    from ..log import JobLog
    from ._message import Delivery


def tell_dead(
    log: JobLog, queue: str, id: str, *, error: str | None, code: str | None, history: Sequence[dict[str, Any]]
) -> None:
    """Write that a message was given up, and count it."""
    figures_of(queue).dead += 1
    log.warning("message.dead", queue=queue, message=id, error=error, code=code, history=history)


def tell_dead_unrun(queue: str, id: str, error: str | None, code: str | None, history: Sequence[Delivery]) -> None:
    """Write to the log of the receiving task that a source has given up a message by itself."""
    told = [each._asdict() for each in history]
    receiver = current_task() or current_job()
    if receiver is not None:
        tell_dead(receiver.log, queue, id, error=error, code=code, history=told)
