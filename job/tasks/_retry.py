"""`retry`: repeat a failing call of run."""

from __future__ import annotations

from functools import partial
from typing import final

from .._core.forms import AsyncRoutine, Inner, TaskForm
from .._core.retry import Backoff, Retry
from .._core.run.pause import pause
from .._core.steps import clear_step
from .._core.task import Task
from .._core.work import attempt
from ._wrapper import Wrapper, check_form


def retry(
    t: TaskForm,
    *,
    attempts: float,
    wait: float | Backoff = 0.0,
    on: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> Wrapper:
    """Return a factory of a task whose run is called again if it fails; init and finalizer are called once, as usual.

    Each call of `run` has all attempts, and the error of the last one stands. The other errors are survived: they go to
    observers and to the log, not to `Job.errors`. A stop of the job ends the wait between two attempts at once, without another
    attempt.

    If a failure leaves something broken behind, use `restart`, which sets the task up anew.

    Args:
        t: the task, in any of its forms.
        attempts: the number of calls, the first one included; `math.inf` for no limit.
        wait: seconds between two calls, or a `Backoff`.
        on: the exception type to retry on, or a tuple of them. A group is retried if all of its errors are of these types.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    check_form("t", t)
    how = Retry(attempts, wait, on)

    def change(inner: Inner) -> Inner:
        return inner if inner.run is None else inner._replace(run=Retried(inner.run, how).run)

    return Wrapper(t, change)


@final
class Retried:
    """Calls a run until it succeeds or the attempts are spent."""

    __slots__ = ("_how", "_run")

    def __init__(self, run: AsyncRoutine, how: Retry) -> None:
        self._run = run
        self._how = how

    async def run(self, task: Task) -> object:
        """Call the run; the step is that of the attempt that succeeded."""
        return await attempt(task, partial(self._call, task), self._how, partial(pause, task))

    async def _call(self, task: Task) -> object:
        clear_step(task)
        return await self._run(task)
