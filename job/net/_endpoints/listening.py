"""The listeners of a task, from its init to its finalizer; opened anew where they have broken and the task is run again."""

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
    """Listens at an endpoint, for the routines of `serve` and `accept_task`.

    That there is no listening is no fault of a client's: the log tells of it whatever is quiet.

    Args:
        binding: where to listen.
        announced: whether the log tells where, too.
    """

    __slots__ = ("_announced", "_binding", "_broken", "_listeners", "_opened")

    def __init__(self, binding: Binding, *, announced: bool = False) -> None:
        self._binding = binding
        self._announced = announced
        self._opened = AsyncExitStack()
        self._listeners: Listeners = ()
        self._broken = False

    async def init(self, task: Task) -> None:
        """Listen: the init of the task."""
        try:
            self._listeners = await self._opened.enter_async_context(self._binding.listening())
        except OSError as error:
            report_loudly(task.job, error)
            raise
        self._broken = False
        if self._announced:
            task.log.info("listening", addresses=self._binding.addresses)

    async def listeners(self, task: Task) -> Listeners:
        """Return the listeners, anew where those at hand are broken: a restart calls init before, a retry only run."""
        if self._broken:
            await self.aclose()
            await self.init(task)
        return self._listeners

    def broke(self, task: Task, error: BaseException) -> None:
        """Take note that a listener has failed; one that found no descriptor for a client is as good as before."""
        self._broken = not is_shortage(error, CAPACITY_ERRNOS)
        report_loudly(task.job, error)

    async def aclose(self) -> None:
        """Close the listeners; harmless the second time."""
        self._listeners = ()
        await self._opened.aclose()

    async def finalize(self, task: Task) -> None:
        """Close the listeners: the finalizer of the task, or part of it."""
        await self.aclose()
