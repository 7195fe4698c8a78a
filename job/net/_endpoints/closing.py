"""Close the streams of a job as the job has ended: in good order where it did, else so that each peer sees the cut.

A close may wait for its peer, and a cut until the peer has what was sent: for the `close_timeout`, from the end of the grace at
the latest, and not at all once the job, or one above it, is cancelled. So a stop has one budget.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, final

import trio

from ..._core.words.blocks import asynccontextmanager, contextmanager

if TYPE_CHECKING:
    from ..._core.job import Job
    from .._streams.stream import Stream


def has_ended_well(j: Job[Any]) -> bool:
    """Whether nothing has interrupted a job whose loops have exited, and no finish has cut it."""
    return j._stop_record.cause is None and not j._stop_record.cut


def is_cut_by_finish(j: Job[Any]) -> bool:
    """Whether what is cancelled in a job just now is so because the grace of a finish is over."""
    ending = j._stop_record
    return ending.stopping and not (ending.interrupted or ending.hurried) and trio.current_time() >= ending.cut_at


def give_up_at(j: Job[Any] | None, seconds: float) -> float:
    """Return when to wait no longer for a peer: after so many seconds, from the end of the job's grace at the latest."""
    start = trio.current_time()
    while j is not None:
        start = min(start, j._stop_record.cut_at)
        j = j.parent
    return start + seconds


@contextmanager
def patience(j: Job[Any] | None, until: float) -> Iterator[None]:
    """Wait for a peer in this block: until then, or until the job is cancelled, whatever else is."""
    with trio.CancelScope(deadline=until, shield=True) as scope:
        if j is None or j._run is None:
            yield
        else:
            with j._run.stop.hurrying(scope):
                yield


@final
class _Call:
    """Looks like a scope to the one who cancels it."""

    __slots__ = ("cancel",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.cancel = call


@contextmanager
def calling_on_stop(j: Job[Any], call: Callable[[], None]) -> Iterator[None]:
    """Call when the job is asked to stop while the block runs; at once, if it has been."""
    listener = _Call(call)
    j.add_stop_scope(listener)
    try:
        yield
    finally:
        j.remove_stop_scope(listener)


async def close(stream: Stream, j: Job[Any], server: Job[Any] | None = None, *, failed: bool = False) -> None:
    """Close a stream of a job whose loops have exited.

    In good order too where an EOF was sent: then its peer has all there was, an error that was told it, say, before the job
    failed.

    Args:
        stream: in whatever state.
        j: whose end decides.
        server: the job that waits, where it is another one.
        failed: the task that has the stream did not end well, whatever becomes of the job.
    """
    whole = stream.eof_sent or (has_ended_well(j) and not failed)
    waiting = server or j
    if stream.close_nowait(cut=not whole):
        return
    if j._stop_record.hurried or waiting._stop_record.hurried or (server is None and is_cancelled()):
        stream.abort()
    elif whole:
        await stream.linger(waiting)
    else:
        await _cut(stream, waiting)


async def _cut(stream: Stream, j: Job[Any]) -> None:
    """Abort when the peer has what was sent to it: what was said on purpose, before the end, is to arrive."""
    try:
        with patience(j, give_up_at(j, stream.endpoint.close_timeout)):
            await stream.wait_delivered()
    finally:
        stream.abort()


@asynccontextmanager
async def closing(stream: Stream, j: Job[Any]) -> AsyncIterator[Stream]:
    """Close a stream at the end of the block, of a task of the job that is over then."""
    failed = True
    try:
        yield stream
        failed = False
    finally:
        await close(stream, j, failed=failed)


def is_cancelled() -> bool:
    """Whether the next checkpoint raises Cancelled: so trio closes by force."""
    return trio.current_effective_deadline() == -math.inf
