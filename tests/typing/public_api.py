"""What a type checker makes of the public API. mypy reads this file; nothing runs it."""

from typing import Any, assert_type

import job
from job.background import Manager
from job.futures import Future, FutureStatus, open_futures


def value_of_a_job() -> None:
    """A job is generic in its value."""
    assert_type(job.Job(3), job.Job[int])
    assert_type(job.Job(value="x").value, str)


def value_to_come() -> None:
    """A job that says nothing of its value has any, and needs no annotation."""
    j = job.Job(name="server")
    assert_type(j, job.Job[Any])
    assert_type(job.Job[bytes]().value, bytes)


async def wait_until_a_stop(task: job.Task) -> None:
    """The result of a wait that a stop may cut is what the function gives, or the default."""
    assert_type(await task.until_stop(fetch, "page"), bytes | None)
    assert_type(await task.until_stop(fetch, "page", default=b""), bytes)
    assert_type(await task.until_stop(fetch, "page", default=7), bytes | int)
    await task.until_stop(fetch, 3)  # type: ignore[arg-type]


def parts_of_a_job(j: job.Job[bytes], task: job.Task, maybe: int | None) -> None:
    """Tasks and states have plain types; an assertion narrows."""
    assert_type(j.state, job.JobState)
    assert_type(j.tasks, tuple[job.Task, ...])
    assert_type(j.get_task(0), job.Task | None)
    assert_type(j.verdict, job.Verdict | None)
    assert_type(task.assert_not_none(maybe), int)


async def end_of_a_job(j: job.Job[bytes]) -> None:
    """All ways to run or await a job say how it ended."""
    assert_type(await j.run(), job.JobState)
    assert_type(await j.wait(), job.JobState)


async def metadata_of_background_tasks() -> None:
    """A manager is generic in its metadata; one that says nothing takes any. Arguments are checked against the function."""
    async with Manager[int]() as bg:
        assert_type(bg, Manager[int])
        assert_type(bg.run(fetch, "page", meta=7), job.Task)
        bg.run(fetch, 3)  # type: ignore[arg-type]
        bg.loop(fetch, "page", meta="seven")  # type: ignore[arg-type]
    async with Manager() as anything:
        anything.run(fetch, "page", meta=object())


async def results_of_futures() -> None:
    """A future gives what its function returns."""
    async with open_futures() as submit:
        future = submit(fetch, "page")
        assert_type(future, Future[bytes])
        assert_type(await future, bytes)
        assert_type(future.status, FutureStatus)


async def fetch(name: str) -> bytes:
    """Stand for a user's function."""
    return name.encode()
