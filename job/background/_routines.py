"""The routines of a manager's tasks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, final

import trio

from .._core.border import report_contained
from .._core.retry import Backoff, Retry
from .._core.run.pause import pause_for
from .._core.task import Task
from .._core.work import Work, attempt
from ._stalls import StallWatch

AFTER_FAILURE: Final = Backoff(initial=0.05, maximum=1.0)
"""The waits of a loop with a shorter pause after consecutive failures: from that of an idle poll up to a second."""


class Routine(Protocol):
    """The run of a task, with the function that names it."""

    @property
    def name(self) -> str: ...
    async def run(self, task: Task, /) -> None: ...


@final
class Once:
    """Work that is done once; its result becomes the task's."""

    __slots__ = ("_retry", "_stalls", "_work", "name")

    def __init__(self, work: Work, retry: Retry | None, stalls: StallWatch | None) -> None:
        self.name = work.name
        self._work = work
        self._retry = retry
        self._stalls = stalls

    async def run(self, task: Task) -> None:
        """Do the work; a closing manager waits for it, including the remaining attempts."""
        with watched(task, self._stalls):
            task.done(await attempt(task, self._work, self._retry, _sleep))


@final
class Loop:
    """Work that is repeated whether or not it fails; each call of `run` is one iteration."""

    __slots__ = ("_failures", "_pause", "_retry", "_stalls", "_work", "name")

    def __init__(self, work: Work, pause: float, retry: Retry | None, stalls: StallWatch | None) -> None:
        self.name = work.name
        self._work = work
        self._pause = pause
        self._retry = retry
        self._stalls = stalls
        self._failures = 0  # Consecutive ones.

    async def run(self, task: Task) -> None:
        """Do the work and pause; this pause, like one between attempts, ends at once when the manager closes."""

        async def pause(seconds: float) -> bool:
            await pause_for(seconds, task.job)
            return not task.job.stopping

        try:
            with watched(task, self._stalls):
                await attempt(task, self._work, self._retry, pause)
            self._failures = 0
        except Exception as error:
            self._failures += 1
            report_contained(task, error)
        if seconds := self._seconds():
            await pause(seconds)
        task.tick()

    def _seconds(self) -> float:
        if self._failures and self._pause < AFTER_FAILURE.initial:
            return AFTER_FAILURE.after(self._failures)
        return self._pause


def watched(task: Task, stalls: StallWatch | None) -> AbstractContextManager[None]:
    """Open the block of one piece of work."""
    return nullcontext() if stalls is None else stalls.over(task)


async def _sleep(seconds: float) -> bool:
    await trio.sleep(seconds)
    return True
