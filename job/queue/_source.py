"""What a queue has to be able to do: the border between `consume` and a broker."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, TypeVar, runtime_checkable

from ._message import DeadLetter, Message, QueueStatistics

T = TypeVar("T")


@runtime_checkable
class Source(Protocol[T]):
    """A durable queue that hands each message to one consumer at a time, at least once.

    A delivery is a lease: for `lease` seconds, from when it was received or last extended, no other consumer is given the
    message. Then any may take it over, which is another delivery; until one does, the delivery is still ours.

    It is an async context manager, opened by each of its users: several at once, from any trio task, and again.

    Raises, in each of its calls:
        UnavailableError: the broker is out of reach.
        JobStateError: the source is not open.
    """

    @property
    def name(self) -> str:
        """The name of the queue, for logs and metrics."""
        ...

    @property
    def lease(self) -> float:
        """Seconds for which a delivery is surely ours."""
        ...

    @property
    def max_deliveries(self) -> int:
        """Deliveries after which a message is given up."""
        ...

    async def __aenter__(self) -> Self:
        """Open it. That the broker is out of reach does not matter yet."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it for this user."""
        ...

    async def receive(self, n: int, /) -> list[Message[T]]:
        """Wait for messages, and take 1 to `n` of them, the oldest first. When cancelled it keeps none."""
        ...

    async def ack(self, message: Message[T], /) -> bool:
        """Settle a delivery: the message is done, and deleted. False, and nothing changes, where it is not ours any more."""
        ...

    async def extend(self, message: Message[T], /) -> bool:
        """Begin its lease anew. False where it is not ours any more."""
        ...

    async def release(
        self,
        message: Message[T],
        /,
        *,
        after: float = 0,
        error: BaseException | str | None = None,
        code: str | None = None,
        count: bool = True,
    ) -> bool:
        """Give it back, to be delivered again.

        Args:
            message: the delivery.
            after: seconds until it is ready again.
            error: why, for its history.
            code: the code of that, for its history.
            count: whether this was a delivery; if not, the next has the same number, and the history nothing of this one.

        Returns:
            False, and nothing changes, where it is not ours any more.
        """
        ...

    async def dead(self, message: Message[T], error: BaseException | str | None, /, *, code: str | None = None) -> bool:
        """Give it up: put it to the dead letters. False, and nothing changes, where it is not ours any more."""
        ...

    async def put(self, payload: T, /, *, delay: float = 0) -> str:
        """Add a message, ready after `delay` seconds, and return its id.

        Raises:
            TypeError: the payload is not of the type of the queue.
            ValueError: it is longer than the queue takes.
            UnavailableError: it may be stored or not.
        """
        ...

    async def statistics(self) -> QueueStatistics:
        """Return how many messages there are."""
        ...

    async def dead_letters(self, n: int = 100, /) -> list[DeadLetter]:
        """Return the first `n` dead letters, the oldest first."""
        ...

    async def requeue(self, *ids: str) -> int:
        """Make dead letters messages again, with delivery 1 to come: those with these ids, or all. Return how many."""
        ...

    async def purge(self) -> int:
        """Delete all dead letters. Return how many."""
        ...
