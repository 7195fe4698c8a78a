"""`signal_listener`: a task that ends its job on a signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final
from weakref import ref

import trio

from .._core.border import finish_by_signal
from .._core.forms import Factory, Routines
from .._core.run.held_signals import hold_signals
from .._core.task import Task
from .._core.trio.signals import check_main_thread, checked_signals, name_of

if TYPE_CHECKING:
    from .._core.job import Job


def signal_listener(*signals: int) -> Factory:
    """Return a factory of a task that finishes its job, within the job's grace, on a signal, and cancels it on the second.

    The job listens from its start, before the first init, until its last finalizer has ended: no signal kills the process in
    between. The task never ends by itself: in a job that should end when its work is done give the work
    `StopPolicy.STOP_GROUP`. Within a grace it holds no other up. `job.run` listens already.

    Any number of tasks may hear the same signal. One that is ignored stays ignored. Only a trio run of the main thread can
    listen: elsewhere init fails.

    Args:
        *signals: `signal.SIGTERM`, say; one or more.

    Raises:
        TypeError, ValueError: one of `signals` is not one that can be caught.
    """
    caught = checked_signals(signals)

    def signal_listener(job: Job[Any]) -> Routines:
        listener = Listener()
        hold_signals(job, caught, listener.heard)
        return Routines(listener.init, _wait)

    return signal_listener


@final
class Listener:
    """What one such task does about the signals that its job holds."""

    __slots__ = ("_heard_one", "_task")

    def __init__(self) -> None:
        self._heard_one = False
        # Weak: the job holds this, and the task is the job's.
        self._task: Callable[[], Task | None] = _none

    def init(self, task: Task) -> None:
        """Become the one who has ended the job."""
        check_main_thread()
        self._task = ref(task)

    def heard(self, job: Job[Any], number: int) -> None:
        """Finish the job, then cancel it."""
        if self._heard_one:
            job.cancel(f"cut by a second signal, {name_of(number)}")
        else:
            self._heard_one = True
            finish_by_signal(job, self._task())


def _none() -> Task | None:
    return None


async def _wait(task: Task) -> None:
    with task.cancel_on_stop():
        await trio.sleep_forever()
