"""Jobs as data: what each routine does, how long it takes, how it ends. The repr of a plan is the code that makes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from .._core.words.states import StopPolicy
from ._trace import Ask, Compact, Entry


class Ends(Enum):
    """How a routine ends. The steps are for `run`; init and finalize return."""

    RETURN = "return"
    TICK = "tick"
    IDLE = "idle"
    DONE = "done"
    FINISH_JOB = "finish_job"
    RAISE = "raise"
    ASSERT = "assert"
    FATAL = "raise a BaseException"


class PlannedError(Exception):
    """An error that a plan raises."""


class PlannedFatalError(BaseException):
    """An error that a plan raises and that is not an `Exception`: like KeyboardInterrupt, it is never contained."""


@dataclass(frozen=True, slots=True, repr=False)
class Call(Compact):
    """One call of a routine.

    Args:
        ends: how it ends.
        takes: seconds that it sleeps first; 0 is a checkpoint, None does not suspend at all.
        enters: the number of context managers that it enters before that.
        faulty: True if their exits raise.
        clings: seconds for which it holds out, shielded, when it is cancelled in its sleep.
        abandons: True if its sleep ends as soon as the job is asked to stop.
        plain: True if the routine is a plain function, which returns an awaitable if it has to suspend.
        child: a job that it runs before it sleeps.
        adds: a task that it adds to its own job, if the job accepts it.
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
        """True if the routine awaits anything."""
        return self.takes is not None or self.enters > 0 or self.child is not None


@dataclass(frozen=True, slots=True, repr=False)
class TaskPlan(Compact):
    """One task. The last call in `run` is repeated while it ticks or idles; if `run` is None, the task has no run."""

    name: str
    run: tuple[Call, ...] | None = (Call(Ends.DONE),)
    init: Call | None = None
    finalize: Call | None = None
    policy: StopPolicy = StopPolicy.ERROR
    transient: bool = False
    idle_timeout: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class JobPlan(Compact):
    """One job. `maps_errors` gives it an error_wrapper; `hook` is what its on_shutdown does."""

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
    """An action from outside, `at` seconds after the start: `what` with that `grace`, or, if None, adding a task."""

    at: float
    what: Ask | None = Ask.CANCEL
    grace: float | None = None
    task: TaskPlan | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Scenario(Compact):
    """A job, how it is run, and what is done to it meanwhile.

    Args:
        job: the job.
        pushes: the actions of an outside driver.
        entry: how it is run; an `async with` has a block that sleeps for `block` seconds.
        horizon: seconds after which it is cancelled, so that it ends.
        seed: for the order in which trio runs tasks that are ready at the same time.
    """

    job: JobPlan
    pushes: tuple[Push, ...] = ()
    entry: Entry = Entry.RUN
    block: float = 1.0
    horizon: float = 20.0
    seed: int = 0
