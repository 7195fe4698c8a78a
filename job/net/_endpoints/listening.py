"""The listeners of one task, from its init to its finalizer; opened again if they broke and the task is run again."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, final

from ..._core.report import report_loudly
from .._shortages import CAPACITY_ERRNOS, is_shortage

if TYPE_CHECKING:
    from ..._core.task import Task
    from .binding import Binding
    from .listeners import Listeners


@final
class Listening:
    """Listens for the routines of `serve` and `accept_task`.

    A failure to listen is never a client's fault, so it is logged even if its type is `quiet`.

    Args:
        binding: where to listen.
        announced: log the addresses.
    """

    __slots__ = ("_announced", "_binding", "_broken", "_listeners", "_opened")

    def __init__(self, binding: Binding, *, announced: bool = False) -> None:
        self._binding = binding
        self._announced = announced
        self._opened = AsyncExitStack()
        self._listeners: Listeners = ()
        self._broken = False

    async def init(self, task: Task) -> None:
        """Start to listen: the init of the task."""
        try:
            self._listeners = await self._opened.enter_async_context(self._binding.listening())
        except OSError as error:
            report_loudly(task.job, error)
            raise
        self._broken = False
        if self._announced:
            task.log.info("listening", addresses=self._binding.addresses)

    async def listeners(self, task: Task) -> Listeners:
        """Return the listeners, new ones if the old are broken: a restart calls init before run, a retry does not."""
        if self._broken:
            await self.aclose()
            await self.init(task)
        return self._listeners

    def broke(self, task: Task, error: BaseException) -> None:
        """Record that a listener failed. One that only had no descriptor for a client still works."""
        self._broken = not is_shortage(error, CAPACITY_ERRNOS)
        report_loudly(task.job, error)

    async def aclose(self) -> None:
        """Close the listeners; harmless the second time."""
        self._listeners = ()
        await self._opened.aclose()

    async def finalize(self, task: Task) -> None:
        """Close the listeners: the finalizer of the task, or part of it."""
        await self.aclose()
