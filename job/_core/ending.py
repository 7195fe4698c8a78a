"""Questions about how a job is being stopped, for the rooms that have something of their own to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, final

import trio

from .words.blocks import contextmanager

if TYPE_CHECKING:
    from .job import Job


def has_ended_well(j: Job[Any]) -> bool:
    """Return True if nothing interrupted a job whose loops have exited, and no finish has cut it."""
    record = j._stop_record
    return record.cause is None and not record.cut


def is_cut_by_finish(j: Job[Any]) -> bool:
    """Return True if what is cancelled in a job just now is cancelled because the grace of a finish is over."""
    record = j._stop_record
    return record.stopping and not (record.interrupted or record.hurried) and trio.current_time() >= record.cut_at


def cut_at(j: Job[Any]) -> float:
    """Return when the grace of a finish ends, on trio's clock; infinity if none was asked for."""
    return j._stop_record.cut_at


def is_hurried(j: Job[Any]) -> bool:
    """Return True if the job was cancelled: its clean-up must not wait for a peer any longer."""
    return j._stop_record.hurried


@contextmanager
def hurrying(j: Job[Any] | None, scope: trio.CancelScope) -> Iterator[None]:
    """Cancel `scope` when the job is cancelled while the block runs, even in its finalizers; at once if it has been."""
    if j is None or j._run is None:
        yield
    else:
        with j._run.stop.hurrying(scope):
            yield


@final
class _Call:
    """Looks like a scope to the code that cancels it."""

    __slots__ = ("cancel",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.cancel = call


@contextmanager
def calling_on_stop(j: Job[Any], call: Callable[[], None]) -> Iterator[None]:
    """Call `call` when the job is asked to stop while the block runs; at once if it has been."""
    listener = _Call(call)
    j._add_stop_scope(listener)
    try:
        yield
    finally:
        j._remove_stop_scope(listener)
