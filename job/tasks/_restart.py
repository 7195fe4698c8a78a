"""`restart`: finalise, initialise and run a failing task again."""

from __future__ import annotations

import math
from collections import deque
from typing import Final, final

import trio
from trio.lowlevel import enable_ki_protection

from .._core import check
from .._core.border import report_contained
from .._core.forms import AsyncRoutine, Inner, TaskForm
from .._core.retry import Backoff, check_wait, wait_after
from .._core.run.incarnations import Incarnations
from .._core.run.pause import pause
from .._core.task import Task
from .._core.trio.calls import call, without_cancelled
from .._core.words.exceptions import JobCancelledError
from .._core.words.states import Phase
from ._wrapper import Wrapper, check_form


@final
class Budget:
    """At most `most` restarts within any `within` seconds: the restart intensity of OTP's supervisors."""

    __slots__ = ("_most", "_spent", "_within")

    def __init__(self, most: float, within: float) -> None:
        self._most = most
        self._within = within
        self._spent: deque[float] = deque()  # The times of the restarts, oldest first.

    def spend(self, now: float) -> bool:
        """Take one restart from the budget; return False if none is left."""
        if self._most == math.inf:
            return True
        while self._spent and self._spent[0] <= now - self._within:
            self._spent.popleft()
        if len(self._spent) >= self._most:
            return False
        self._spent.append(now)
        return True


DEFAULT_BACKOFF: Final = Backoff(initial=1.0, maximum=60.0, jitter=0.1)


def restart(
    t: TaskForm, *, wait: float | Backoff = DEFAULT_BACKOFF, max_restarts: float = math.inf, within: float = math.inf
) -> Wrapper:
    """Return a factory of a task that is set up anew when it fails: finalised, initialised and run again.

    A failure of init counts like a failure of run. The errors that the task survives, those of finalizers included, go to
    observers and to the log, not to `Job.errors`; once the budget is spent, the error stands. A stop of the job ends the wait
    at once, and there is no further incarnation: a failure while the job is stopping is survived, too.

    The routines are called again, but the factory is not: set up in init what each incarnation needs. After an incarnation that
    lasted as long as the `maximum` of the backoff, the next wait is the `initial` one again.

    If only the call has to be repeated, use `retry`.

    Args:
        t: the task, in any of its forms.
        wait: seconds between two incarnations, or a `Backoff`; by default from 1 s up to a minute.
        max_restarts: the most restarts in any period of `within` seconds.
        within: the period of that budget in seconds; infinity is the life of the task.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    check_form("t", t)
    check_wait("wait", wait)
    check.times("max_restarts", max_restarts, least=0)
    period = check.positive_seconds("within", within)

    def change(inner: Inner) -> Inner:
        restarted = Restarted(inner, wait, max_restarts, period)
        return Inner(
            restarted.init,
            None if inner.run is None else restarted.run,
            None if inner.finalize is None else restarted.finalize,
        )

    return Wrapper(t, change)


@final
class Restarted:
    """Restarts a task after each failure that its budget allows."""

    __slots__ = (
        "_failures",
        "_incarnations",
        "_max_restarts",
        "_period",
        "_run",
        "_spent",
        "_up_since",
        "_wait",
        "finalize",
    )

    def __init__(self, inner: Inner, wait: float | Backoff, max_restarts: float, period: float) -> None:
        self._incarnations = Incarnations(inner)
        self._run = inner.run
        self._wait = wait
        self._max_restarts = max_restarts
        self._period = period
        self._spent = Budget(max_restarts, period)
        self._failures = 0  # Consecutive ones.
        self._up_since = math.inf
        self.finalize = self._incarnations.finalize

    async def init(self, task: Task) -> None:
        """Initialise within a fresh budget, because an outer wrapper may be restarting this."""
        self._spent = Budget(self._max_restarts, self._period)
        self._failures = 0
        await self._run_incarnation(task, None)

    async def run(self, task: Task) -> object:
        """Run; after a failure, finalise and initialise again."""
        if not self._incarnations.alive and task.job.stopping:  # A stop found init waiting for its next attempt.
            return None
        return await self._run_incarnation(task, self._run)

    # An interrupt between two incarnations would find neither of them.
    @enable_ki_protection
    async def _run_incarnation(self, task: Task, run: AsyncRoutine | None) -> object:
        while True:
            try:
                if not self._incarnations.alive:
                    await self._begin(task)
                return None if run is None else await call(run, task)
            except BaseException as exc:
                wait = await self._survived(task, exc)
                if wait is None:
                    raise
            if not await pause(task, wait):
                return None

    async def _begin(self, task: Task) -> None:
        self._up_since = math.inf
        await self._incarnations.begin(task)
        self._up_since = trio.current_time()

    async def _survived(self, task: Task, exc: BaseException) -> float | None:
        """End an incarnation, unless its error stands; return the seconds to wait before the next."""
        error = self._failure(task, exc)
        if error is None or not self._spent.spend(trio.current_time()):
            return None
        phase = Phase.RUN if self._incarnations.alive else Phase.INIT
        dead_scope = without_cancelled(exc) is None
        if not dead_scope:
            report_contained(task, error, phase)
        faults = await self._incarnations.end(task, exc)
        for fault in faults:
            report_contained(task, fault, Phase.FINALIZE)
        if dead_scope and not faults:
            report_contained(task, error, phase)
        return self._next_wait()

    def _failure(self, task: Task, exc: BaseException) -> Exception | None:
        """Return the failure that an exception stands for, or None if it must not be survived."""
        error = without_cancelled(exc)
        if error is not exc and (task.job.stopping or not self._incarnations.died_inside()):
            return None  # It is a cancellation from outside.
        if error is None:
            return JobCancelledError("a scope of the task was cancelled")
        return error if isinstance(error, Exception) else None

    def _next_wait(self) -> float:
        if isinstance(self._wait, Backoff) and trio.current_time() - self._up_since >= self._wait.maximum:
            self._failures = 0
        self._failures += 1
        return wait_after(self._wait, self._failures)
