"""A job belongs to its own trio run: other threads and other runs are told how to reach it, and are no family of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from job import Job, JobState, Task
from job.background import Manager
from job.futures import open_futures
from tests.journal import done


async def nothing() -> None:
    """Do nothing."""


Change = Callable[[Job[Any], Manager[Any], Callable[..., Any]], object]

CHANGES: dict[str, Change] = {
    "add_task": lambda j, bg, submit: j.add_task(done),
    "finish": lambda j, bg, submit: j.finish(),
    "cancel": lambda j, bg, submit: j.cancel(),
    "Manager.run": lambda j, bg, submit: bg.run(nothing),
    "Manager.loop": lambda j, bg, submit: bg.loop(nothing),
    "Manager.cancel": lambda j, bg, submit: bg.cancel(),
    "submit": lambda j, bg, submit: submit(nothing),
}


def here(change: Callable[[], object]) -> object:
    """Call it in this thread."""
    return change()


def in_another_run(change: Callable[[], object]) -> object:
    """Call it within a trio run of this thread's own."""

    async def main() -> object:
        return change()

    return trio.run(main)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("caller", [here, in_another_run])
async def test_change_from_elsewhere(caller: Callable[[Callable[[], object]], object], change: Change) -> None:
    """It is a RuntimeError that names trio.from_thread, and it is as if it had not been called."""
    async with Job(keep_open=True) as j, Manager() as bg, open_futures() as submit:
        with pytest.raises(RuntimeError, match=r"trio\.from_thread"):
            await trio.to_thread.run_sync(caller, partial(change, j, bg, submit))
        assert (j.tasks, len(bg), j.stopping, j.state) == ((), 0, False, JobState.RECURRENT_RUNNING)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_change_by_trio_from_thread(change: Change) -> None:
    """By trio.from_thread it is allowed."""
    async with trio.open_nursery() as nursery, Manager() as bg, open_futures() as submit:
        j = Job(keep_open=True)
        await j.run_in_background(nursery)
        await trio.to_thread.run_sync(trio.from_thread.run_sync, change, j, bg, submit)
        j.finish()


async def test_job_of_a_run_in_a_thread_has_no_parent() -> None:
    """A task runs a whole trio program in a thread: its jobs are no children of the task's."""
    parents: list[Job[Any] | None] = []

    async def main() -> None:
        j = Job()
        parents.append(j.parent)
        j.add_task(done)
        await j.run()
        parents.append(j.parent)

    async def run(task: Task) -> None:
        await trio.to_thread.run_sync(trio.run, main)
        task.done()

    j = Job()
    j.add_task(run)
    assert await j.run() is JobState.DONE
    assert parents == [None, None]


async def test_run_in_an_abandoned_thread_holds_up_no_cancel() -> None:
    """A job is cancelled while a thread that it has abandoned runs a trio program of its own: it ends at once."""
    started, over = threading.Event(), threading.Event()

    async def wait(task: Task) -> None:
        started.set()
        await trio.to_thread.run_sync(over.wait)
        task.done()

    async def main() -> None:
        j = Job()
        j.add_task(wait)
        await j.run()

    async def run(task: Task) -> None:
        await trio.to_thread.run_sync(trio.run, main, abandon_on_cancel=True)

    j = Job()
    j.add_task(run)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.to_thread.run_sync(started.wait)
        j.cancel()
        with trio.fail_after(5):
            assert await j.wait() is JobState.CANCELLED
    over.set()
