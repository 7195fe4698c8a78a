"""What a queue hands out and tells: messages, their history, dead letters, statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, final

if TYPE_CHECKING:
    from ._source import Source

T = TypeVar("T")


@final
class Delivery(NamedTuple):
    """How one delivery of a message ended; a message carries those before the present one.

    Attributes:
        delivery: its number, 1 for the first.
        at: when it ended, in the same time as `Message.enqueued_at`.
        error: the error as text; None where there was none.
        code: the verdict's code of the job, say; None where there is none.
    """

    delivery: int
    at: float
    error: str | None
    code: str | None


@final
@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """One delivery of a message: it is ours until it is settled, or its lease is over and another has taken it.

    Attributes:
        id: as `put` gave it, the same at every delivery.
        payload: what was put.
        delivery: 1 for the first delivery, 2 for the second …
        enqueued_at: when it was put: Unix seconds of Redis, or trio's time of a `MemoryQueue`.
        history: how the deliveries before this one ended, the oldest first.
        source: where it came from.
        receipt: the source's own mark of this delivery.
    """

    id: str
    payload: T
    delivery: int
    enqueued_at: float
    history: tuple[Delivery, ...] = field(repr=False)
    source: Source[T] = field(repr=False, compare=False)
    receipt: Any = field(default=None, repr=False)


@final
@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up. It stays until it is requeued or purged.

    Attributes:
        id: as `put` gave it.
        payload: as it was stored.
        deliveries: how many there were.
        error: the last error, as text; None where there was none.
        code: the code that came with it, or None.
        history: how each delivery ended, the oldest first.
        enqueued_at: when it was put.
        died_at: when it was given up.
    """

    id: str
    payload: bytes
    deliveries: int
    error: str | None
    code: str | None
    history: tuple[Delivery, ...]
    enqueued_at: float
    died_at: float


@final
@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """How many messages a queue holds, each in one of four states.

    Attributes:
        depth: ready, and not taken yet: what an autoscaler goes by.
        pending: taken by a consumer, and not settled yet.
        delayed: to be ready later.
        dead: given up.
        oldest: seconds since the oldest of the ready ones was put; None where none is ready.
    """

    depth: int
    pending: int
    delayed: int
    dead: int
    oldest: float | None
