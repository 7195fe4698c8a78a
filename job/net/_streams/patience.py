"""How long a close, or the end of a relay, may wait for a peer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import trio

from ..._core.ending import cut_at, hurrying
from ..._core.words.blocks import contextmanager

if TYPE_CHECKING:
    from ..._core.job import Job


def give_up_at(j: Job[Any] | None, seconds: float) -> float:
    """Return when to stop waiting for a peer: `seconds` from now, or from the end of the job's grace if that came before."""
    start = trio.current_time()
    while j is not None:
        start = min(start, cut_at(j))
        j = j.parent
    return start + seconds


@contextmanager
def patience(j: Job[Any] | None, until: float) -> Iterator[None]:
    """Shield the block, until then or until the job is cancelled: only the job's own cancellation ends a wait for a peer."""
    with trio.CancelScope(deadline=until, shield=True) as scope, hurrying(j, scope):
        yield


def is_cancelled() -> bool:
    """Return True if the next checkpoint raises Cancelled: trio's way to ask for a forceful close."""
    return trio.current_effective_deadline() == -math.inf
