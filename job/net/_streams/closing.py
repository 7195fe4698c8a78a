"""Close the streams of a job as the job has ended: in good order if it ended well, else so that each peer sees the cut.

A close may wait for its peer, and a cut until the peer has what was sent: for `close_timeout` seconds, counted at the latest
from the end of the grace, and not at all once the job, or one above it, is cancelled. So a stop has one budget.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ..._core.ending import has_ended_well, is_hurried
from ..._core.words.blocks import asynccontextmanager
from .connection import Connection
from .patience import give_up_at, is_cancelled, patience

if TYPE_CHECKING:
    from ..._core.job import Job


async def close(connection: Connection, j: Job[Any], server: Job[Any] | None = None, *, failed: bool = False) -> None:
    """Close a connection of a job whose loops have exited.

    It is closed in good order also if an EOF was sent: then the peer has all there was, even if the job failed after that.

    Args:
        connection: in any state.
        j: the job whose end decides.
        server: the job that waits, if it is another one.
        failed: the task that has the stream did not end well, whatever becomes of the job.
    """
    whole = connection.eof_sent or (has_ended_well(j) and not failed)
    waiting = server or j
    if connection.close_nowait(cut=not whole):
        return
    if is_hurried(j) or is_hurried(waiting) or (server is None and is_cancelled()):
        connection.abort()
    elif whole:
        await connection.linger(waiting)
    else:
        await _cut(connection, waiting)


async def _cut(connection: Connection, j: Job[Any]) -> None:
    """Abort once the peer has what was sent to it: what was sent on purpose, before the end, must arrive."""
    try:
        with patience(j, give_up_at(j, connection.link.owner.close_timeout)):
            await connection.wait_delivered()
    finally:
        connection.abort()


@asynccontextmanager
async def closing(connection: Connection, j: Job[Any]) -> AsyncIterator[None]:
    """Close a connection at the end of the block, which ends with a task of the job."""
    failed = True
    try:
        yield
        failed = False
    finally:
        await close(connection, j, failed=failed)
