"""The manager of background tasks: a job that its tasks cannot bring down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Literal, TypeVarTuple, Unpack, final
from weakref import WeakSet

import trio

from .._core import check
from .._core.border import is_halted, leave_block, report_contained, start_helper
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

    A task that fails never touches the others: its error goes to the observers and, as one warning line, to the log. The
    block's end closes the manager and waits for its tasks; a block that raises cancels them, and its error goes on bare. A
    manager holds its living tasks and nothing of those that have ended.

    Generic in the metadata that its tasks carry: `Manager[Request]()`.

    For tasks that depend on each other use a `Job`.

    Each record of its tasks carries the manager's name as `job`, the name of the job around it as `owner`, and the task's
    metadata as `meta`.

    Args:
        name: for the log; a name of its own tells it from other managers.
        observers: hear of the tasks, each with its metadata as `event.task.meta`. They are called where the event happens: a
            slow one holds everything up, a failing one is logged once and otherwise passed over.
        stalled_after: seconds that a run, or one iteration of a loop, may take before it is reported as `TaskStalled`, once.
            Nobody is stopped.
        retry: for the tasks that are not given one of their own.
        quiet: expected exception types: a failure of these, or of a group of nothing else, is a line at
            level 1.
        fields: go into every record.
        parent: the job around it, with which it ends; by default the one whose code is running, None detaches.

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
        """Start the tasks, those that were added before included.

        Raises:
            JobStateError: it has been entered before.
        """
        self._name_owner()
        await self._job.__aenter__()
        if self._stalls is not None:
            start_helper(self._job, self._stalls.run)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close as `aclose` does, without a timeout; where the block raised, or the wait is cancelled, cancel everything.

        Raises:
            BaseException: the error of the block; or what nobody may contain (KeyboardInterrupt, say) out of a task.
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
            del self, exc, traceback, raised, error  # the traceback of what is raised holds this frame

    def _name_owner(self) -> None:
        """Let the records say whose the tasks are, unless the manager's own fields do: the job that enters it."""
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
            meta: anything, kept as `Task.meta`.
            retry: when to call it again after a failure; the manager's by default, `Retry(1)` for never.

        Returns:
            The task. Its `result` is what `fn` returned; `await task.wait()` gives that, or raises the error.

        Raises:
            JobStateError: the manager is closing, or has closed; nothing was called.
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

        An iteration that fails is reported, and the loop goes on. Where its pause is shorter than 0.05 seconds it waits for so
        long then, twice as long after each further failure in a row, a second at most.

        Args:
            fn: `async def` or plain; the task is named after it.
            meta: anything, kept as `Task.meta`.
            pause: seconds between the end of one call and the beginning of the next.
            retry: when to call it again within an iteration; the manager's by default, `Retry(1)` for never.

        Raises:
            JobStateError: the manager is closing, or has closed; nothing was called.
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
        """Return True also when empty: `if manager` asks whether there is one."""
        return True

    def __len__(self) -> int:
        """Return how many tasks are living."""
        return len(self._job.tasks)

    def count(self, kind: Literal["run", "loop"]) -> int:
        """Return how many of the living tasks came by `run`, or by `loop`.

        Raises:
            ValueError: `kind` is neither.
        """
        if kind not in ("run", "loop"):
            raise ValueError(f"kind must be 'run' or 'loop', got {kind!r}")
        return sum((task in self._loops) is (kind == "loop") for task in self._job.tasks)

    async def wait(self) -> None:
        """Wait until the manager is closed and empty; it does not close it, and raises nothing."""
        await self._job.wait()

    def cancel(self) -> None:
        """Cancel everything, now, and take no more tasks. The block goes on."""
        self._job.finish(0)

    async def aclose(self, timeout: float = math.inf) -> None:
        """Take no more tasks, and wait: runs are awaited, loops end after their iteration.

        What is left after `timeout` seconds (0: at once) is cancelled, each task named by a `StopTimeoutError`: the observers
        hear it as `TaskFailed`, the log gets a warning line. A second call may set a shorter time. Where the wait itself is
        cancelled, the manager stays closed and its tasks go on to their end.

        Raises:
            ValueError: `timeout` is negative.
        """
        seconds = check.seconds("timeout", timeout)
        if seconds > 0:
            self._job.finish(math.inf)
            with trio.move_on_after(seconds):
                await self._job.wait()
        if not self._job.ended:
            if not is_halted(self._job):  # else somebody was here before
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
