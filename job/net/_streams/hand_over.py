"""The two sides of a hand-over as routines: one reads messages, one writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..._core.forms import Routines
from .connection import Connection

if TYPE_CHECKING:
    from ..._core.task import Task


def read_routines(of: Callable[[], Connection]) -> Routines:
    """Return the routines that read from what `of` gives."""

    async def run(task: Task) -> None:
        with task.cancel_on_stop():
            if await of().inbox.pass_one(task.busy):
                task.tick()
            else:
                task.done()

    return Routines(run=run)


def write_routines(of: Callable[[], Connection]) -> Routines:
    """Return the routines that write to what `of` gives."""

    async def run(task: Task) -> None:
        outbox = of().outbox
        to_write = False
        with task.cancel_on_stop():
            to_write = await outbox.wait_for_send()
            task.tick()
        if to_write:
            await outbox.write_pending()
            task.tick()

    return Routines(run=run)
