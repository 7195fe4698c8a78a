"""Jobs of messages, and a worker that runs them: what most tests of the queue are made of."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

import job
from job import queue, tasks
from tests.journal import Routine

Build = Callable[[queue.Message[Any]], job.Job[Any]]

AT_ONCE = tasks.Backoff(0.001, 0.001)
"""A retry that comes as soon as there is a next moment."""


def doing(run: Routine) -> Build:
    """Return a `build_job` whose jobs have one task, with this run."""

    def build(message: queue.Message[Any]) -> job.Job[Any]:
        j: job.Job[Any] = job.Job(message, name=f"message {message.id}")
        j.add_task(run, name="work")
        return j

    return build


@asynccontextmanager
async def working(
    source: queue.Source[Any], build: Build, *, grace: float = 0, **options: Any
) -> AsyncIterator[job.Job]:
    """Run a worker beside the block; finish it at the block's end, and wait until it has ended."""
    worker: job.Job[None] = job.Job(name="worker", grace=grace)
    worker.add_task(queue.consume(source, build, **options))
    async with source, trio.open_nursery() as nursery:
        await worker.run_in_background(nursery)
        yield worker
        worker.finish()
        await worker.wait()


class Lines(list[tuple[str, dict[str, Any]]]):
    """A logger that keeps its lines, of every level."""

    def register(self) -> "Lines":
        """Become the default logger."""
        job.register_default_logger({0: self._write}, level=2)
        return self

    def _write(self, event: str, fields: dict[str, Any]) -> None:
        self.append((event, fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the fields of the lines of one event."""
        return [fields for name, fields in self if name == event]
