"""A queue in memory: the `Source` protocol on trio's clock."""

from __future__ import annotations

import builtins
import heapq
import itertools
import math
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final, overload

import trio

from .._core import check
from .._core.words.exceptions import JobStateError
from ..queue._arguments import delay as checked_delay
from ..queue._arguments import error_text, whole
from ..queue._errors import UnavailableError
from ..queue._message import DeadLetter, Delivery, Message, QueueStatistics
from ..queue._news import tell_dead_unrun
from ..queue._payload import MAX_SIZE, Payloads

T = TypeVar("T")


@dataclass(slots=True)
class _Stored:
    """A message that is neither done nor dead."""

    id: str
    data: bytes
    enqueued_at: float
    deliveries: int = 0  # Deliveries that have ended and count.
    history: tuple[Delivery, ...] = ()
    receipt: int = 0  # The receipt of its pending delivery.
    lease_ends: float = math.inf


@final
class MemoryQueue(Generic[T]):
    """A queue in memory, for tests and for programs of one process: it lives as long as this object.

    It behaves as `job.queue.RedisStream` does, on trio's clock, so a backoff of hours takes no time under an autojump clock.
    Set `away` to True to simulate an outage: each call then raises `UnavailableError`, including calls that wait.

    Args:
        name: the name of the queue.
        lease: seconds for which a delivery is certain to be ours.
        max_deliveries: deliveries after which a message is given up.
        type: the type of the payloads: bytes, or a type that msgspec knows.
        max_size: the length of the longest payload, in encoded bytes.

    Raises:
        ImportError: the type is not bytes, and msgspec is not installed.
        TypeError, ValueError: an argument is not as described; the message names it.
    """

    __slots__ = (
        "_away",
        "_changed",
        "_dead",
        "_delayed",
        "_ids",
        "_payloads",
        "_pending",
        "_ready",
        "_receipts",
        "_users",
        "lease",
        "max_deliveries",
        "name",
    )

    @overload
    def __init__(
        self: MemoryQueue[bytes],
        name: str = ...,
        *,
        lease: float = ...,
        max_deliveries: int = ...,
        max_size: int = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str = ...,
        *,
        type: builtins.type[T],
        lease: float = ...,
        max_deliveries: int = ...,
        max_size: int = ...,
    ) -> None: ...
    @overload
    # For types that msgspec knows and a type checker does not: unions, Annotated, Literal …
    def __init__(
        self: MemoryQueue[Any],
        name: str = ...,
        *,
        type: Any,
        lease: float = ...,
        max_deliveries: int = ...,
        max_size: int = ...,
    ) -> None: ...
    def __init__(
        self,
        name: str = "memory",
        *,
        lease: float = 60,
        max_deliveries: int = 5,
        type: Any = bytes,
        max_size: int = MAX_SIZE,
    ) -> None:
        self.name = check.str_("name", name)
        self.lease = check.positive_seconds("lease", lease)
        self.max_deliveries = whole("max_deliveries", max_deliveries)
        self._payloads: Payloads[T] = Payloads(type, max_size)
        self._ready: deque[_Stored] = deque()
        self._pending: dict[int, _Stored] = {}  # By the receipts of their deliveries.
        self._delayed: list[tuple[float, int, _Stored]] = []  # A heap, ordered by the time when they are ready.
        self._dead: dict[str, DeadLetter] = {}
        self._ids = itertools.count(1)
        self._receipts = itertools.count(1)
        self._users = 0
        self._away = False
        self._changed: trio.Event | None = None  # Set to wake the waiters in `receive`.

    @property
    def away(self) -> bool:
        """True if the queue is out of reach."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = check.bool_("away", away)
        self._wake()

    async def __aenter__(self) -> Self:
        """Open it."""
        self._users += 1
        return self

    async def __aexit__(
        self, exc_type: builtins.type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it for this user."""
        self._users -= 1
        self._wake()

    async def receive(self, n: int, /) -> list[Message[T]]:
        """Wait for messages, and return 1 to `n` of them, oldest first. If cancelled, take none."""
        whole("n", n)
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            taken = [*self._take(n)]
            if taken:
                return taken
            await self._wait_for_change()

    def _take(self, n: int) -> list[Message[T]]:
        now = trio.current_time()
        self._make_ready(now)
        messages: list[Message[T]] = []
        while len(messages) < n and (stored := self._take_over(now) or self._next_ready()) is not None:
            message = self._deliver(stored, now)
            if message is not None:
                messages.append(message)
        return messages

    def _make_ready(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.append(heapq.heappop(self._delayed)[2])

    def _next_ready(self) -> _Stored | None:
        return self._ready.popleft() if self._ready else None

    def _take_over(self, now: float) -> _Stored | None:
        """Take over a message whose lease has expired, as another delivery."""
        for receipt, stored in self._pending.items():
            if stored.lease_ends <= now:
                del self._pending[receipt]
                ended = Delivery(stored.deliveries + 1, now, "the lease was over", "lease.over")
                self._count_delivery(stored, ended)
                return stored
        return None

    def _count_delivery(self, stored: _Stored, ended: Delivery) -> None:
        stored.deliveries += 1
        stored.history = (*stored.history, ended)

    def _deliver(self, stored: _Stored, now: float) -> Message[T] | None:
        """Deliver a message, or return None if it is given up instead."""
        if stored.deliveries >= self.max_deliveries:
            last = stored.history[-1]
            self._bury_unrun(stored, last.error, last.code)
            return None
        try:
            payload = self._payloads.decode(stored.data)
        except ValueError as error:
            self._count_delivery(stored, Delivery(stored.deliveries + 1, now, error_text(error), "payload"))
            self._bury_unrun(stored, error_text(error), "payload")
            return None
        stored.receipt = next(self._receipts)
        stored.lease_ends = now + self.lease
        self._pending[stored.receipt] = stored
        number = stored.deliveries + 1
        return Message(stored.id, payload, number, stored.enqueued_at, stored.history, self, stored.receipt)

    async def _wait_for_change(self) -> None:
        if self._changed is None:
            self._changed = trio.Event()
        ends = min((stored.lease_ends for stored in self._pending.values()), default=math.inf)
        ready = self._delayed[0][0] if self._delayed else math.inf
        with trio.move_on_at(min(ends, ready)):
            await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _check(self) -> None:
        if self._users == 0:
            raise JobStateError(f"queue {self.name!r} is not open: use it inside of `async with`")
        if self._away:
            raise UnavailableError(f"queue {self.name!r} is away")

    async def _settled(self, message: Message[T]) -> _Stored | None:
        """Remove and return a pending message, or return None if this delivery is no longer ours."""
        await trio.lowlevel.checkpoint()
        self._check()
        return self._pending.pop(message.receipt, None)

    async def ack(self, message: Message[T], /) -> bool:
        """Settle a delivery: the message is done. Return False, and change nothing, if the delivery is no longer ours."""
        return await self._settled(message) is not None

    async def extend(self, message: Message[T], /) -> bool:
        """Renew the lease of a delivery. Return False if it is no longer ours."""
        stored = await self._settled(message)
        if stored is None:
            return False
        stored.lease_ends = trio.current_time() + self.lease
        self._pending[message.receipt] = stored
        return True

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
        """Give a message back, to be delivered again after some seconds. Return False if the delivery is no longer ours."""
        checked_delay("after", after)
        stored = await self._settled(message)
        if stored is None:
            return False
        now = trio.current_time()
        if count:
            self._count_delivery(stored, Delivery(message.delivery, now, error_text(error), code))
        self._store(stored, after)
        return True

    async def dead(self, message: Message[T], error: BaseException | str | None, /, *, code: str | None = None) -> bool:
        """Move a message to the dead letters. Return False, and change nothing, if the delivery is no longer ours."""
        stored = await self._settled(message)
        if stored is None:
            return False
        self._count_delivery(stored, Delivery(message.delivery, trio.current_time(), error_text(error), code))
        self._bury(stored, error_text(error), code)
        return True

    def _bury_unrun(self, stored: _Stored, error: str | None, code: str | None) -> None:
        self._bury(stored, error, code)
        tell_dead_unrun(self.name, stored.id, error, code, stored.history)

    def _bury(self, stored: _Stored, error: str | None, code: str | None) -> None:
        self._dead[stored.id] = DeadLetter(
            stored.id,
            stored.data,
            stored.deliveries,
            error,
            code,
            stored.history,
            stored.enqueued_at,
            trio.current_time(),
        )

    async def put(self, payload: T, /, *, delay: float = 0) -> str:
        """Add a message, ready after `delay` seconds, and return its id."""
        data = self._payloads.encode(payload)
        checked_delay("delay", delay)
        await trio.lowlevel.checkpoint()
        self._check()
        stored = _Stored(str(next(self._ids)), data, trio.current_time())
        self._store(stored, delay)
        return stored.id

    def _store(self, stored: _Stored, delay: float) -> None:
        if delay > 0:
            ready_at = trio.current_time() + delay
            heapq.heappush(self._delayed, (ready_at, next(self._receipts), stored))
        else:
            self._ready.append(stored)
        self._wake()

    async def statistics(self) -> QueueStatistics:
        """Return how many messages there are."""
        await trio.lowlevel.checkpoint()
        self._check()
        now = trio.current_time()
        self._make_ready(now)
        oldest = min((stored.enqueued_at for stored in self._ready), default=now)
        return QueueStatistics(
            depth=len(self._ready),
            pending=len(self._pending),
            delayed=len(self._delayed),
            dead=len(self._dead),
            oldest=now - oldest if self._ready else None,
        )

    async def dead_letters(self, n: int = 100, /) -> list[DeadLetter]:
        """Return the `n` oldest dead letters, oldest first."""
        whole("n", n)
        await trio.lowlevel.checkpoint()
        self._check()
        return [*itertools.islice(self._dead.values(), n)]

    async def requeue(self, *ids: str) -> int:
        """Turn dead letters with these ids, or all, into messages again, with no deliveries counted. Return how many."""
        await trio.lowlevel.checkpoint()
        self._check()
        letters = [self._dead.pop(each) for each in ids or tuple(self._dead) if each in self._dead]
        for letter in letters:
            self._store(_Stored(letter.id, letter.payload, letter.enqueued_at), 0)
        return len(letters)

    async def purge(self) -> int:
        """Delete all dead letters. Return how many."""
        await trio.lowlevel.checkpoint()
        self._check()
        count = len(self._dead)
        self._dead.clear()
        return count

    def __repr__(self) -> str:
        ready, pending, delayed, dead = map(len, (self._ready, self._pending, self._delayed, self._dead))
        return f"<MemoryQueue {self.name!r}: {ready} ready, {pending} pending, {delayed} delayed, {dead} dead>"
