"""Recorder: keeps what it hears."""

from __future__ import annotations

import job
from job.testing import Recorder


async def count(task: job.Task) -> None:
    """End at once."""
    task.done()


async def test_keeps_all_events_in_order() -> None:
    """The first event is the task that was added, the last one the job's end."""
    recorder = Recorder()
    j = job.Job[None](observers=[recorder])
    j.add_task(count)
    await j.run()
    assert isinstance(recorder.events[0], job.TaskAdded)
    assert isinstance(recorder.events[-1], job.JobEnded)


async def test_of_gives_one_type() -> None:
    """`of` filters, and knows the type of what it gives."""
    recorder = Recorder()
    j = job.Job[None](observers=[recorder])
    await j.run()
    assert [ended.verdict.code for ended in recorder.of(job.JobEnded)] == ["finished"]
    assert recorder.of(job.TaskAdded) == []
    assert repr(recorder) == f"<Recorder of {len(recorder.events)} events>"
