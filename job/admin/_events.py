"""What happens, as server-sent events: ends of connections, and changes of upstreams."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, NamedTuple, final

import trio

from .._core.inside import connection_of
from .._core.observers import register_observer
from .._core.words.events import JobEnded
from .._core.words.user_code import shown
from .._core.words.values import Values
from ..net.balancer import UpstreamChanged

KEPT: Final = 100
"""Events that a new reader is told of, and that may wait for one that is slow."""

MOST_STREAMS: Final = 8


class Happening(NamedTuple):
    """One event, as it is sent."""

    id: int
    name: str
    data: str

    def __bytes__(self) -> bytes:
        return f"id: {self.id}\nevent: {self.name}\ndata: {self.data}\n\n".encode()


@final
class Events:
    """An observer that keeps the last events, and lets any number of readers go on from there, each at its own pace."""

    __slots__ = ("_kept", "_last", "_readers", "_unregister")

    def __init__(self) -> None:
        self._kept: deque[Happening] = deque(maxlen=KEPT)
        self._last = 0
        self._readers: set[trio.Event] = set()
        self._unregister: Callable[[], None] | None = None

    def listen(self) -> None:
        """Hear of what happens to the jobs that start from now on, where that has not been done yet."""
        if self._unregister is None:
            self._unregister = register_observer(self)

    def close(self) -> None:
        """Hear of nothing more."""
        if self._unregister is not None:
            self._unregister()

    def on_event(self, event: Any, /) -> None:
        """Take one record."""
        if isinstance(event, UpstreamChanged):
            self._keep("upstream.up" if event.new else "upstream.down", _about_upstream(event))
        elif isinstance(event, JobEnded) and connection_of(event.job) is not None:
            self._keep("job.ended", _about_connection(event))

    def _keep(self, name: str, about: dict[str, Any]) -> None:
        self._last += 1
        self._kept.append(Happening(self._last, name, json.dumps(Values().plain(about))))
        self.wake()

    def wake(self) -> None:
        """Let all readers look: it is over."""
        for reader in self._readers:
            reader.set()

    @property
    def full(self) -> bool:
        """True if there are as many readers as allowed."""
        return len(self._readers) >= MOST_STREAMS

    async def since(self, last: int | None, over: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
        """Give what has happened since an event, then what happens; a reader that is too slow is told how many it has lost."""
        told = self._last - len(self._kept) if last is None else min(last, self._last)
        reader = trio.Event()
        self._readers.add(reader)
        try:
            yield b": the events of a program\n\n"
            while not over():
                first = self._last - len(self._kept) + 1
                if told + 1 < first:
                    yield f"event: lost\ndata: {first - told - 1}\n\n".encode()
                    told = first - 1
                for each in [happening for happening in self._kept if happening.id > told]:
                    yield bytes(each)
                    told = each.id
                    if self._last - told >= KEPT:
                        break
                if told < self._last:
                    continue
                self._readers.discard(reader)
                reader = trio.Event()
                self._readers.add(reader)
                await reader.wait()
        finally:
            self._readers.discard(reader)


def _about_connection(event: JobEnded) -> dict[str, Any]:
    job, verdict = event.job, event.verdict
    seconds = None
    if verdict.started_at is not None and verdict.ended_at is not None:
        seconds = round(verdict.ended_at - verdict.started_at, 6)
    return {"job": job.name, "job_id": job.id, "code": verdict.code, "seconds": seconds, **job.fields}


def _about_upstream(event: UpstreamChanged) -> dict[str, Any]:
    error = None if event.error is None else shown(event.error)
    return {"upstream": event.upstream.address, "healthy": event.new, "error": error}
