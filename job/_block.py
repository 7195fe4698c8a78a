"""`async with` a job: it runs beside the block and is kept open by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ._calls import without_cancelled
from ._verdict import CauseKind

if TYPE_CHECKING:
    from ._job import Job


@asynccontextmanager
@enable_ki_protection
async def run_beside(job: Job[Any]) -> AsyncIterator[None]:
    """Run `job` while the block runs; what comes out is the error of whichever of the two failed first, bare."""
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(job._live_beside)
            if not job._failed:
                try:
                    with trio.CancelScope() as scope:
                        job._cancel_on_failure(scope)
                        yield
                except BaseException as exc:
                    # Not through the nursery: it would come out in a group.
                    raised = exc
                _block_ended(job, raised)
    except BaseExceptionGroup as group:
        # The job raises nothing into the nursery: this is a KeyboardInterrupt that struck while it closed.
        raised = group.exceptions[0]
    if raised is not None and not job._failed_before(raised):
        raise raised
    await job._outcome()
    job._raise_from_parent()


def _block_ended(job: Job[Any], raised: BaseException | None) -> None:
    life = job._life
    error = None if raised is None else without_cancelled(raised)
    if life is None:
        if error is not None and job._failed_before(error):
            job._ending.add(None, None, error)
        return
    if raised is None:
        job.finish()
    elif error is not raised:  # its own scope has taken what Cancelled the job sent it
        life.stop.look_outside()
    if error is not None:
        life.stop.interrupt(CauseKind.ERROR, None, None, error, mapped=False)
    life.release_block()
