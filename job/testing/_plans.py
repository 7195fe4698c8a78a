"""Jobs as data: what each routine does, how long it takes, how it ends. A plan prints as the code that makes it again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from .._core.words.states import StopPolicy
from ._trace import Ask, Compact, Entry


class Ends(Enum):
    """How a routine ends. The steps are for `run`; init and finalize just return."""

    RETURN = "return"
    TICK = "tick"
    IDLE = "idle"
    DONE = "done"
    FINISH_JOB = "finish_job"
    RAISE = "raise"
    ASSERT = "assert"
    FATAL = "raise a BaseException"


class PlannedError(Exception):
    """An error that a plan asked for."""


class PlannedFatalError(BaseException):
    """An error that a plan asked for and that is no `Exception`: as KeyboardInterrupt is, it is never contained."""


@dataclass(frozen=True, slots=True, repr=False)
class Call(Compact):
    """One call of a routine.

    Args:
        ends: how it ends.
        takes: seconds that it sleeps first; 0 is a checkpoint, None does not suspend at all.
        enters: context managers that it enters before that.
        faulty: the exits of those raise.
        clings: seconds for which it holds out, shielded, when it is cancelled in its sleep.
        abandons: its sleep ends as soon as the job is asked to stop.
        plain: the routine is a plain function (which gives an awaitable where it has to suspend).
        child: a job that it runs before it sleeps.
        adds: a task that it adds to its own job, if that takes any.
    """

    ends: Ends = Ends.RETURN
    takes: float | None = None
    enters: int = 0
    faulty: bool = False
    clings: float = 0.0
    abandons: bool = False
    plain: bool = False
    child: JobPlan | None = None
    adds: TaskPlan | None = None

    @property
    def suspends(self) -> bool:
        """True if it has anything to await."""
        return self.takes is not None or self.enters > 0 or self.child is not None


@dataclass(frozen=True, slots=True, repr=False)
class TaskPlan(Compact):
    """One task. The last of the calls in `run` is repeated while it ticks or idles; `run` None is a task without one."""

    name: str
    run: tuple[Call, ...] | None = (Call(Ends.DONE),)
    init: Call | None = None
    finalize: Call | None = None
    policy: StopPolicy = StopPolicy.ERROR
    transient: bool = False
    idle_timeout: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class JobPlan(Compact):
    """One job; `maps_errors`: it has an error_wrapper, `hook`: what its on_shutdown does."""

    tasks: tuple[TaskPlan, ...] = ()
    oneshot: TaskPlan | None = None
    name: str = "job"
    timeout: float = math.inf
    grace: float = 0.0
    finalize_timeout: float = 10.0
    stop_timeout: float = math.inf
    keep_open: bool = False
    maps_errors: bool = False
    hook: Call | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Push(Compact):
    """What somebody outside does, `at` seconds after the start: `what` with that `grace`, or, where it is None, add a task."""

    at: float
    what: Ask | None = Ask.CANCEL
    grace: float | None = None
    task: TaskPlan | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Scenario(Compact):
    """A job, how it is run, and what happens to it meanwhile.

    Args:
        job: the job.
        pushes: what an outside driver does.
        entry: how it is run; an `async with` has a block that sleeps for `block` seconds.
        horizon: seconds after which it is cancelled, that it may end at all.
        seed: for the order in which trio runs tasks that are ready at the same time.
    """

    job: JobPlan
    pushes: tuple[Push, ...] = ()
    entry: Entry = Entry.RUN
    block: float = 1.0
    horizon: float = 20.0
    seed: int = 0
