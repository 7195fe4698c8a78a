"""One message that a consumer holds, from its receipt until it is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import trio

from ._errors import MessageLostError

if TYPE_CHECKING:
    from .._core.job import Job
    from ._message import Message


@final
class Held:
    """A delivery that is ours, as far as we know, until `lease_ends`."""

    __slots__ = ("job", "lease_ends", "lost", "message", "scope", "settling")

    def __init__(self, message: Message[Any]) -> None:
        self.message = message
        self.lease_ends = trio.current_time() + message.source.lease
        self.job: Job[Any] | None = None
        self.settling = False
        self.lost = False  # Another consumer has it.
        self.scope = trio.CancelScope(shield=True)  # The scope of its settling.

    @property
    def fields(self) -> dict[str, Any]:
        """The log fields of the message."""
        message = self.message
        return {"queue": message.source.name, "message": message.id, "delivery": message.delivery}

    def renewed(self, at: float) -> None:
        """Note that the lease was renewed, at `at` or later."""
        self.lease_ends = at + self.message.source.lease

    def cancel(self) -> None:
        """Cancel its job, because another consumer does the same work."""
        self.lost = True
        if self.job is not None:
            seconds = self.message.source.lease
            error = f"message.lost: the lease of {seconds:g} s was over, and another consumer has message {self.message.id!r}"
            self.job.cancel(MessageLostError(error))
