"""What lives now: the one place where jobs, endpoints, balancers and queues can be found, by rooms that they know nothing of.

All of it is weak, and may be read from any thread and from within a handler of a signal: nothing here waits, or takes a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import ref

if TYPE_CHECKING:
    from .job import Job

T = TypeVar("T")

_ATTEMPTS: Final = 100  # at a copy; each fails only where another thread has changed the dict in the middle of it


def copied(members: dict[Any, T]) -> tuple[T, ...]:
    """Return the values of a dict that another thread may be changing."""
    for _ in range(_ATTEMPTS):
        try:
            return tuple(members.values())
        except RuntimeError:  # it changed its size: the copy allocates, and what that collects may run any code
            continue
    return ()


_heads: Final[dict[int, ref[Job[Any]]]] = {}


def job_started(job: Job[Any]) -> None:
    """Let a job be found that starts without a parent that runs. It is to `job_ended`, whatever happens to it."""
    _heads[job.id] = ref(job)


def job_ended(job: Job[Any]) -> None:
    """Let a job be found no longer; harmless where it could not be."""
    _heads.pop(job.id, None)


def running_heads() -> tuple[Job[Any], ...]:
    """Return the jobs that have started without a running parent and have not ended, the oldest first."""
    return tuple(job for found in copied(_heads) if (job := found()) is not None)


Kind: TypeAlias = Literal["gauge", "counter"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of something that lives, for metrics to collect.

    Attributes:
        name: in snake case, without the `job_` in front and the `_total` of a counter behind: `endpoint_accepted`.
        value: as it is now.
        labels: by name; few values each, and none that a peer chooses.
        kind: a `counter` only goes up.
        text: what is counted, in one sentence.
    """

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    kind: Kind = "gauge"
    text: str = ""


class Source(NamedTuple, Generic[T]):
    """Something that has figures, and the function that reads them."""

    owner: T
    figures: Callable[[T], Iterable[Figure]]


_sources: Final[dict[int, tuple[ref[Any], Callable[[Any], Iterable[Figure]]]]] = {}


def announce_figures(owner: T, figures: Callable[[T], Iterable[Figure]]) -> None:
    """Let the figures of `owner` be found from now on, for as long as it lives; it is not kept alive by that.

    Args:
        owner: an endpoint, a balancer, a queue: whatever can be held weakly.
        figures: reads them, from any thread: it must not wait, nor refer to the owner but by its argument.
    """
    key = id(owner)

    def forget(gone: ref[Any]) -> None:
        if key in _sources and _sources[key][0] is gone:  # else another object has that address by now
            del _sources[key]

    _sources[key] = (ref(owner, forget), figures)


def withdraw_figures(owner: object) -> None:
    """Let the figures of `owner` be found no longer; harmless where they could not be."""
    _sources.pop(id(owner), None)


def sources() -> tuple[Source[Any], ...]:
    """Return whatever has figures and lives, the oldest first."""
    return tuple(Source(owner, figures) for found, figures in copied(_sources) if (owner := found()) is not None)
