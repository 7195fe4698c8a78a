"""Report tasks that work for longer than they should, once for each piece of work; they are not stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import trio
from trio.lowlevel import ParkingLot

from .._core.border import report_stalled
from .._core.task import Task
from .._core.trio.rounds import let_all_catch_up
from .._core.words.blocks import contextmanager


@final
class StallWatch:
    """Sleeps until the oldest piece of work is due. All have the same time limit, so no other can be due before."""

    __slots__ = ("_after", "_begun", "_since")

    def __init__(self, after: float) -> None:
        self._after = after
        self._since: dict[Task, float] = {}  # The work in progress, oldest first.
        self._begun = ParkingLot()

    @contextmanager
    def over(self, task: Task) -> Iterator[None]:
        """Watch a task while the block, one piece of its work, runs."""
        self._since[task] = trio.current_time()
        self._begun.unpark()
        try:
            yield
        finally:
            self._since.pop(task, None)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            while not self._since:
                await self._begun.park()
            await trio.sleep_until(next(iter(self._since.values())) + self._after)
            now = trio.current_time()
            await let_all_catch_up()  # This may run late, and work that seems stalled may be about to end.
            self._report(now)

    def _report(self, now: float) -> None:
        due = [(task, since) for task, since in self._since.items() if since + self._after <= now]
        for task, since in due:
            del self._since[task]
            report_stalled(task, since)
