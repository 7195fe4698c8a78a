"""The registry of running jobs, and of the endpoints, balancers and queues that have figures.

It holds weak references only. It may be read from any thread and from a signal handler: nothing here waits or takes a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import ref

if TYPE_CHECKING:
    from .job import Job

T = TypeVar("T")

_ATTEMPTS: Final = 100  # To copy a dict: an attempt fails only if another thread changed the dict meanwhile.


def copied(members: dict[Any, T]) -> tuple[T, ...]:
    """Return the values of a dict that another thread may be changing."""
    for _ in range(_ATTEMPTS):
        try:
            return tuple(members.values())
        except RuntimeError:  # The dict changed its size, in another thread or in a garbage collection.
            continue
    return ()


_heads: Final[dict[int, ref[Job[Any]]]] = {}


def job_started(job: Job[Any]) -> None:
    """Register a job that starts without a running parent; the caller must call `job_ended` on every path."""
    _heads[job.id] = ref(job)


def job_ended(job: Job[Any]) -> None:
    """Unregister a job; do nothing if it was not registered."""
    _heads.pop(job.id, None)


def running_heads() -> tuple[Job[Any], ...]:
    """Return the jobs that started without a running parent and have not ended, oldest first."""
    return tuple(job for found in copied(_heads) if (job := found()) is not None)


Kind: TypeAlias = Literal["gauge", "counter"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a living object, for metrics to collect.

    Attributes:
        name: in snake case, without the prefix `job_` and a counter's suffix `_total`: `endpoint_accepted`.
        value: the present value.
        labels: names and values; each has few values, and none that a peer chooses.
        kind: a `counter` only goes up.
        text: a sentence that says what is counted.
    """

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()
    kind: Kind = "gauge"
    text: str = ""


class Source(NamedTuple, Generic[T]):
    """An object that has figures, and the function that reads them."""

    owner: T
    figures: Callable[[T], Iterable[Figure]]


_sources: Final[dict[int, tuple[ref[Any], Callable[[Any], Iterable[Figure]]]]] = {}


def announce_figures(owner: T, figures: Callable[[T], Iterable[Figure]]) -> None:
    """Register the figures of `owner` for as long as it lives; the registry does not keep it alive.

    Args:
        owner: an endpoint, a balancer, a queue: any object that can be held weakly.
        figures: reads them from any thread. It must not wait, and must refer to the owner through its argument only.
    """
    key = id(owner)

    def forget(gone: ref[Any]) -> None:
        if key in _sources and _sources[key][0] is gone:  # Otherwise a new object has that id.
            del _sources[key]

    _sources[key] = (ref(owner, forget), figures)


def withdraw_figures(owner: object) -> None:
    """Unregister the figures of `owner`; do nothing if they were not registered."""
    _sources.pop(id(owner), None)


def sources() -> tuple[Source[Any], ...]:
    """Return the living objects that have figures, oldest first."""
    return tuple(Source(owner, figures) for found, figures in copied(_sources) if (owner := found()) is not None)
