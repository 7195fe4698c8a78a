"""The trace of a job: plain records of what it did, in order, for a checker to judge.

Tasks are named by their index, so that a trace can be written by hand. `at` is on trio's clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from typing import Any, TypeAlias, TypeVar

import trio

from .._core.words.records import CauseKind
from .._core.words.states import JobState, Phase, StopPolicy, TaskState


class Compact:
    """A base of dataclasses whose repr is the shortest code that makes them."""

    __slots__ = ()

    def __repr__(self) -> str:
        mine: Any = self
        values = [(field, getattr(mine, field.name)) for field in fields(mine)]
        told = [
            f"{field.name}={_shown(value)}"
            for field, value in values
            if field.default is MISSING or value != field.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple):
        return f"({', '.join(_shown(item) for item in value)}{',' if len(value) == 1 else ''})"
    return repr(value)


R = TypeVar("R")


class Ask(Enum):
    """What may be requested of a running job from outside."""

    FINISH = "finish"
    CANCEL = "cancel"
    OUTER = "cancel the outer scope"


class Entry(Enum):
    """How a job is run."""

    RUN = "run"
    BACKGROUND = "run_in_background"
    BLOCK = "async with"


@dataclass(frozen=True, slots=True, repr=False)
class TaskFacts(Compact):
    """What is known about a task when it is added."""

    index: int
    name: str = ""
    policy: StopPolicy = StopPolicy.ERROR
    transient: bool = False
    has_init: bool = True
    has_run: bool = True
    has_finalize: bool = True

    @property
    def contains(self) -> bool:
        """True if its errors stop no other task."""
        return self.policy is StopPolicy.CONTAIN


@dataclass(frozen=True, slots=True, repr=False)
class JobFacts(Compact):
    """What is known about a job when it starts; `nested` is True if it has a parent, which may end it."""

    name: str = "job"
    finalize_timeout: float = 10.0
    stop_timeout: float = float("inf")
    nested: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Added(Compact):
    """A task was added to the job."""

    at: float
    task: TaskFacts


@dataclass(frozen=True, slots=True, repr=False)
class Entered(Compact):
    """A routine was called; `home` identifies the trio task."""

    at: float
    task: int
    phase: Phase
    home: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Left(Compact):
    """A routine returned or raised; `known` is True if the job was known to be stopping by then."""

    at: float
    task: int
    phase: Phase
    error: BaseException | None = None
    known: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class Opened(Compact):
    """A task entered a context manager with `Task.enter`, its `number`-th."""

    at: float
    task: int
    number: int


@dataclass(frozen=True, slots=True, repr=False)
class Closed(Compact):
    """The framework left that context manager, which may have raised."""

    at: float
    task: int
    number: int
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, repr=False)
class JobMoved(Compact):
    """The job changed its state."""

    at: float
    old: JobState
    new: JobState


@dataclass(frozen=True, slots=True, repr=False)
class TaskMoved(Compact):
    """A task changed its state."""

    at: float
    task: int
    old: TaskState
    new: TaskState


@dataclass(frozen=True, slots=True, repr=False)
class Asked(Compact):
    """An outside driver requested the job to end, just before the request was acted on."""

    at: float
    what: Ask
    error: BaseException | None = None


Record: TypeAlias = Added | Entered | Left | Opened | Closed | JobMoved | TaskMoved | Asked


@dataclass(frozen=True, slots=True, repr=False)
class Failure(Compact):
    """A `TaskError`, with the index of its task."""

    task: int | None
    phase: Phase | None
    error: BaseException


@dataclass(frozen=True, slots=True, repr=False)
class End(Compact):
    """The verdict. `cause` is what interrupted the job, or None; `kind` and `since` are those of the cause."""

    state: JobState
    kind: CauseKind = CauseKind.FINISHED
    cause: Failure | None = None
    since: float = 0.0
    errors: tuple[Failure, ...] = ()
    cut: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Outcome(Compact):
    """The outcome of the call that ran the job, and the number of trio tasks that it left behind."""

    entry: Entry = Entry.RUN
    raised: BaseException | None = None
    leaked: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """The record of one run of one job. `end` is None if it never ended, `outcome` is None for a nested job."""

    job: JobFacts
    records: tuple[Record, ...]
    end: End | None
    outcome: Outcome | None = None

    def of(self, type: type[R]) -> list[R]:
        """Return the records of one type."""
        return [record for record in self.records if isinstance(record, type)]

    @property
    def tasks(self) -> dict[int, TaskFacts]:
        """The tasks by index."""
        return {added.task.index: added.task for added in self.of(Added)}

    def tail(self, most: int) -> str:
        """Return the last records as text."""
        return "\n".join(f"{place:4} {record}" for place, record in list(enumerate(self.records))[-most:])

    def __str__(self) -> str:
        lines = [f"{place:4} {record}" for place, record in enumerate(self.records)]
        return "\n".join([str(self.job), *lines, str(self.end), str(self.outcome)])


@dataclass(frozen=True, slots=True)
class Visit:
    """One call of a routine: the positions of its two records in the trace. The second is None if it never returned."""

    task: int
    phase: Phase
    start: int
    at: float
    end: int | None
    left: Left | None

    @property
    def failed(self) -> bool:
        """True if it did not return."""
        return self.left is None or self.left.error is not None

    def before(self, place: int) -> bool:
        """Return True if the call was over by that position in the trace."""
        return self.end is not None and self.end < place

    def __str__(self) -> str:
        return f"{self.phase.value} of task {self.task} (record {self.start})"


def visits(trace: Trace, *phases: Phase) -> list[Visit]:
    """Return the calls of routines, of all phases or some, in the order in which they began."""
    wanted = phases or tuple(Phase)
    return [
        _visit(trace, place, record)
        for place, record in enumerate(trace.records)
        if isinstance(record, Entered) and record.phase in wanted
    ]


def _visit(trace: Trace, start: int, entered: Entered) -> Visit:
    for place in range(start + 1, len(trace.records)):
        record = trace.records[place]
        if isinstance(record, Left) and (record.task, record.phase) == (entered.task, entered.phase):
            return Visit(entered.task, entered.phase, start, entered.at, place, record)
    return Visit(entered.task, entered.phase, start, entered.at, None, None)


def is_cancelled(error: BaseException | None) -> bool:
    """Return True if an error is only a cancellation, bare or in groups."""
    return error is not None and not list(leaves(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that users raised, in any groups, without cancellations."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    elif not isinstance(error, trio.Cancelled):
        yield error


def same_error(recorded: BaseException, raised: BaseException) -> bool:
    """Return True if the job recorded the raised error: itself, mapped by error_wrapper, or without its cancellations."""
    known = _identities(recorded) | (set() if recorded.__cause__ is None else _identities(recorded.__cause__))
    return recorded is raised or _identities(raised) <= known


def _identities(error: BaseException) -> set[int]:
    return {id(leaf) for leaf in leaves(error)}
