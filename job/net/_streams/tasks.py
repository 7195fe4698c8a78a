"""The two sides of a hand-over as tasks, for the stream in a job's value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._core.forms import Routines
from .connection import Connection
from .hand_over import read_routines, write_routines
from .stream import Stream, connection_of

if TYPE_CHECKING:
    from ..._core.job import Job


def read_task(j: Job[Any]) -> Routines:
    """Task factory: reads messages from the Stream in `j.value` and hands them to the caller of `received`.

    The task is done at EOF, and fails at a fault of the peer. While a message waits to be taken, or its taker is in its block,
    the task is not idle. It reads no further when the job is asked to stop; what has arrived stays in the stream.
    """
    return read_routines(lambda: _value(j))


def write_task(j: Job[Any]) -> Routines:
    """Task factory: writes what others `send` on the Stream in `j.value`. Each message is a step."""
    return write_routines(lambda: _value(j))


def _value(j: Job[Any]) -> Connection:
    if not isinstance(j.value, Stream):
        raise TypeError(f"the job's value must be a Stream, got {j.value!r}")
    return connection_of(j.value)
