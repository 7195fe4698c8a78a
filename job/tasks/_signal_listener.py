"""`signal_listener`: end a job on a signal."""

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
    """Return a factory of a task that finishes its job on a signal, within the job's grace, and cancels it on the second.

    The job listens from its start, before the first init, until its last finalizer has ended, so no signal kills the process in
    between. The task never ends by itself: if the job should end when its work is done, give the work
    `StopPolicy.STOP_GROUP`. The task does not hold up a graceful finish. `job.run` listens already.

    Any number of tasks may listen to the same signal. An ignored signal stays ignored. Only a trio run in the main thread can
    listen; elsewhere init fails.

    Args:
        *signals: one or more signals, such as `signal.SIGTERM`.

    Raises:
        TypeError, ValueError: one of `signals` cannot be caught.
    """
    caught = checked_signals(signals)

    def signal_listener(job: Job[Any]) -> Routines:
        listener = Listener()
        hold_signals(job, caught, listener.heard)
        return Routines(listener.init, _wait)

    return signal_listener


@final
class Listener:
    """The reaction of one such task to the signals that its job holds."""

    __slots__ = ("_heard_one", "_task")

    def __init__(self) -> None:
        self._heard_one = False
        # The reference is weak, because the job holds this listener and the task belongs to the job.
        self._task: Callable[[], Task | None] = _none

    def init(self, task: Task) -> None:
        """Note the task, which is named as the one that ended the job."""
        check_main_thread()
        self._task = ref(task)

    def heard(self, job: Job[Any], number: int) -> None:
        """Finish the job on the first signal, and cancel it on the second."""
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
