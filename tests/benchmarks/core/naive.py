"""A job core as one writes it first: dictionaries, a trio task for each task, an Event as gate, a checkpoint for each tick."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

Run = Callable[["NaiveTask"], Awaitable[None]]


class NaiveTask:
    """One task, and the step that it took last."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.step = ""

    def tick(self) -> None:
        """Go on."""
        self.step = "tick"

    def done(self) -> None:
        """Be done."""
        self.step = "done"


class NaiveJob:
    """A oneshot, then the others."""

    def __init__(self) -> None:
        self.tasks: dict[int, NaiveTask] = {}
        self.ready = trio.Event()

    def add(self, run: Run, finalize: Callable[[], Awaitable[None]]) -> None:
        """Add a task; the first one is the oneshot."""
        self.tasks[len(self.tasks)] = NaiveTask({"run": run, "finalize": finalize})

    async def run(self) -> None:
        """Run all tasks to their end."""
        async with trio.open_nursery() as nursery:
            for index in self.tasks:
                nursery.start_soon(self._live, index)

    async def _live(self, index: int) -> None:
        task = self.tasks[index]
        try:
            if index > 0:
                await self.ready.wait()
            await self._loop(task)
            if index == 0:
                self.ready.set()
        finally:
            with trio.CancelScope(shield=True):
                await task.spec["finalize"]()

    async def _loop(self, task: NaiveTask) -> None:
        while True:
            task.step = ""
            await task.spec["run"](task)
            await trio.lowlevel.checkpoint()
            if task.step == "done":
                return
            if not task.step:
                raise RuntimeError("no step")
