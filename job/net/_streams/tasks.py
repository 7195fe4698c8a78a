"""The two sides of a hand-over as tasks: one reads messages, one writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..._core.forms import Routines

if TYPE_CHECKING:
    from ..._core.job import Job
    from ..._core.task import Task
    from .stream import Stream


def read_task(j: Job[Any]) -> Routines:
    """Task factory: reads messages from the Stream in `j.value` and hands them to the caller of `received`.

    It is done at EOF, and fails where the peer is at fault. While a message waits to be taken, or its taker is in its block,
    the task is not idle. When the job is asked to stop it reads no further; what has arrived stays in the stream.
    """
    return read_routines(lambda: _value(j))


def write_task(j: Job[Any]) -> Routines:
    """Task factory: writes what others `send` on the Stream in `j.value`. Each message is a step."""
    return write_routines(lambda: _value(j))


def _value(j: Job[Any]) -> Stream:
    if not hasattr(j.value, "_inbox"):
        raise TypeError(f"the job's value must be a Stream, got {j.value!r}")
    return j.value  # type: ignore[no-any-return]


def read_routines(of: Callable[[], Stream]) -> Routines:
    """Return the routines that read from what `of` gives."""

    async def run(task: Task) -> None:
        with task.cancel_on_stop():
            if await of()._inbox.pass_one(task.busy):
                task.tick()
            else:
                task.done()

    return Routines(run=run)


def write_routines(of: Callable[[], Stream]) -> Routines:
    """Return the routines that write to what `of` gives."""

    async def run(task: Task) -> None:
        outbox = of()._outbox
        to_write = False
        with task.cancel_on_stop():
            to_write = await outbox.wait_for_send()
            task.tick()
        if to_write:
            await outbox.write_pending()
            task.tick()

    return Routines(run=run)
