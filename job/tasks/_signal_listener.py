"""`signal_listener`: a task that ends its job on a signal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._forms import Factory, Routines
from .._signals import open_signals
from .._task import Task
from .._verdict import Cause, CauseKind
from ._signals import checked_signals, name_of

if TYPE_CHECKING:
    from .._job import Job


def signal_listener(*signals: int) -> Factory:
    """Return a factory of a task that finishes its job, within the job's grace, on a signal, and cancels it on the second.

    It listens from its init until it is cleaned up, and it never ends by itself: in a job that should end when its work is done
    give the work `StopPolicy.STOP_GROUP`. Within a grace it holds nobody up. `job.run` listens already.

    Any number of tasks may hear the same signal. Only a trio run of the main thread does: elsewhere init fails.

    Args:
        *signals: `signal.SIGTERM`, say; one or more.

    Raises:
        TypeError, ValueError: one of `signals` is not one that can be caught.
    """
    caught = checked_signals(signals)

    def signal_listener(job: Job[Any]) -> Routines:
        return Routines(partial(_begin, caught), _wait)

    return signal_listener


async def _begin(signals: tuple[int, ...], task: Task) -> None:
    await task.enter(_listening(task, signals))


async def _wait(task: Task) -> None:
    with task.cancel_on_stop():
        await trio.sleep_forever()


@asynccontextmanager
async def _listening(task: Task, signals: tuple[int, ...]) -> AsyncIterator[None]:
    with open_signals(*signals) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, task, received)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()


async def _obey(task: Task, received: AsyncIterator[int]) -> None:
    await anext(received)
    task.job._finish(Cause(CauseKind.SIGNAL, task, at=trio.current_time()), task.job._limits.grace)
    number = await anext(received)
    await trio.lowlevel.checkpoint()  # if job.run has heard it too, it knows the exit code that goes with it
    task.job.cancel(f"cut by a second signal, {name_of(number)}")
