"""A queue on Redis Streams."""

from __future__ import annotations

import builtins
import json
import math
import os
import re
import secrets
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, final, overload

import trio

from .._core import check
from .._core.words.exceptions import JobStateError
from . import _scripts as scripts
from ._arguments import delay as checked_delay
from ._arguments import error_text, whole
from ._errors import UnavailableError
from ._message import DeadLetter, Delivery, Message, QueueStatistics
from ._news import tell_dead_unrun
from ._payload import MAX_SIZE, Payloads
from ._redis_client import Client, client_factory

if TYPE_CHECKING:
    from ._scripts import Script

T = TypeVar("T")

_TIMEOUT: Final = 5.0
_TAKE_TIMEOUT: Final = 2.0  # of a call that no cancellation ends: a stop has to be over in five seconds
_CLOSE_TIMEOUT: Final = 0.5
_LOOK_EVERY: Final = 0.5
_UNUSED_LEASES: Final = 10

_Receipt = tuple[bytes, int]


def _consumer_name() -> str:
    """Return the name of this process among the consumers of a group; a fork has one of its own."""
    pid = os.getpid()
    if pid not in _names:
        _names.clear()
        _names[pid] = f"{socket.gethostname()}-{pid}-{secrets.token_hex(4)}"
    return _names[pid]


_names: Final[dict[int, str]] = {}


@final
class RedisStream(Generic[T]):
    """A queue on a stream of Redis 7 or later: one server, a Sentinel or a Cluster.

    Any number of producers and consumers may use one, on any number of machines; what is done is deleted, so there is one
    group a stream. Delayed messages and dead letters lie beside it, in `{stream}:delayed` and `{stream}:dead`. All times are
    those of Redis. What Redis has confirmed is as safe as its own persistence makes it: see its `appendfsync`.

    Args:
        url: `redis://`, `rediss://` or `unix://`; or a function that makes a new coredis client, without retries of its own.
        stream: the key of the stream, and the name of the queue.
        group: the name of the consumer group, which is made where it is missing.
        lease: seconds for which a delivery is surely ours.
        max_deliveries: deliveries after which a message is given up.
        type: the type of the payloads: bytes, or what msgspec knows.
        max_size: the longest payload in bytes, as encoded.

    Raises:
        ImportError: coredis is not installed; or msgspec, for another type than bytes.
        TypeError, ValueError: an argument is not as described; the message names it.
    """

    __slots__ = (
        "_client",
        "_group",
        "_keys",
        "_look_at",
        "_payloads",
        "_sweep_at",
        "_take_client",
        "_users",
        "lease",
        "max_deliveries",
        "name",
    )

    @overload
    def __init__(
        self: RedisStream[bytes],
        url: str | Callable[[], Any],
        stream: str,
        *,
        group: str = ...,
        lease: float = ...,
        max_deliveries: int = ...,
        max_size: int = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        url: str | Callable[[], Any],
        stream: str,
        *,
        type: builtins.type[T],
        group: str = ...,
        lease: float = ...,
        max_deliveries: int = ...,
        max_size: int = ...,
    ) -> None: ...
    @overload
    # For what is a type to msgspec and not to a type checker: unions, Annotated, Literal …
    def __init__(
        self: RedisStream[Any],
        url: str | Callable[[], Any],
        stream: str,
        *,
        type: Any,
        group: str = ...,
        lease: float = ...,
        max_deliveries: int = ...,
        max_size: int = ...,
    ) -> None: ...
    def __init__(
        self,
        url: str | Callable[[], Any],
        stream: str,
        *,
        group: str = "job",
        lease: float = 60,
        max_deliveries: int = 5,
        type: Any = bytes,
        max_size: int = MAX_SIZE,
    ) -> None:
        make = client_factory(url)
        self.name = check.str_("stream", stream)
        self._group = check.str_("group", group)
        self.lease = checked_delay("lease", check.positive_seconds("lease", lease))
        self.max_deliveries = whole("max_deliveries", max_deliveries)
        self._payloads: Payloads[T] = Payloads(type, max_size)
        self._keys = _keys(stream)
        self._client = Client(make, stream, _TIMEOUT)
        self._take_client = Client(make, stream, _TAKE_TIMEOUT)
        self._users = 0
        self._look_at = self._sweep_at = -math.inf

    # -- open and close

    async def __aenter__(self) -> Self:
        """Open it. That Redis is out of reach does not matter yet."""
        self._users += 1
        return self

    async def __aexit__(
        self, exc_type: builtins.type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it for this user; the last one takes the consumer of this process out of the group."""
        try:
            if self._users == 1:
                await self._leave()
        finally:
            self._users -= 1
            if self._users == 0:
                await self._client.aclose()
                await self._take_client.aclose()
                self._look_at = self._sweep_at = -math.inf

    async def _leave(self) -> None:
        if self._sweep_at == -math.inf:  # it has never received
            return
        within = trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_TIMEOUT)
        with within, suppress(UnavailableError):  # then others take it out, after ten leases
            await self._sweep(_consumer_name())

    async def _sweep(self, name: str = "") -> None:
        """Take consumers without a message out of the group: those unused for ten leases, and one of that name."""
        self._sweep_at = trio.current_time() + self.lease
        await self._run(scripts.LEAVE, name, _ms(self.lease * _UNUSED_LEASES))

    async def check(self) -> None:
        """Look whether the stream can be consumed, and make its group where it is missing.

        Raises:
            UnavailableError: Redis is out of reach.
            coredis.exceptions.RedisError: a key is of another kind, or there is no right to use it.
        """
        await self._run(scripts.CHECK)

    async def _run(self, script: Script, *arguments: Any) -> Any:
        self._check_open()
        return await self._client.run(script, self._keys, (self._group, _consumer_name(), *arguments))

    def _check_open(self) -> None:
        if self._users == 0:
            raise JobStateError(f"queue {self.name!r} is not open: use it inside of `async with`")

    # -- taking

    async def receive(self, n: int, /) -> list[Message[T]]:
        """Wait for messages, and take 1 to `n` of them, the oldest first. When cancelled it keeps none."""
        whole("n", n)
        self._check_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if trio.current_time() >= self._sweep_at:
                await self._sweep()
            messages, wait, last = await self._take(n)
            if messages:
                await self._unless_cancelled(messages)
                return messages
            await self._wait_for_entry(last, wait)

    async def _take(self, n: int) -> tuple[list[Message[T]], int, bytes]:
        """Take what is there. Nothing is cancelled in the middle of it: that would keep what Redis has given."""
        now = trio.current_time()
        look = now >= self._look_at
        if look:
            self._look_at = now + min(_LOOK_EVERY, self.lease / 4)
        with trio.CancelScope(shield=True):
            arguments = (self._group, _consumer_name(), n, _ms(self.lease), self.max_deliveries, int(look))
            out, unrun, wait, last = await self._take_client.run(scripts.TAKE, self._keys, arguments)
            taken = [message for entry in out if (message := await self._message(entry)) is not None]
        for message_id, lines in unrun:
            history = _history(lines)
            tell_dead_unrun(self.name, message_id.decode(), history[-1].error, history[-1].code, history)
        return taken, wait, last

    async def _message(self, entry: list[Any]) -> Message[T] | None:
        """Return a delivery as a message; one that does not decode is given up at once."""
        receipt, (message_id, at, n, lines, *payload) = (entry[0], entry[1]), entry[2:]
        history = _history(lines)
        number = n + entry[1]
        name = message_id.decode(errors="backslashreplace")
        try:
            if not payload:
                raise ValueError("it has no field payload")
            decoded = self._payloads.decode(payload[0])
        except ValueError as error:
            text = error_text(error) or ""
            await self._settle(scripts.DEAD, receipt, text, "payload")
            tell_dead_unrun(
                self.name, name, text, "payload", (*history, Delivery(number, time.time(), text, "payload"))
            )
            return None
        return Message(name, decoded, number, int(at) / 1000, history, self, receipt)

    async def _unless_cancelled(self, messages: list[Message[T]]) -> None:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            within = trio.CancelScope(shield=True, deadline=trio.current_time() + _TAKE_TIMEOUT)
            with within, suppress(UnavailableError):  # then they are delivered again after their leases
                for message in messages:
                    await self.release(message, count=False)
            raise

    async def _wait_for_entry(self, last: bytes, wait: int) -> None:
        """Wait until there is an entry after the last one that the group has delivered, or some milliseconds have passed."""

        async def read(client: Any) -> None:
            await client.xread({self._keys[0]: last}, count=1, block=wait)

        await self._take_client.call(read, longer=wait / 1000)

    # -- settling

    async def _settle(self, script: Script, receipt: _Receipt, *arguments: Any) -> bool:
        return bool(await self._run(script, *receipt, *arguments))

    async def ack(self, message: Message[T], /) -> bool:
        """Settle a delivery: the message is done, and deleted. False, and nothing changes, where it is not ours any more."""
        return await self._settle(scripts.ACK, message.receipt)

    async def extend(self, message: Message[T], /) -> bool:
        """Begin its lease anew. False where it is not ours any more."""
        return await self._settle(scripts.EXTEND, message.receipt)

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
        """Give it back, to be delivered again after some seconds. False where it is not ours any more."""
        wait = _ms(checked_delay("after", after))
        text = error_text(error) or ""
        return await self._settle(scripts.RELEASE, message.receipt, wait, text, code or "", int(count))

    async def dead(self, message: Message[T], error: BaseException | str | None, /, *, code: str | None = None) -> bool:
        """Give it up: put it to the dead letters. False, and nothing changes, where it is not ours any more."""
        return await self._settle(scripts.DEAD, message.receipt, error_text(error) or "", code or "")

    # -- producers and operators

    async def put(self, payload: T, /, *, delay: float = 0) -> str:
        """Add a message, ready after `delay` seconds, and return its id.

        Raises:
            TypeError: the payload is not of the type of the queue.
            ValueError: it is longer than `max_size`.
            UnavailableError: it may be stored or not.
        """
        data = self._payloads.encode(payload)
        wait = _ms(checked_delay("delay", delay))
        self._check_open()
        message_id = uuid.uuid4().hex

        async def add(client: Any) -> None:
            await client.xadd(self._keys[0], {b"payload": data, b"id": message_id})

        if wait > 0:
            await self._run(scripts.PUT_LATER, data, message_id, wait)
        else:
            await self._client.call(add)
        return message_id

    async def statistics(self) -> QueueStatistics:
        """Return how many messages there are."""
        depth, pending, delayed, dead, age = await self._run(scripts.STATISTICS)
        return QueueStatistics(depth, pending, delayed, dead, age / 1000 if age >= 0 else None)

    async def dead_letters(self, n: int = 100, /) -> list[DeadLetter]:
        """Return the first `n` dead letters, the oldest first."""
        whole("n", n)
        self._check_open()

        async def read(client: Any) -> Any:
            with client.decoding(False):
                return await client.xrange(self._keys[2], count=n)

        return [_dead_letter(entry.identifier, entry.field_values) for entry in await self._client.call(read)]

    async def requeue(self, *ids: str) -> int:
        """Make dead letters messages again, with delivery 1 to come: those with these ids, or all. Return how many."""
        count, start, end = 0, "-", await self._last_dead()
        while end:
            moved, last = await self._run(scripts.REQUEUE, start, end, *ids)
            count += moved
            if not last:
                break
            start = f"({last.decode()}"
        return count

    async def _last_dead(self) -> str:
        """Return the last dead letter there is now: one that dies again meanwhile is not requeued for ever."""
        self._check_open()

        async def read(client: Any) -> Any:
            with client.decoding(False):
                return await client.xrevrange(self._keys[2], count=1)

        entries = await self._client.call(read)
        return entries[0].identifier.decode() if entries else ""

    async def purge(self) -> int:
        """Delete all dead letters. Return how many."""
        return int(await self._run(scripts.PURGE))

    def __repr__(self) -> str:
        return f"<RedisStream {self.name!r}, group {self._group!r}>"


def _keys(stream: str) -> tuple[bytes, ...]:
    """Return the keys of a queue, all of one slot of a Cluster."""
    # Redis hashes what stands between the first { and the first } after it; where that is something, it is a tag already.
    tagged = re.search(r"\{([^}]*)\}", stream)
    if tagged is not None and tagged[1]:
        tag = stream
    elif "{" in stream or "}" in stream:
        raise ValueError(f"stream must have a whole hash tag, or none, got {stream!r}")
    else:
        tag = f"{{{stream}}}"
    return tuple(key.encode() for key in (stream, f"{tag}:delayed", f"{tag}:dead", f"{tag}:taken"))


def _ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _history(lines: bytes) -> tuple[Delivery, ...]:
    told = (json.loads(line) for line in lines.decode(errors="backslashreplace").splitlines())
    return tuple(Delivery(int(each["n"]), each["at"] / 1000, each.get("error"), each.get("code")) for each in told)


def _dead_letter(identifier: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    died_at = int(identifier.split(b"-")[0]) / 1000
    return DeadLetter(
        id=fields[b"id"].decode(errors="backslashreplace"),
        payload=fields[b"payload"],
        deliveries=int(fields[b"n"]),
        error=fields[b"error"].decode() or None,
        code=fields[b"code"].decode() or None,
        history=_history(fields[b"history"]),
        enqueued_at=int(fields[b"at"]) / 1000,
        died_at=died_at,
    )
