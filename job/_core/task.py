"""A task: what its routines see of themselves and of their job."""

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

# The step of the current call of run, in one slot: the loop reads it after each call. BETWEEN is no step of the user's; the
# loop sets it while it waits on its own account, where a stop finds the task between two steps.
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
"""Leaves a context manager: called with the three of `__aexit__`, it gives a coroutine."""


class CleanupFrame(NamedTuple):
    """What a task must close around its present incarnation. A task that is restarted has many, in turn."""

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

    _now: Callable[[], float]  # where there is an idle clock

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
        self._entering = False  # in `enter`, for the life of the task
        # For what killed a scope of its own, until its finalizer tells
        self._placeholder_error: TaskError | None = None
        self._bare = False  # given as a coroutine function, which might have been meant for a factory
        # A scope that a wrapper has opened in it is cancelled, and that is as it should be
        self._cancel_expected = False
        self._counted = True  # the job waits for it
        self._must_finalize = False  # True once init was entered (or skipped): finalize must run
        self._asserted: BaseException | None = None
        self._guard: trio.CancelScope | None = None  # shields and bounds the cleaning up, once that needs it
        self._turn: Wakeup | None = None
        self._loop_scope: trio.CancelScope | None = None
        self._exits: list[Exit] | None = None
        self._outer_frames: tuple[CleanupFrame, ...] = ()  # those that the present one is inside of
        self._trio_task: trio.lowlevel.Task | None = None
        self._context: Context | None = None
        self._ended: trio.Event | None = None
        self._log: JobLog | None = None
        self._traceback: TracebackType | None = None  # of its error, as it was before anybody waited
        if idle is not None:
            self._now = current_time
            if policy is StopPolicy.CONTAIN:  # its idle clock cancels its loop and nothing else
                self._loop_scope = trio.CancelScope()

    @property
    def job(self) -> Job[Any]:
        """The job that the task belongs to; held weakly once that has ended.

        Raises:
            JobStateError: it has ended, and nothing else holds it any more.
        """
        job = self._host if self._host is not None else self._ended_job and self._ended_job()
        if job is None:
            raise JobStateError(f"the job of task {self.name!r} has ended, and nothing holds it any more")
        return job  # type: ignore[return-value]  # `Host` is the part of Job that this module may use

    @property
    def error(self) -> TaskError | None:
        """What went wrong in the task first, if anything did."""
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
        """The job's log, its records marked with this task's name and index, and with the `meta` of a transient one."""
        if self._log is None:
            marks = {"task": self.name, "task_index": self.index}
            if self.transient and self.meta is not None:  # of which nothing else is left that could tell
                marks["meta"] = self.meta
            self._log = self.job.log.bind(**marks)
        return self._log

    def tick(self) -> None:
        """Step: go on with the next call of `run`.

        Inside a long `run` it is also a heartbeat: it restarts the idle clock.
        """
        self._step = TICK
        if self._idle is not None:
            self._idle._touched = self._now()

    def done(self, result: object = _UNSET) -> None:
        """Step: this task is finished. `result`, where given, becomes `Task.result`."""
        self._step = DONE
        if result is not _UNSET:
            self.result = result

    def idle(self) -> None:
        """Step: nothing to do just now; the next call of `run` comes after a short pause.

        The pause grows from nothing to about 50 ms and is back at nothing after a tick. The idle clock goes on.
        """
        self._step = IDLE

    def finish_job(self, grace: float | None = None) -> None:
        """Step: this task is finished, and so is the job: `done()`, then `Job.finish(grace)`."""
        self.done()
        self.job.finish(grace)

    def assert_(self, err: object) -> None:
        """Pass where `err` is falsy.

        Raises:
            BaseException: `err` itself where it is an exception.
            AssertFailedError: `err` is anything else that is true; it is the error's `value`.
        """
        if isinstance(err, BaseException) or err:
            self._fail_with(err)

    def assert_true(self, cond: object, err: object) -> None:
        """Fail with `err`, as `assert_` does, where `cond` is false."""
        if not cond:
            self._fail_with(err)

    def assert_not_none(self, value: T | None, err: object = None) -> T:
        """Return `value`; where it is None, fail with `err`, as `assert_` does."""
        if value is None:
            self._fail_with("value is None" if err is None else err)
        return value

    def _fail_with(self, err: object) -> NoReturn:
        self._asserted = err if isinstance(err, BaseException) else AssertFailedError(err)
        raise self._asserted

    def cancel_on_stop(self) -> AbstractContextManager[trio.CancelScope, bool]:
        """Cancel the block as soon as the job is asked to stop.

        It marks the waits that may be abandoned (a read on an idle connection), so that a graceful finish need not sit out
        its grace; returning from `run` without a step is then fine.
        """
        return _CancelOnStop(self.job)

    async def until_stop(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[T]],
        *args: *Ts,
        default: Default = None,  # type: ignore[assignment]  # which is what it stands for where it is left out
    ) -> T | Default:
        """Return what `await fn(*args)` gives; or `default` where the job is asked to stop meanwhile, which cancels the call.

        It is `cancel_on_stop` around a single wait: `data = await task.until_stop(stream.receive_some, default=b"")`.

        Args:
            fn: an async function, not called yet, and its arguments after it.
            default: what stands for the result of a call that a stop has cut.

        Raises:
            BaseException: what `fn` raises.
            TypeError: `fn` cannot be called.
        """
        check.uncalled("fn", fn)
        with self.cancel_on_stop():
            return await fn(*args)
        return default

    def busy(self) -> AbstractContextManager[None]:
        """Stop the task's idle clock while the block runs: for work that takes long and cannot tick, in a thread say.

        With a shared clock it stops for all holders; without an idle timeout it does nothing.
        """
        return nullcontext() if self._idle is None else self._idle.busy()

    @overload
    async def enter(self, context_manager: AbstractAsyncContextManager[T]) -> T: ...
    @overload
    async def enter(self, context_manager: AbstractContextManager[T]) -> T: ...
    async def enter(self, context_manager: Any) -> Any:
        """Enter a context manager, and leave it right after the task's finalizer: cleanup without writing a finalizer.

        Like an `async with` (or `with`) opened at this line: it hears of the error or cancellation that ended the task.
        Several are left in reverse order, within the job's `finalize_timeout`.

        Not to be called inside a block that opened a scope or nursery of its own: the two would not nest.

        Returns:
            What entering gave.

        Raises:
            JobStateError: called from another trio task than the task's own.
            TypeError: it is no context manager.
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
            BaseException: the task's own error, where it FAILED.
            JobCancelledError: the task was CANCELLED.
        """
        if not self._state._moves:
            await trio.lowlevel.checkpoint()
        else:
            if self._ended is None:
                self._ended = trio.Event()
            await self._ended.wait()
        if self._state is TaskState.FAILED and self.error is not None:
            # Else each waiter would leave its own frames in the traceback, for good.
            if self._traceback is None:
                self._traceback = self.error.error.__traceback__
            try:
                raise BaseException.with_traceback(self.error.error, self._traceback)
            finally:
                del self  # the traceback holds this frame
        if self._state is TaskState.CANCELLED:
            raise JobCancelledError(f"task {self.name!r} was cancelled")
        return self.result

    def _opens_for_life(self) -> bool:
        """Whether what its routine opens just now is closed by its finalizer or exits."""
        return self._entering or self._phase is INIT

    def _move(self, new: TaskState) -> None:
        """Move to the next state: the one place that writes it."""
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
        """Take down what went wrong; weakly, as the record holds the task."""
        self._failure = (ref(failure), failure.phase, failure.error)

    def _let_go(self, job: ref[Job[Any]]) -> None:
        """Hold the job weakly from now on: it has ended, or has forgotten this task."""
        self._host, self._ended_job = None, job

    def _cancel_unrun(self) -> None:
        self._move(TaskState.CANCELLED)

    def _retire(self) -> None:
        """Drop what only a running task needs; the Task object may outlive its job."""
        self._init = self._finalize = self._guard = self._turn = None

    def _push_frame(self) -> None:
        """Open a frame inside the present one, with exits and a guard of its own; `Finalizers` closes it first."""
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
        """Whether this task's loop was cancelled while the others go on."""
        return self._loop_scope is not None and self._loop_scope.cancel_called

    @property
    def completed(self) -> bool:
        """Whether it has come to its own end: by a `done()`, or without a run; neither cut nor stopped between two steps."""
        return self._state is TASK_FINISHED and (self._step == DONE or (self.steps == 0 and self._step == NONE))

    @property
    def ended(self) -> bool:
        """Whether the state is a terminal one."""
        return not self._state._moves

    def __repr__(self) -> str:
        return f"<Task {self.index} {self.name!r} {self._state.value}>"


# Blocks that users open are classes, not generators: what goes through a generator comes out changed where it is a
# StopIteration, or an error that cannot be written to.
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
