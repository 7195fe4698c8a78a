"""`retry`: a failing run call is made again."""

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
    """Return a factory of a task whose run is called again where it fails; init and finalizer are left alone.

    Each call of `run` has all attempts; the error of the last one stands. The others are survived: they go to observers and to
    the log, not to `Job.errors`. A stop of the job ends the wait between two attempts at once, and there is no other attempt.

    Where a failure leaves something broken behind use `restart`, which sets the task up anew.

    Args:
        t: the task, in any of its forms.
        attempts: calls in all, the first one included; `math.inf` for as often as it takes.
        wait: seconds between two of them, or a `Backoff`.
        on: the exception type that another attempt may mend, or a tuple of them; it also holds for a group all of whose
            errors it holds for.

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
        """Make the call; the step is that of the attempt which succeeded."""
        return await attempt(task, partial(self._call, task), self._how, partial(pause, task))

    async def _call(self, task: Task) -> object:
        clear_step(task)
        return await self._run(task)
