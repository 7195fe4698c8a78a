"""A task, as its routines see it: its steps, its assertions, its clean-up and its job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    NamedTuple,
    NoReturn,
    Protocol,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    Unpack,
    final,
    overload,
)
from weakref import ref

import trio
from trio import current_time

from . import check
from .forms import AsyncRoutines
from .trio.clock import clock
from .trio.wakeup import Wakeup
from .words.events import Event, TaskStateChanged
from .words.exceptions import AssertFailedError, JobCancelledError, JobStateError
from .words.records import TaskError
from .words.sentinel import Sentinel
from .words.states import INIT, PHASE_RUN, TASK_FINISHED, TASK_PENDING, Phase, StopPolicy, TaskState, illegal_move
from .words.typevars import Default
from .words.user_code import shown

if TYPE_CHECKING:
    from ..log import JobLog
    from .idle_clock import IdleClock
    from .job import Job
    from .observers import Observers

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_UNSET: Final = Sentinel("unset")

# The step of the current call of run is kept in one slot, which the loop reads after each call. BETWEEN is not a step of the
# user's: the loop sets it while it waits by itself, so that a stop finds the task between two steps.
NONE, TICK, DONE, IDLE, BETWEEN = range(5)


class Host(Protocol):
    """What a task needs of the job that it belongs to."""

    _observers: Observers | None

    @property
    def stopping(self) -> bool: ...
    @property
    def log(self) -> JobLog: ...
    def _tell(self, event: Event) -> None: ...
    def _add_stop_scope(self, scope: trio.CancelScope) -> None: ...
    def _remove_stop_scope(self, scope: trio.CancelScope) -> None: ...
    def finish(self, grace: float | None = None) -> None: ...


Exit: TypeAlias = "partial[Coroutine[Any, Any, object]]"
"""Leaves a context manager: called with the three arguments of `__aexit__`, it returns a coroutine."""


class CleanupFrame(NamedTuple):
    """The exits and the guard of one incarnation of a task; a restarted task has many incarnations, in turn."""

    exits: list[Exit] | None
    guard: trio.CancelScope | None


@final
class Task:
    """One oneshot or recurrent task of a job. Made by `Job.add_task` and `Job.add_oneshot_task`, never directly.

    Routines get it as their only argument. End each call of `run` with one step (`tick`, `done`, `idle`, `finish_job`); the
    last call decides. Steps are plain calls that cannot block.
    """

    __slots__ = (
        "__weakref__",
        "_asserted",
        "_bare",
        "_cancel_expected",
        "_context",
        "_counted",
        "_ended",
        "_ended_job",
        "_entering",
        "_exits",
        "_failure",
        "_finalize",
        "_guard",
        "_host",
        "_idle",
        "_init",
        "_log",
        "_loop_scope",
        "_must_finalize",
        "_now",
        "_outer_frames",
        "_phase",
        "_placeholder_error",
        "_run",
        "_state",
        "_step",
        "_traceback",
        "_trio_task",
        "_turn",
        "index",
        "meta",
        "name",
        "policy",
        "result",
        "steps",
        "transient",
    )

    _now: Callable[[], float]  # Set if there is an idle clock.

    def __init__(  # noqa: PLR0917 - for the engine alone, and a keyword costs each task of each job
        self,
        host: Host,
        index: int,
        name: str,
        routines: AsyncRoutines,
        policy: StopPolicy,
        idle: IdleClock | None = None,
        meta: Any = None,
        transient: bool = False,
    ) -> None:
        self.index = index
        self.name = name
        self.meta = meta
        self.policy = policy
        self.transient = transient
        self.result: Any = None
        self._failure: tuple[ref[TaskError], Phase | None, BaseException] | None = None
        self.steps = 0
        self._host: Host | None = host
        self._ended_job: ref[Job[Any]] | None = None
        self._state = TASK_PENDING
        self._init, self._run, self._finalize = routines
        self._idle = idle
        self._step = NONE
        self._phase = PHASE_RUN if self._init is None else INIT  # phase to blame if the run loop raises
        self._entering = False  # True while `enter` runs.
        # Stands for the cause of a dead scope until the finalizer raises the real one.
        self._placeholder_error: TaskError | None = None
        self._bare = False  # A bare run: a coroutine function that may have been meant as a factory.
        # A wrapper cancelled its own scope in this task on purpose.
        self._cancel_expected = False
        self._counted = True  # The job counts this task among those that it waits for.
        self._must_finalize = False  # True once init was entered (or skipped): finalize must run
        self._asserted: BaseException | None = None
        self._guard: trio.CancelScope | None = None  # Shields and bounds the clean-up, once it suspends.
        self._turn: Wakeup | None = None
        self._loop_scope: trio.CancelScope | None = None
        self._exits: list[Exit] | None = None
        self._outer_frames: tuple[CleanupFrame, ...] = ()  # The frames around the present one.
        self._trio_task: trio.lowlevel.Task | None = None
        self._context: Context | None = None
        self._ended: trio.Event | None = None
        self._log: JobLog | None = None
        self._traceback: TracebackType | None = None  # The traceback of its error, before any `wait` added frames.
        if idle is not None:
            self._now = current_time
            if policy is StopPolicy.CONTAIN:  # Its idle timeout cancels its loop only.
                self._loop_scope = trio.CancelScope()

    @property
    def job(self) -> Job[Any]:
        """The job that the task belongs to; held weakly once it has ended.

        Raises:
            JobStateError: the job has ended, and nothing else keeps it alive.
        """
        job = self._host if self._host is not None else self._ended_job and self._ended_job()
        if job is None:
            raise JobStateError(f"the job of task {self.name!r} has ended, and nothing holds it any more")
        return job  # type: ignore[return-value]  # `Host` is the part of Job that this module may use

    @property
    def error(self) -> TaskError | None:
        """The first thing that went wrong in the task, if any."""
        if self._failure is None:
            return None
        record, phase, error = self._failure
        return record() or TaskError(self, phase, error)

    @property
    def state(self) -> TaskState:
        """Where the task is in its life."""
        return self._state

    @property
    def log(self) -> JobLog:
        """The job's log with this task's name and index in each record, and with `meta` for a transient task."""
        if self._log is None:
            marks = {"task": self.name, "task_index": self.index}
            if (
                self.transient and self.meta is not None
            ):  # Nothing else is left of a transient task that could identify it.
                marks["meta"] = self.meta
            self._log = self.job.log.bind(**marks)
        return self._log

    def tick(self) -> None:
        """Step: go on with the next call of `run`.

        Inside a long `run`, tick() is also a heartbeat: it restarts the idle clock.
        """
        self._step = TICK
        if self._idle is not None:
            self._idle._touched = self._now()

    def done(self, result: object = _UNSET) -> None:
        """Step: this task is finished. `result`, if given, becomes `Task.result`."""
        self._step = DONE
        if result is not _UNSET:
            self.result = result

    def idle(self) -> None:
        """Step: nothing to do just now; the next call of `run` comes after a short pause.

        The pause grows from 0 to about 50 ms and is back at 0 after a tick. The idle clock goes on.
        """
        self._step = IDLE

    def finish_job(self, grace: float | None = None) -> None:
        """Step: this task is finished, and its job should finish: `done()`, then `Job.finish(grace)`."""
        self.done()
        self.job.finish(grace)

    def assert_(self, err: object) -> None:
        """Pass if `err` is falsy.

        Raises:
            BaseException: `err` itself, if it is an exception.
            AssertFailedError: `err` is any other truthy object, which becomes the error's `value`.
        """
        if isinstance(err, BaseException) or err:
            self._fail_with(err)

    def assert_true(self, cond: object, err: object) -> None:
        """Fail with `err`, as `assert_` does, if `cond` is false."""
        if not cond:
            self._fail_with(err)

    def assert_not_none(self, value: T | None, err: object = None) -> T:
        """Return `value`; if it is None, fail with `err`, as `assert_` does."""
        if value is None:
            self._fail_with("value is None" if err is None else err)
        return value

    def _fail_with(self, err: object) -> NoReturn:
        self._asserted = err if isinstance(err, BaseException) else AssertFailedError(err)
        raise self._asserted

    def cancel_on_stop(self) -> AbstractContextManager[trio.CancelScope, bool]:
        """Cancel the block as soon as the job is asked to stop.

        Use it around waits that may be abandoned, such as a read on an idle connection, so that a graceful finish need not
        wait out its grace. `run` may then return without a step.
        """
        return _CancelOnStop(self.job)

    async def until_stop(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[T]],
        *args: *Ts,
        default: Default = None,  # type: ignore[assignment]  # None is the type's own default
    ) -> T | Default:
        """Return the result of `await fn(*args)`, or `default` if the job is asked to stop meanwhile, which cancels the call.

        This is `cancel_on_stop` around a single wait: `data = await task.until_stop(stream.receive_some, default=b"")`.

        Args:
            fn: an async function, not called yet.
            *args: the arguments of `fn`.
            default: the result of a call that a stop has cut.

        Raises:
            BaseException: `fn` raised it.
            TypeError: `fn` is not callable.
        """
        check.uncalled("fn", fn)
        with self.cancel_on_stop():
            return await fn(*args)
        return default

    def busy(self) -> AbstractContextManager[None]:
        """Stop the task's idle clock while the block runs: for long work that cannot tick, such as work in a thread.

        A shared clock stops for all its holders. Without an idle timeout this does nothing.
        """
        return nullcontext() if self._idle is None else self._idle.busy()

    @overload
    async def enter(self, context_manager: AbstractAsyncContextManager[T]) -> T: ...
    @overload
    async def enter(self, context_manager: AbstractContextManager[T]) -> T: ...
    async def enter(self, context_manager: Any) -> Any:
        """Enter a context manager, and leave it right after the task's finalizer: clean-up without writing a finalizer.

        This is like an `async with` (or `with`) opened at this line: the exit receives the error or cancellation that ended the
        task. Several context managers are left in reverse order, within the job's `finalize_timeout`.

        Do not call this inside a block that opened a scope or nursery of its own: the two would not nest.

        Returns:
            The value of `__aenter__` or `__enter__`.

        Raises:
            JobStateError: the caller is not in the task's own trio task.
            TypeError: the argument is not a context manager.
        """
        if self._trio_task is None or trio.lowlevel.current_task() is not self._trio_task:
            raise JobStateError(f"enter() of task {self.name!r} was called outside of the task's own trio task")
        kind = type(context_manager)
        is_async = hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")
        if not is_async and not (hasattr(kind, "__enter__") and hasattr(kind, "__exit__")):
            raise TypeError(
                f"context_manager must have __aenter__ or __enter__, and an exit, got {shown(context_manager)}"
            )
        if self._turn is None:
            self._turn = Wakeup()
        before, self._entering = self._entering, True
        try:
            value = await kind.__aenter__(context_manager) if is_async else kind.__enter__(context_manager)
        finally:
            self._entering = before
        if self._exits is None:
            self._exits = []
        leave: Callable[..., Coroutine[Any, Any, object]] = _leave if is_async else _leave_plain
        self._exits.append(partial(leave, context_manager))
        return value

    async def wait(self) -> Any:
        """Wait until the task's run loop is over, and return `result`.

        Raises:
            BaseException: the task's own error, if it FAILED.
            JobCancelledError: the task was CANCELLED.
        """
        if not self._state._moves:
            await trio.lowlevel.checkpoint()
        else:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()
        if self._state is TaskState.FAILED and self.error is not None:
            # Otherwise each waiter would add its own frames to the traceback for good.
            if self._traceback is None:
                self._traceback = self.error.error.__traceback__
            try:
                raise BaseException.with_traceback(self.error.error, self._traceback)
            finally:
                del self  # The traceback refers to this frame.
        if self._state is TaskState.CANCELLED:
            raise JobCancelledError(f"task {self.name!r} was cancelled")
        return self.result

    def _opens_for_life(self) -> bool:
        """Return True if whatever its routine opens now is closed by its finalizer or exits."""
        return self._entering or self._phase is INIT

    def _move(self, new: TaskState) -> None:
        """Move to the next state. No other code writes the state."""
        old = self._state
        if new not in old._moves:
            raise illegal_move(old, new)
        self._state = new
        host = self._host
        if host is not None and host._observers is not None:
            host._tell(TaskStateChanged(self, old, new, clock()))
        if self._ended is not None and not new._moves:
            self._ended.set()

    def _failed_with(self, failure: TaskError) -> None:
        """Record what went wrong, by a weak reference, because the record refers to the task."""
        self._failure = (ref(failure), failure.phase, failure.error)

    def _let_go(self, job: ref[Job[Any]]) -> None:
        """Hold the job weakly from now on, because it has ended or has dropped this task."""
        self._host, self._ended_job = None, job

    def _cancel_unrun(self) -> None:
        self._move(TaskState.CANCELLED)

    def _retire(self) -> None:
        """Drop what only a running task needs; the Task object may outlive its job."""
        self._init = self._finalize = self._guard = self._turn = None

    def _push_frame(self) -> None:
        """Open a frame inside the present one, with its own exits and guard; `Finalizers` closes the innermost frame first."""
        self._outer_frames = (*self._outer_frames, CleanupFrame(self._exits, self._guard))
        self._exits = None
        self._guard = trio.CancelScope()
        self._guard.__enter__()

    def _pop_frame(self) -> None:
        """Close the guard and return to the outer frame; after the last frame close the scope of the loop."""
        try:
            if self._guard is not None:
                self._guard.__exit__(None, None, None)
        finally:
            if self._outer_frames:
                *around, (self._exits, self._guard) = self._outer_frames
                self._outer_frames = tuple(around)
            elif self._loop_scope is not None:
                self._loop_scope.__exit__(None, None, None)

    @property
    def _cut_alone(self) -> bool:
        """True if only this task's loop was cancelled and the others go on."""
        return self._loop_scope is not None and self._loop_scope.cancel_called

    @property
    def completed(self) -> bool:
        """True if the task came to its own end, by `done()` or for lack of a run, and was neither cut nor stopped."""
        return self._state is TASK_FINISHED and (self._step == DONE or (self.steps == 0 and self._step == NONE))

    @property
    def ended(self) -> bool:
        """True in a terminal state."""
        return not self._state._moves

    def __repr__(self) -> str:
        return f"<Task {self.index} {self.name!r} {self._state.value}>"


# Blocks that users open are classes, not generators: a generator would change a StopIteration, and an error that cannot be
# written to.
@final
class _CancelOnStop:
    """The block of `Task.cancel_on_stop`."""

    __slots__ = ("_host", "_scope")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._scope = trio.CancelScope()

    def __enter__(self) -> trio.CancelScope:
        self._scope.__enter__()
        self._host._add_stop_scope(self._scope)
        return self._scope

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._host._remove_stop_scope(self._scope)
        return self._scope.__exit__(exc_type, exc, traceback)


async def _leave(manager: Any, *raised: Any) -> None:
    await type(manager).__aexit__(manager, *raised)


async def _leave_plain(manager: Any, *raised: Any) -> None:
    type(manager).__exit__(manager, *raised)
