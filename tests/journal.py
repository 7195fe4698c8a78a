"""Task factories that write down what was called, and the routines that most tests are made of."""

from collections.abc import Awaitable, Callable

import trio

import job
from job import Routines, Task

Routine = Callable[[Task], Awaitable[None]]


async def nothing(task: Task) -> None:
    """Do nothing."""


async def done(task: Task) -> None:
    """Be done at the first step."""
    task.done()


async def forever(task: Task) -> None:
    """Never come to a step."""
    await trio.sleep_forever()


async def each_second(task: Task) -> None:
    """Step once a second, for ever."""
    await trio.sleep(1)
    task.tick()


def lasting(seconds: float, then: Callable[[Task], object] = Task.done) -> Routine:
    """Return a routine that takes some seconds, and then a step."""

    async def routine(task: Task) -> None:
        await trio.sleep(seconds)
        then(task)

    return routine


def failing(error: BaseException, after: float = 0) -> Routine:
    """Return a routine that raises `error`, at once or after some seconds."""

    async def routine(task: Task) -> None:
        if after:
            await trio.sleep(after)
        raise error

    return routine


class Journal(list[str]):
    """What was called, in order: `read.init`, `read.run`, `read.finalize`."""

    def task(
        self,
        name: str,
        *,
        init: Routine | None = nothing,
        run: Routine | None = done,
        finalize: Routine | None = nothing,
    ) -> Callable[[job.Job], Routines]:
        """Return a factory of a task whose routines are noted when they are entered."""

        def factory(_: job.Job) -> Routines:
            parts = zip(Routines._fields, (init, run, finalize), strict=True)
            return Routines(*(routine and self._noting(f"{name}.{part}", routine) for part, routine in parts))

        factory.__name__ = name
        return factory

    def _noting(self, entry: str, routine: Routine) -> Routine:
        async def noted(task: Task) -> None:
            self.append(entry)
            await routine(task)

        return noted
