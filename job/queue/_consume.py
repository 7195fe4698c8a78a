"""`consume`: the task factory."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from .._core import check
from .._core.forms import Factory, Routines
from .._core.job import Job
from .._core.report import report_loudly
from .._core.retry import Backoff
from .._core.words.user_code import shown
from ._arguments import whole
from ._consumer import Consumer
from ._errors import UnavailableError
from ._settlement import Rules
from ._source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.task import Task
    from ._message import Message

T = TypeVar("T")

_RETRY: Final = Backoff(1, 300, jitter=0.1)


def consume(
    source: Source[T],
    build_job: Callable[[Message[T]], Job[Any]],
    *,
    limit: int = 1,
    retry: Backoff = _RETRY,
    prefetch: int = 0,
) -> Factory:
    """Return a factory for a task that takes messages and runs a job for each, contained, as a child of the task's job.

    A job that ended DONE by itself acknowledges its message. After any other end, and an error of `build_job`, the message
    is delivered again, in `retry.after(delivery)` seconds; the last of the source's `max_deliveries` goes to the dead
    letters. `Discard`, raised by either, acknowledges it undone; `Reject` puts it to the dead letters at once.

    Messages are delivered at least once: a job has to be such that it may be run again. Leases are renewed by a task of
    their own, so a step may wait as long as it likes, in a thread say. Where a message is lost all the same, its job is
    cancelled with `MessageLostError`.

    When its job is asked to stop it takes no more, gives back at once what is not begun, and is done when the last job has
    ended and its message is settled. A job that the stop has cut, or stopped between two steps, is DONE and its work is
    not: unless each of its tasks said `done`, its message is given back too, and that counts as no delivery.

    While the broker is out of reach jobs go on, and settling is tried until the lease is over.

    It may be run again: by `restart`, `reload_on_signal` and `retry`.

    The jobs' `fields` get queue, message and delivery, where the program has not set them itself.

    Args:
        source: where messages come from: a `RedisStream`, a `job.testing.MemoryQueue`, or what else is a `Source`. The task
            opens it.
        build_job: makes the job of a message, which is run here. Plain and quick.
        limit: jobs at once.
        retry: how long after a failed delivery the next one comes.
        prefetch: messages to hold beyond those whose jobs run. 0 is fair; more is for jobs shorter than a round trip.

    Raises, in the task:
        Exception: the source cannot be used, in its init; that it is out of reach is no such fault.
    """
    if not isinstance(source, Source):
        raise TypeError(f"source must be a Source, got {shown(source)}")
    if not callable(build_job):
        raise TypeError(f"build_job must be callable, got {build_job!r}")
    check.plain("build_job", build_job)
    places = whole("limit", limit) + whole("prefetch", prefetch, least=0)
    if not isinstance(retry, Backoff):
        raise TypeError(f"retry must be a Backoff, got {retry!r}")

    def consume_task(j: Job[Any]) -> Routines:
        opening = _Opening(source)

        async def run(task: Task) -> None:
            rules = Rules(source.max_deliveries, retry)
            consumer = Consumer(source, build_job, task, rules, limit=limit, places=places)
            await consumer.run(opening.take_away())
            task.done()

        return Routines(opening.init, run, opening.finalize)

    return consume_task


@final
class _Opening:
    """A source that is open from the task's init to its finalizer."""

    __slots__ = ("_away", "_opened", "_source")

    def __init__(self, source: Source[Any]) -> None:
        self._source = source
        self._opened = AsyncExitStack()
        self._away: UnavailableError | None = None

    async def init(self, task: Task) -> None:
        """Open it, and see whether it can be used."""
        try:
            await self._opened.enter_async_context(self._source)
            # A source that can tell more by a look of its own has one: `RedisStream` does.
            await getattr(self._source, "check", self._source.statistics)()
        except UnavailableError as error:
            self._away = error
        except Exception as error:
            report_loudly(task.job, error)
            raise

    def take_away(self) -> UnavailableError | None:
        """Return what the init met, once: a run after the first one looks for itself."""
        away, self._away = self._away, None
        return away

    async def finalize(self, task: Task) -> None:
        """Close it."""
        await self._opened.aclose()
