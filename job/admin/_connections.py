"""The connections of a program as rows: peer, place, duration, bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final
from weakref import WeakKeyDictionary

import trio

from .._core.inside import age, children, connection_of, roots
from .._core.job import Job
from .._core.words.values import Values

SORTS: Final[Mapping[str, Callable[[dict[str, Any]], float]]] = {
    "age": lambda row: row["age"],
    "bytes": lambda row: row["bytes_up"] + row["bytes_down"],
    "idle": lambda row: row["idle"],
}
"""What rows may be sorted by, the largest first."""

MOST: Final = 100_000
_PIECE: Final = 100  # jobs that are looked at in one go


@dataclass(slots=True)
class _Seen:
    """What was seen of a connection at the last look."""

    at: float
    moved: int
    moved_at: float


@final
class Connections:
    """Looks at all connections; what a look has seen, the next one tells the change of.

    A stream keeps no time of its last byte, so `idle` counts from the first look that found the bytes as they are; of a
    connection in which none has ever moved, from its beginning.
    """

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[Any, _Seen] = WeakKeyDictionary()

    async def rows(self) -> list[dict[str, Any]]:
        """Return a row for each connection, in pieces: each row of one moment."""
        found = []
        number = 0
        async for job in all_jobs():
            stream = connection_of(job)
            if stream is not None:
                found.append(self._row(job, stream))
            number += 1
            if number % _PIECE == 0:
                await trio.lowlevel.checkpoint()
        return found

    def _row(self, job: Job[Any], stream: Any) -> dict[str, Any]:
        up, down = stream.bytes_received, stream.bytes_sent
        rate, idle = self._look(stream, up + down)
        fields = job.fields
        return {
            "id": job.id,
            "client": Values().plain(fields.get("client", stream.peer)),
            "listener": Values().plain(fields.get("listener")),
            "upstream": Values().plain(fields.get("upstream")),
            "state": job.state.value,
            "age": round(age(job) or 0.0, 3),
            "idle": round(idle, 3),
            "bytes_up": up,
            "bytes_down": down,
            "bytes_per_second": round(rate, 1),
        }

    def _look(self, stream: Any, moved: int) -> tuple[float, float]:
        now = trio.current_time()
        before = self._seen.get(stream)
        if before is None:
            since = now if moved else stream.opened_at
            self._seen[stream] = _Seen(now, moved, since)
            seconds = now - stream.opened_at
            return (moved / seconds if seconds > 0 else 0.0), now - since
        rate = (moved - before.moved) / (now - before.at) if now > before.at else 0.0
        if moved != before.moved:
            before.moved_at = now
        before.at, before.moved = now, moved
        return rate, now - before.moved_at


async def all_jobs() -> AsyncIterator[Job[Any]]:
    """Give each running job, parents first; may be left between two of them for as long as one likes."""
    pending = list(reversed(roots()))
    while pending:
        job = pending.pop()
        yield job
        pending += reversed(children(job))
