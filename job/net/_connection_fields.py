"""The fields of a connection: what the toolkit adds to the fields of its job, and so to its `job.ended`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, final
from weakref import WeakKeyDictionary

import trio

from .._core.words.blocks import contextmanager
from ._reason import end_reason, side_of

if TYPE_CHECKING:
    from .._core.job import Job

_NOTHING: Final = object()


@final
class ConnectionFields:
    """Fields of a job that may be filled again and again. A value that the program has set itself stays."""

    __slots__ = ("_fields", "_filled")

    def __init__(self, j: Job[Any]) -> None:
        self._fields = j.fields
        self._filled: dict[str, Any] = {}

    def fill(self, **facts: Any) -> None:
        """Set fields, except those that the program has set."""
        for name, fact in facts.items():
            if name not in self._fields or self._fields[name] is self._filled.get(name, _NOTHING):
                self._fields[name] = self._filled[name] = fact


@final
class DialFields:
    """The fields about a job's dials: which upstream, how many attempts, how many seconds they took."""

    __slots__ = ("_attempts", "_connection_fields", "_seconds")

    def __init__(self, j: Job[Any]) -> None:
        self._connection_fields = ConnectionFields(j)
        self._attempts = 0
        self._seconds = 0.0

    @contextmanager
    def attempt(self, upstream: str) -> Iterator[None]:
        """Record the attempt to connect that is made in the block, however it ends."""
        started_at = trio.current_time()
        self._attempts += 1
        try:
            yield
        finally:
            self._seconds += trio.current_time() - started_at
            seconds = round(self._seconds, 6)
            self._connection_fields.fill(upstream=upstream, attempts=self._attempts, connect_time=seconds)


_dials: Final[WeakKeyDictionary[Job[Any], DialFields]] = WeakKeyDictionary()


def dials_of(j: Job[Any]) -> DialFields:
    """Return the fields for all dials that the tasks of a job make themselves; each dial adds to them."""
    connection_fields = _dials.get(j)
    if connection_fields is None:
        connection_fields = _dials[j] = DialFields(j)
    return connection_fields


class Transfer(Protocol):
    """What is read of a stream."""

    @property
    def peer(self) -> str: ...
    @property
    def bytes_received(self) -> int: ...
    @property
    def bytes_sent(self) -> int: ...


@final
class ConnectionEnd:
    """Fills in the end of a connection. It does not refer to the job: that would be a cycle."""

    __slots__ = ("stream",)

    def __init__(self, stream: Transfer) -> None:
        self.stream = stream

    def __call__(self, j: Job[Any]) -> None:
        reason = end_reason(j)
        side = side_of(reason)
        connection_fields = ConnectionFields(j)
        if "reason" not in j.fields and side is not None:
            connection_fields.fill(closed_by=side.value)
        connection_fields.fill(
            reason=reason.value, bytes_up=self.stream.bytes_received, bytes_down=self.stream.bytes_sent
        )


def fill_client(j: Job[Any], stream: Transfer, *, listener: str, queue_time: float) -> None:
    """Record which client came, and where."""
    ConnectionFields(j).fill(client=stream.peer, listener=listener, queue_time=queue_time)
