"""`reload_on_signal`: set a task up anew on a signal."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, final

from trio.lowlevel import enable_ki_protection

from .._core.forms import AsyncRoutine, AsyncRoutines, Inner, TaskForm, make_routines
from .._core.run.held_signals import hold_signals, ignore
from .._core.run.incarnations import Incarnations
from .._core.task import Task
from .._core.trio.calls import call, without_cancelled
from .._core.trio.signals import checked_signals, in_the_loop, open_signals
from ._wrapper import Wrapper, check_form

if TYPE_CHECKING:
    from .._core.job import Job


def reload_on_signal(t: TaskForm, *signals: int) -> Wrapper:
    """Return a factory of a task that a signal sets up anew: its run is cancelled, and it is finalised and initialised again.

    A signal during init or a finalizer reloads once more when the run begins. Several signals at once count as one, and none
    counts once the job is stopping. An error on the way is the task's own error. Wrap outside of `every` and the like, so that
    a signal also interrupts their waits. From before the job's first init until after its last finalizer the signal has no
    other effect.

    Any number of tasks may listen to the same signal. An ignored signal stays ignored, as `nohup` does with SIGHUP. Only a trio
    run in the main thread can listen; elsewhere init fails.

    Args:
        t: the task, in any of its forms.
        *signals: one or more signals, such as `signal.SIGHUP`.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    check_form("t", t)
    caught = checked_signals(signals)

    def change(inner: Inner) -> Inner:
        if inner.run is None:
            return inner
        reloaded = Reloaded(inner, inner.run, caught)
        return Inner(reloaded.init, reloaded.run, None if inner.finalize is None else reloaded.finalize)

    def make(form: TaskForm, job: Job[Any]) -> AsyncRoutines:
        routines = make_routines(form, job)
        if routines[1] is not None:
            hold_signals(job, caught, ignore)
        return routines

    return Wrapper(t, change, make)


@final
class Reloaded:
    """Runs a task, incarnation after incarnation; a signal ends each but the last."""

    __slots__ = ("_incarnations", "_pending", "_run", "_running", "_signals", "finalize")

    def __init__(self, inner: Inner, run: AsyncRoutine, signals: tuple[int, ...]) -> None:
        self._incarnations = Incarnations(inner)
        self._run = run
        self._signals = signals
        self._pending = False  # A signal has come and has not been acted on.
        self._running = False
        self.finalize = self._incarnations.finalize

    async def init(self, task: Task) -> None:
        """Listen, then initialise."""
        self._pending = False
        await task.enter(self._listening(task))
        await self._incarnations.begin(task)

    # An interrupt between two incarnations would find neither of them.
    @enable_ki_protection
    async def run(self, task: Task) -> object:
        """Run until it takes a step; a signal that comes before that reloads."""
        while True:
            if self._pending and not task.job.stopping:
                self._pending = False
                if not await self._incarnations.renew(task):
                    return None
            self._running = True
            try:
                result = await call(self._run, task)
            except BaseException as exc:
                if not self._reloads(task) or without_cancelled(exc) is not None:
                    raise
            else:
                if not self._reloads(task):
                    return result
            finally:
                self._running = False

    def _reloads(self, task: Task) -> bool:
        """Return True if a signal has cancelled the run, so that a new incarnation has to follow."""
        return self._pending and self._incarnations.was_cut(task) and not task.job.stopping

    def _listening(self, task: Task) -> AbstractContextManager[None]:
        return open_signals(in_the_loop(partial(self._heard, task)), *self._signals)

    def _heard(self, task: Task, _: int) -> None:
        self._pending = True
        if self._running and not task.job.stopping:
            self._incarnations.cut.cancel()
