"""The manager of background tasks: a job that its tasks cannot bring down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Literal, TypeVarTuple, Unpack, final
from weakref import WeakSet

import trio

from .._core import check
from .._core.block import leave_block
from .._core.border import is_halted, report_contained, start_helper
from .._core.context import current_job
from .._core.job import CURRENT_JOB, Job
from .._core.retry import Retry
from .._core.task import Task
from .._core.words.events import Observer
from .._core.words.exceptions import StopTimeoutError
from .._core.words.states import StopPolicy
from .._core.words.typevars import Meta
from .._core.work import Work
from ._routines import Loop, Once, Routine
from ._stalls import StallWatch

Ts = TypeVarTuple("Ts")


@final
class Manager(Generic[Meta]):
    """Runs functions in the background, once or in a loop, for as long as its block is open.

    A task that fails never affects the others: its error goes to the observers and, as one warning line, to the log. The
    block's end closes the manager and waits for its tasks; a block that raises cancels them, and its error comes out bare. A
    manager holds its living tasks, and nothing of those that have ended.

    Generic in the metadata that its tasks carry: `Manager[Request]()`.

    For tasks that depend on each other, use a `Job`.

    Each record of its tasks carries the manager's name as `job`, the name of the job around it as `owner`, and the task's
    metadata as `meta`.

    Args:
        name: the name in the log; a distinct name tells it from other managers.
        observers: receive the events of the tasks, with the metadata as `event.task.meta`. They are called where the event
            happens: a slow observer holds everything up, and a failing one is logged once and otherwise ignored.
        stalled_after: seconds that a run, or one iteration of a loop, may take before it is reported once as `TaskStalled`. It
            is not stopped.
        retry: the default for tasks without their own.
        quiet: expected exception types: a failure of these, or of a group of nothing else, is one line at level 1.
        fields: fields of every record.
        parent: the job around the manager, which ends with it; by default the running job. None detaches it.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """

    __slots__ = ("__weakref__", "_detached", "_job", "_loops", "_retry", "_stalls")

    def __init__(
        self,
        *,
        name: str = "background",
        observers: Iterable[Observer] = (),
        stalled_after: float = math.inf,
        retry: Retry | None = None,
        quiet: Iterable[type[BaseException]] = (),
        fields: dict[str, Any] | None = None,
        parent: Job[Any] | None = CURRENT_JOB,
    ) -> None:
        seconds = check.positive_seconds("stalled_after", stalled_after)
        self._stalls = None if seconds == math.inf else StallWatch(seconds)
        self._retry = _checked_retry(retry)
        self._job = Job[None](name=name, keep_open=True, observers=observers, quiet=quiet, fields=fields, parent=parent)
        self._detached = parent is None
        self._loops: WeakSet[Task] = WeakSet()

    async def __aenter__(self) -> Manager[Meta]:
        """Start the tasks, including those that were added before.

        Raises:
            JobStateError: the manager has been entered before.
        """
        self._name_owner()
        await self._job.__aenter__()
        if self._stalls is not None:
            start_helper(self._job, self._stalls.run)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close as `aclose` does, without a timeout; if the block raised, or the wait is cancelled, cancel everything.

        Raises:
            BaseException: the error of the block, or an error of a task that must not be contained, such as KeyboardInterrupt.
        """
        raised = exc
        if raised is None:
            try:
                await self.aclose()
            except BaseException as cut:
                raised = cut
        error = await leave_block(self._job, raised)
        try:
            if error is not None and error is not exc:
                raise error
            return error is None
        finally:
            del self, exc, traceback, raised, error  # The traceback of the raised error refers to this frame.

    def _name_owner(self) -> None:
        """Put the name of the job that enters the manager into the records as `owner`, unless `fields` has one."""
        owner = None if self._detached else current_job() or self._job.parent
        if owner is not None:
            self._job.fields.setdefault("owner", owner.name)

    def run(
        self,
        fn: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        meta: Meta | None = None,
        retry: Retry | None = None,
    ) -> Task:
        """Call `fn(*args)` once, in the background.

        Args:
            fn: `async def` or plain; the task is named after it.
            *args: the arguments of `fn`.
            meta: any object, kept as `Task.meta`.
            retry: when to call `fn` again after a failure; by default as the manager's, `Retry(1)` for never.

        Returns:
            The task. Its `result` is the return value of `fn`; `await task.wait()` returns that, or raises the error.

        Raises:
            JobStateError: the manager is closing, or has closed; `fn` was not called.
        """
        return self._add(Once(Work(fn, args), self._chosen(retry), self._stalls), meta)

    def loop(
        self,
        fn: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        meta: Meta | None = None,
        pause: float = 0.0,
        retry: Retry | None = None,
    ) -> Task:
        """Call `fn(*args)` again and again, in the background, until the manager closes.

        An iteration that fails is reported, and the loop goes on. If its pause is shorter than 0.05 seconds, it then waits 0.05
        seconds, and twice as long after each further consecutive failure, up to one second.

        Args:
            fn: `async def` or plain; the task is named after it.
            *args: the arguments of `fn`.
            meta: any object, kept as `Task.meta`.
            pause: seconds between the end of one call and the beginning of the next.
            retry: when to call `fn` again within an iteration; by default as the manager's, `Retry(1)` for never.

        Raises:
            JobStateError: the manager is closing, or has closed; `fn` was not called.
        """
        seconds = check.seconds("pause", pause)
        task = self._add(Loop(Work(fn, args), seconds, self._chosen(retry), self._stalls), meta)
        self._loops.add(task)
        return task

    def _add(self, routine: Routine, meta: Meta | None) -> Task:
        return self._job.add_task(routine, name=routine.name, policy=StopPolicy.CONTAIN, meta=meta, transient=True)

    def _chosen(self, retry: Retry | None) -> Retry | None:
        return self._retry if retry is None else _checked_retry(retry)

    def __bool__(self) -> bool:
        """Return True, also when empty: `if manager` asks whether there is a manager."""
        return True

    def __len__(self) -> int:
        """Return how many tasks are living."""
        return len(self._job.tasks)

    def count(self, kind: Literal["run", "loop"]) -> int:
        """Return how many of the living tasks were started by `run`, or by `loop`.

        Raises:
            ValueError: `kind` is neither `run` nor `loop`.
        """
        if kind not in ("run", "loop"):
            raise ValueError(f"kind must be 'run' or 'loop', got {kind!r}")
        return sum((task in self._loops) is (kind == "loop") for task in self._job.tasks)

    async def wait(self) -> None:
        """Wait until the manager is closed and empty. This does not close it, and raises nothing."""
        await self._job.wait()

    def cancel(self) -> None:
        """Cancel all tasks at once, and accept no more. The block goes on."""
        self._job.finish(0)

    async def aclose(self, timeout: float = math.inf) -> None:
        """Accept no more tasks, and wait: runs are awaited, loops end after their iteration.

        Tasks that are left after `timeout` seconds (0: at once) are cancelled. Each is named by a `StopTimeoutError`, which
        observers receive as `TaskFailed` and the log as a warning line. A second call may set a shorter time. If the wait
        itself is cancelled, the manager stays closed and its tasks go on to their end.

        Raises:
            ValueError: `timeout` is negative.
        """
        seconds = check.seconds("timeout", timeout)
        if seconds > 0:
            self._job.finish(math.inf)
            with trio.move_on_after(seconds):
                await self._job.wait()
        if not self._job.ended:
            if not is_halted(self._job):  # Otherwise an earlier call has done it.
                self._name_the_rest(seconds)
            self.cancel()
            await self._job.wait()

    def _name_the_rest(self, seconds: float) -> None:
        for task in self._job.tasks:
            if not task.ended:
                error = StopTimeoutError(
                    f"task {task.name!r} had not ended {seconds:g} s after its manager was asked to close"
                )
                report_contained(task, error)

    def __repr__(self) -> str:
        return f"<Manager {self._job.name!r} {self._job.state.value}, {self.count('run')} runs, {self.count('loop')} loops>"


def _checked_retry(retry: Retry | None) -> Retry | None:
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry must be a Retry or None, got {retry!r}")
    return retry
