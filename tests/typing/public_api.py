"""What a type checker makes of the public API. mypy reads this file; nothing runs it."""

from typing import assert_type

import job


def value_of_a_job() -> None:
    """A job is generic in its value."""
    assert_type(job.Job(3), job.Job[int])
    assert_type(job.Job(value="x").value, str)


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
