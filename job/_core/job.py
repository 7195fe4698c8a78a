"""The job: a set of concurrently running tasks that stand or fall together."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, TypeAlias, final
from weakref import ref

import trio
from trio import TASK_STATUS_IGNORED
from trio.lowlevel import enable_ki_protection

from ..log import JobLog, Logger, Loggers, checked_registration
from . import check
from .block import Block, leave_block
from .context import current_job, current_task
from .family import Children, end_unrun, finish_family, join
from .forms import TaskForm, form_name, make_routines
from .idle_clock import IdleClock
from .observers import Observers, entries_of
from .outcome import outcome
from .plan import FINALIZE_TIMEOUT, NEVER, NO_GRACE, checked_limits
from .registry import job_ended
from .report import report_end
from .run.held_signals import HeldSignals
from .run.lifecycle import JobRun
from .run.stop import Stoppable
from .run.stop_record import ErrorWrapper, StopRecord, as_error
from .start import mark_started, run_contained, run_to_end, tell_started
from .task import Task
from .trio.clock import clock
from .waiters import Waiters, waiters_of
from .words.events import Event, JobEnded, JobStateChanged, Observer, TaskAdded
from .words.exceptions import JobStateError
from .words.records import Cause, CauseKind, JobStatistics, TaskError, TaskStatistics, Verdict
from .words.sentinel import Sentinel
from .words.states import ERROR, JOB_DONE, JOB_NEW, STOP_GROUP, JobState, StopPolicy, illegal_move
from .words.typevars import V
from .words.user_code import reserve_stack, shown

P = ParamSpec("P")
ShutdownHook: TypeAlias = Callable[[BaseException], Awaitable[object] | object]

_ids: Final = itertools.count(1)
CURRENT_JOB: Final[Any] = Sentinel("the current job")
_EMPTY: Final = ()
_NO_VALUE: Final[Any] = None


@final
class Job(Generic[V]):
    """A set of concurrently running tasks that depend on each other: if one fails, all that was set up is torn down.

    A job holds at most one oneshot task, which establishes what the others rely on and leaves it in `value`, plus any number
    of recurrent tasks, which start when it has succeeded. It runs once. For a single unit of work use a plain nursery.

    Args:
        value: what the tasks share, until the oneshot puts something else in its place.
        name: for logs, notes and traces; `job-<id>` by default.
        timeout: seconds for everything up to the finalizers; then the job is cancelled with `JobTimeoutError`.
        grace: seconds that `finish` gives the tasks to come to their next step, by default none.
        finalize_timeout: seconds for the finalizer and the exits of each task.
        stop_timeout: seconds for the whole stop: `on_shutdown`, children and finalizers together.
        keep_open: stay up, with or without tasks, until `finish` or `cancel`.
        parent: the job that this one ends with; by default the one whose code is running, None detaches.
        error_wrapper: maps the error that interrupts the job, once, before it is recorded anywhere.
        on_shutdown: called with that error, plain or async, once the run loops of a cancelled job have exited.
        quiet: expected exception types (a peer's faults, say), and groups of nothing else: logged at level 1, without a
            traceback.
        fields: go into every record of the job.
        observers: hear the job's events.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_children",
        "_detached",
        "_ended",
        "_ended_at",
        "_fields",
        "_has_group",
        "_hidden",
        "_id",
        "_keep_open",
        "_last_index",
        "_left_work",
        "_limits",
        "_log",
        "_loggers",
        "_loud",
        "_name",
        "_observers",
        "_on_end",
        "_on_ready",
        "_on_shutdown",
        "_oneshot",
        "_parent",
        "_quiet",
        "_ready",
        "_run",
        "_signals",
        "_started",
        "_started_at",
        "_state",
        "_steps_of_gone",
        "_stop_record",
        "_tasks",
        "_verdict",
        "_waiters",
        "_watches_idle",
        "value",
    )

    _ended_at: float | None
    _loggers: Loggers

    def __init__(
        self,
        value: V = _NO_VALUE,  # Job[Stream]() says what the oneshot is going to put there
        *,
        name: str | None = None,
        timeout: float = NEVER,
        grace: float = NO_GRACE,
        finalize_timeout: float = FINALIZE_TIMEOUT,
        stop_timeout: float = NEVER,
        keep_open: bool = False,
        parent: Job[Any] | None = CURRENT_JOB,
        error_wrapper: ErrorWrapper | None = None,
        on_shutdown: ShutdownHook | None = None,
        quiet: Iterable[type[BaseException]] = _EMPTY,
        fields: dict[str, Any] | None = None,
        observers: Iterable[Observer] = _EMPTY,
    ) -> None:
        # Checked is what is given, which in most jobs is next to nothing.
        self.value = value
        self._id = next(_ids)
        self._name = name if name is None else check.str_("name", name)
        self._fields = {} if fields is None else check.fields("fields", fields)
        self._limits = checked_limits(timeout, grace, finalize_timeout, stop_timeout)
        self._keep_open = keep_open if keep_open is False else check.bool_("keep_open", keep_open)
        self._on_shutdown = on_shutdown if on_shutdown is None else check.function("on_shutdown", on_shutdown)
        self._quiet = _EMPTY if quiet is _EMPTY else check.exception_types("quiet", quiet)
        self._loud: BaseException | None = None  # an error that `quiet` does not hold for
        self._state = JOB_NEW
        self._oneshot: Task | None = None
        self._tasks: dict[int, Task] = {}
        self._last_index = 0
        self._has_group = False
        self._watches_idle = False
        self._stop_record = StopRecord(
            error_wrapper
            if error_wrapper is None
            else check.plain("error_wrapper", check.function("error_wrapper", error_wrapper))
        )
        self._run: JobRun | None = None
        self._verdict: Verdict | None = None
        self._started_at: float | None = None
        self._ended = False
        self._ready = False
        self._hidden = False  # from what looks into the program: it is a part of that
        self._on_ready: Callable[[], None] | None = None
        self._on_end: Callable[[Job[Any]], None] | None = None  # a last word before observers and log hear of it
        self._block: Block | None = None
        self._detached = parent is None
        self._started = False
        self._children: Children | None = None
        self._waiters: Waiters | None = None
        self._signals: HeldSignals | None = None
        self._log: JobLog | None = None
        self._steps_of_gone = 0
        self._left_work = False  # a task that is gone has
        self._parent = join(self, _job_around() if parent is CURRENT_JOB else _checked_parent(parent))
        entries = _EMPTY if observers is _EMPTY else entries_of(observers)
        self._observers = Observers(entries, self.log) if entries else None

    def add_oneshot_task(self, factory: TaskForm, *, name: str | None = None, meta: Any = None) -> Task:
        """Add the task that establishes what the others rely on; they start when it is done.

        Args:
            factory: a factory `(job) -> (init, run, finalize)`, a bare `async def run(task)`, or an object with `run(task)`.
            name: by default the factory's own.
            meta: anything, kept as `Task.meta`.

        Raises:
            JobStateError: there is one already, or the job has been started.
        """
        if self._oneshot is not None:
            raise JobStateError(f"job {self.name!r} has a oneshot task already: {self._oneshot.name!r}")
        if self._started or self._ended:
            raise JobStateError(
                f"a oneshot task must be added before job {self.name!r} runs, it is {self._state.value}"
            )
        routines = make_routines(factory, self)
        task_name = form_name(factory) if name is None else check.str_("name", name)
        task = Task(self, 0, task_name, routines, ERROR, None, meta)
        task._bare = routines[1] is factory
        self._oneshot = task
        if self._observers is not None:
            self._tell(TaskAdded(task, clock()))
        return task

    def add_task(
        self,
        factory: TaskForm,
        *,
        name: str | None = None,
        idle_timeout: float | IdleClock | None = None,
        policy: StopPolicy = StopPolicy.ERROR,
        meta: Any = None,
        transient: bool = False,
    ) -> Task:
        """Add a recurrent task, before the job runs or while it does.

        Added to a running job it is initialised and started at once; during the oneshot it queues behind it.

        Args:
            factory: a factory `(job) -> (init, run, finalize)`, a bare `async def run(task)`, or an object with `run(task)`.
            name: by default the factory's own.
            idle_timeout: seconds that it may go without a tick, or an `IdleClock` that it shares with others.
            policy: what its end means for the job.
            meta: anything, kept as `Task.meta`.
            transient: with `StopPolicy.CONTAIN` only: finalise it as soon as its loop ends, and forget it.

        Raises:
            JobStateError: the job has begun to stop; nothing was called.
            RuntimeError: the job runs in another thread or trio run; nothing was called.
        """
        if self._run is not None:
            self._check_run("add_task")
            reserve_stack()
        if (self._state is not JOB_NEW or self._stop_record.stopping) and self._takes_no_more():
            raise JobStateError(f"job {self.name!r} takes no more tasks, it is {self._state.value}")
        if not isinstance(policy, StopPolicy):
            raise TypeError(f"policy must be a StopPolicy, got {policy!r}")
        if transient is not False and check.bool_("transient", transient) and policy is not StopPolicy.CONTAIN:
            raise ValueError(f"transient needs policy=StopPolicy.CONTAIN, got {policy}")
        idle = None if idle_timeout is None else _idle_clock(idle_timeout)
        routines = make_routines(factory, self)
        task_name = form_name(factory) if name is None else check.str_("name", name)
        index = self._last_index = self._last_index + 1
        task = self._tasks[index] = Task(self, index, task_name, routines, policy, idle, meta, transient)
        task._bare = routines[1] is factory
        if idle is not None:
            self._watches_idle = True
        if policy is STOP_GROUP and task._run is not None:
            self._has_group = True
        if self._observers is not None:
            self._tell(TaskAdded(task, clock()))
        if self._run is not None:
            self._run.add(task)
        return task

    def _takes_no_more(self) -> bool:
        return self._stop_record.stopping or self._ended or (self._run is not None and self._run.loops_have_exited())

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks in the order of their indexes."""
        recurrent = tuple(self._tasks.values())
        return recurrent if self._oneshot is None else (self._oneshot, *recurrent)

    def get_task(self, index: int) -> Task | None:
        """Return the task with this index, or None; the oneshot has index 0."""
        if not isinstance(index, int):
            raise TypeError(f"index must be an int, got {shown(index)}")
        return self._oneshot if index == 0 else self._tasks.get(index)

    @enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[V] = TASK_STATUS_IGNORED) -> JobState:
        """Run the job in the foreground, finalizers included.

        Works with `nursery.start`: `started(value)` is called once the oneshot is done; without one, once all inits are.

        Returns:
            `JobState.DONE`; `JobState.CANCELLED` only where a parent elsewhere cancelled the job.

        Raises:
            BaseException: the error that interrupted the job, itself, with a note that names job, task and phase.
            trio.Cancelled: an outer scope or the parent cancelled the job; the finalizers have run.
            JobStateError: the job has been run before.
        """
        mark_started(self)
        if task_status is not TASK_STATUS_IGNORED:
            self._on_ready = partial(tell_started, self, task_status)
        await run_to_end(self)
        if self._on_ready is not None and not self._stop_record.interrupted:
            self._set_ready()
        if not self._stop_record.errors:
            return self._state
        error = await outcome(self)
        if error is None:
            return self._state
        try:
            raise error
        finally:
            del self, error  # the traceback holds this frame: no cycle of the job, the error and it

    async def run_in_background(self, nursery: trio.Nursery) -> JobState:
        """Start the job in `nursery`, and wait until its oneshot is done (without one: all inits are), or the job has ended.

        The job's failure is contained: recorded and logged, never raised into the nursery. Cancelling the caller while it
        waits cancels the job.

        Returns:
            The state that the wait found: `RECURRENT_RUNNING`, or that of an end.

        Raises:
            JobStateError: the job has been run before.
            TypeError: `nursery` is none.
        """
        if not isinstance(nursery, trio.Nursery):
            raise TypeError(f"nursery must be a trio.Nursery, got {shown(nursery)}")
        mark_started(self)
        state: JobState = await nursery.start(partial(run_contained, self), name=self.name)
        return state

    async def __aenter__(self) -> Job[V]:
        """Start the job and wait until its oneshot is done; the block keeps it open and may add tasks.

        Raises:
            BaseException: the job failed before that: its error.
            JobStateError: the job has been run before.
        """
        mark_started(self)
        self._block = Block(self)
        error = await self._block.open()
        if error is None:
            return self
        try:
            raise error
        finally:
            del self, error  # the traceback holds this frame

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Finish the job (cancel it where the block failed) and wait until it has ended.

        Raises:
            BaseException: the error of whichever failed first, block or job, bare.
        """
        error = await leave_block(self, exc)
        try:
            if error is not None and error is not exc:
                raise error
            return error is None
        finally:
            del self, exc, traceback, error  # the traceback of what is raised holds this frame

    @enable_ki_protection
    def cancel(self, error: object = None) -> None:
        """Cancel the job: all run loops are cancelled, then the finalizers run.

        Args:
            error: what `run` raises; anything but an exception is wrapped in `JobCancelledError`.

        Ignored once the finalizers have begun; after another cause `error` is added to `errors`.
        """
        if self.ended:
            return
        if self._run is not None:
            self._check_run("cancel")
            reserve_stack()
            self._run.stop.check_outer_cancel()
            self._run.stop.hurry()
        cause_known = self._stop_record.interrupted
        if cause_known and not isinstance(error, BaseException):
            return
        if self._run is not None:
            if not self._run.is_finalizing():
                self._run.stop.interrupt(CauseKind.CANCEL, None, None, as_error(error))
        else:
            self._stop_record.interrupt(Cause(CauseKind.CANCEL, error=as_error(error), at=clock()), mapped=False)
            end_unrun(self)

    @enable_ki_protection
    def finish(self, grace: float | None = None) -> None:
        """End the job well: every task stops at its next step, and what has not stepped after the grace is cancelled.

        Args:
            grace: seconds; the job's `grace` by default; 0 cuts at once. A later call can only shorten it.

        Ignored once the job was interrupted or its finalizers have begun. An error, or a `cancel`, before that takes its
        place as the cause.
        """
        seconds = self._limits.grace if grace is None else check.seconds("grace", grace)
        if self._run is not None:
            self._check_run("finish")
            reserve_stack()
        asker = current_task()
        task = asker if asker is not None and asker.job is self else None
        finish_family(self, Cause(CauseKind.FINISHED, task, at=clock()), seconds)

    async def wait(self) -> JobState:
        """Wait until the job has ended, finalizers included; never raises for the job's failure."""
        if self.ended:
            await trio.lowlevel.checkpoint()
        else:
            await waiters_of(self).ended.wait()
        return self._state

    async def wait_stopping(self) -> None:
        """Wait until the job has been asked to stop, or has ended."""
        if self.stopping or self.ended:
            await trio.lowlevel.checkpoint()
            return
        await waiters_of(self).stopping.wait()

    def done_tasks(self) -> trio.MemoryReceiveChannel[Task]:
        """Return a channel that receives each task when its run loop has ended, and closes when the job has.

        Each call gives a channel of its own, which loses nothing from the call on and never blocks the job.
        """
        if self._ended:
            send, receive = trio.open_memory_channel[Task](0)
            send.close()
            return receive
        return waiters_of(self).subscribe()

    @property
    def stopping(self) -> bool:
        """True once the job has been asked to stop; stays False at a natural end."""
        return self._stop_record.stopping

    @property
    def completed(self) -> bool:
        """True if each task, also one that is gone, came to its own end; after a stop some work may be left."""
        return not self._left_work and all(task.completed for task in self.tasks)

    @property
    def ended(self) -> bool:
        """True once the job is in a terminal state."""
        return self._ended

    @property
    def state(self) -> JobState:
        """Where the job is in its life."""
        return self._state

    @property
    def name(self) -> str:
        """The job's name, for logs, notes and traces."""
        return self._name or f"job-{self._id}"

    @property
    def id(self) -> int:
        """The job's number: no other of this process has it."""
        return self._id

    @property
    def parent(self) -> Job[Any] | None:
        """The job that this one ends with; None for none, or where nothing else keeps it alive any more."""
        return None if self._parent is None else self._parent()

    @property
    def ready(self) -> bool:
        """True once the oneshot is done and all inits have passed."""
        return self._ready

    @property
    def code(self) -> str | None:
        """The code of the first cause, or of what asked the job to finish, as the verdict spells it; None while neither is."""
        return self.verdict.code if self.verdict is not None else self._stop_record.code()

    @property
    def interrupted_by(self) -> tuple[Task | None, BaseException | None]:
        """The first cause as (task, error); (None, None) where nothing interrupted the job.

        task is None when `cancel`, the job timeout, the parent or an outer scope did it.
        """
        cause = self._stop_record.cause
        return (None, None) if cause is None else (cause.task, cause.error)

    @property
    def errors(self) -> tuple[TaskError, ...]:
        """Everything that went wrong, in the order it happened."""
        return tuple(self._stop_record.errors)

    @property
    def verdict(self) -> Verdict | None:
        """Who ended the job, and why; None until it has ended."""
        # Made on demand: most verdicts are good, and are never read.
        if self._verdict is None and self._ended:
            self._verdict = self._stop_record.verdict(self._started_at, self._ended_at)
        return self._verdict

    def _complete(self, *, contained: bool) -> None:
        self._run = None
        self._ended = True
        job_ended(self)
        if self._signals is not None:
            self._signals.close()
        now = self._ended_at = clock()
        end = JOB_DONE if self._stop_record.cause is None else JobState.CANCELLED
        if end not in self._state._moves:  # a fault of the engine has made it skip a state
            self._state = JobState.FINALIZING
        self._move(end)
        if self._parent is not None and (parent := self._parent()) is not None and parent._children is not None:
            parent._children.discard(self)
        if self._waiters is not None:
            self._waiters.job_ended()
        if self._block is not None:  # which goes on, and a finalizer may have failed
            self._tell_stopping()
        if self._on_end is not None:
            self._report(self._on_end, self)
        if self._observers is not None and (verdict := self.verdict) is not None:
            self._tell(JobEnded(self, verdict, now))
        self._report(report_end, self, contained=contained)
        self._on_end = None  # and what it holds of the connection
        # Written out: a job pays for each call, and has a task or more.
        ended = ref(self)
        for task in self._tasks.values():
            task._host, task._ended_job = None, ended
        if self._oneshot is not None:
            self._oneshot._host, self._oneshot._ended_job = None, ended

    def register_logger(self, logger: Logger, *, level: int | None = None) -> None:
        """Give the job, and its children that have none, a logger of its own.

        Args:
            logger: a structlog logger (anything with `bind`), or a mapping `{level: handler(event, fields)}`.
            level: the verbosity up to which it is written to; by default the default logger's level.

        Raises:
            TypeError, ValueError: `logger` or `level` is not as described.
        """
        self._loggers.own = checked_registration(logger, level)

    @property
    def log(self) -> JobLog:
        """The job's log."""
        if self._log is None:
            self._log = JobLog(self._loggers, self._fields, {"job": self.name, "job_id": self.id})
        return self._log

    @property
    def fields(self) -> dict[str, Any]:
        """What goes into every record of the job and into `job.ended`: put in what you like, at any time."""
        return self._fields

    @fields.setter
    def fields(self, fields: Mapping[str, Any]) -> None:
        # In place: logs that were handed out before go on with the new ones.
        fresh = check.fields("fields", fields)
        self._fields.clear()
        self._fields.update(fresh)

    def statistics(self) -> JobStatistics:
        """Return a frozen snapshot."""
        now = clock()
        age = now - self._started_at if now is not None and self._started_at is not None else None
        return JobStatistics(
            name=self.name,
            id=self.id,
            state=self._state,
            age=age,
            children=0 if self._children is None else len(self._children.started()),
            tasks=tuple(_task_statistics(task, now) for task in self.tasks),
        )

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.name!r} {self._state.value}, {len(self.tasks)} tasks>"

    def _add_stop_scope(self, scope: Stoppable) -> None:
        """Cancel `scope` when the job is asked to stop; at once, if it has been."""
        if self.stopping or self._run is None:
            scope.cancel()
        else:
            self._run.stop.scopes[scope] = None

    def _remove_stop_scope(self, scope: Stoppable) -> None:
        """Forget the scope."""
        if self._run is not None:
            self._run.stop.scopes.pop(scope, None)

    def _move(self, new: JobState) -> None:
        old = self._state
        if new not in old._moves:
            raise illegal_move(old, new)
        self._state = new
        if self._observers is not None:
            self._tell(JobStateChanged(self, old, new, clock()))

    def _tell(self, event: Event) -> None:
        """Let the observers hear of an event; only where there are any."""
        assert self._observers is not None
        if (order := self._observers.notify(event)) is not None:
            self._obey(order)

    def _report(self, write: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Write to the log what the engine has to say; the logger is the user's and may raise anything."""
        try:
            write(*args, **kwargs)
        except BaseException as order:
            self._obey(order)

    def _obey(self, order: BaseException) -> None:
        """Take an order (SystemExit, say) out of code of the user's that the engine has called: the job ends with it."""
        if self._run is not None:
            self._run.stop.obey(order)
        elif self._ended or self._stop_record.stopping:
            self._stop_record.add(None, None, order)
            self._verdict = None  # to be made again, with this
        else:  # out of `add_task`, to its caller
            raise order

    def _forget(self, task: Task) -> None:
        self._steps_of_gone += task.steps
        self._left_work = self._left_work or not task.completed
        del self._tasks[task.index]
        task._let_go(ref(self))

    def _set_ready(self) -> None:
        if self._on_ready is not None:
            on_ready, self._on_ready = self._on_ready, None
            try:
                on_ready()
            except Exception as error:  # out of a `task_status` that is not trio's
                self._report(self.log.error, "task_status.failed", error=shown(error), exc_info=error)
            except BaseException as order:
                self._obey(order)

    def _tell_stopping(self) -> None:
        if self._waiters is not None:
            self._waiters.stopping.set()
        if self._block is not None and self._stop_record.interrupted:
            self._block.cancel()

    def _check_run(self, what: str) -> None:
        """Refuse a call from outside of the trio run in which the job runs.

        Raises:
            RuntimeError: it comes from another thread, or from another trio run.
        """
        if self._run is not None and not self._run.is_here():
            raise RuntimeError(
                f"{what}: job {self.name!r} runs in another thread or trio run; call it there, by trio.from_thread.run_sync"
            )

    def _running_parent(self) -> JobRun | None:
        parent = None if self._parent is None else self._parent()
        return None if parent is None else parent._run


def _job_around() -> Job[Any] | None:
    """Return the job whose code is running, if that is in this trio run: contexts are copied into threads, too."""
    job = current_job()
    return job if job is not None and job._run is not None and job._run.is_here() else None


def _checked_parent(parent: Job[Any] | None) -> Job[Any] | None:
    if parent is not None and not isinstance(parent, Job):
        raise TypeError(f"parent must be a Job or None, got {shown(parent)}")
    return parent


def _idle_clock(idle_timeout: float | IdleClock) -> IdleClock:
    if isinstance(idle_timeout, IdleClock):
        return idle_timeout
    return IdleClock(check.positive_seconds("idle_timeout", idle_timeout))


def _task_statistics(task: Task, now: float | None) -> TaskStatistics:
    left = None if task._idle is None or now is None else task._idle.deadline - now
    return TaskStatistics(task.index, task.name, task.state, task.steps, left)
