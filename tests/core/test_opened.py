"""What a task has opened it closes: a job, a Manager, open_futures that a routine enters ends by its exit, in its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Job, JobError, JobState, JobTimeoutError, Routines, Task
from job.background import Manager
from job.futures import FutureStatus, open_futures
from job.net import PEER_FAULTS, Endpoint, Stream, serve
from job.testing import MemoryTransport
from tests.journal import Journal, Routine, failing, forever, lasting

Opened = Callable[[], Any]

every_thing_to_open = pytest.mark.parametrize("opened", [Manager, open_futures, Job], ids=["manager", "futures", "job"])
every_bad_end = pytest.mark.parametrize("end", ["cancel", "assertion", "timeout", "idle"])
every_place = pytest.mark.parametrize("place", ["oneshot", "init", "run"])


def add_opener(j: Job[Any], place: str, opened: Opened) -> None:
    """Add a task that enters something in one of its routines."""

    async def enter(task: Task) -> None:
        await task.enter(opened())

    async def enter_and_be_done(task: Task) -> None:
        await enter(task)
        task.done()

    async def enter_and_wait(task: Task) -> None:
        await enter(task)
        await trio.sleep_forever()

    if place == "oneshot":
        j.add_oneshot_task(enter_and_be_done)
    elif place == "init":
        j.add_task(lambda j: Routines(enter, forever, None))
    else:
        j.add_task(enter_and_wait)


def ending(end: str) -> Routine:
    """Return a run that brings the end about, a second after its start; a timeout comes by itself."""

    async def run(task: Task) -> None:
        await trio.sleep(1)
        if end == "cancel":
            task.job.cancel()
        task.assert_true(end != "assertion", "no")
        await trio.sleep_forever()

    return run


@every_thing_to_open
@every_bad_end
@every_place
async def test_bad_end_comes_at_once(opened: Opened, end: str, place: str, autojump_clock: MockClock) -> None:
    """A bad end of the job waits for nothing that one of its routines has entered."""
    j = Job(timeout=2 if end == "timeout" else inf)
    add_opener(j, place, opened)
    j.add_task(ending(end), idle_timeout=2 if end == "idle" else None)
    with pytest.raises(JobError):
        await j.run()
    assert trio.current_time() == (2 if end in ("timeout", "idle") else 1)


@every_thing_to_open
@every_place
async def test_outer_scope_comes_through(opened: Opened, place: str, autojump_clock: MockClock) -> None:
    """A scope around the job is no less heard for what a routine has entered."""
    j = Job()
    add_opener(j, place, opened)
    j.add_task(forever)
    with trio.move_on_after(1) as scope:
        await j.run()
    assert (scope.cancelled_caught, trio.current_time()) == (True, 1)


@every_thing_to_open
@every_place
async def test_finish_ends_it(opened: Opened, place: str, autojump_clock: MockClock) -> None:
    """A finish of the job ends well, and ends what was entered."""
    j = Job(grace=3)
    add_opener(j, place, opened)
    j.add_task(forever)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.finish()
        assert await j.wait() is JobState.DONE
    assert trio.current_time() == 3
    assert j.errors == ()


async def test_work_in_entered_futures_is_cut(autojump_clock: MockClock) -> None:
    """A cancel cuts what runs in the futures that an init has entered."""
    futures: list[Any] = []

    async def init(task: Task) -> None:
        submit = await task.enter(open_futures())
        futures.append(submit(trio.sleep, 100))

    j = Job()
    j.add_task(lambda j: Routines(init, forever, None))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        j.cancel()
        await j.wait()
    assert (trio.current_time(), futures[0].status) == (0, FutureStatus.CANCELLED)


async def test_job_of_its_own_around_a_timeout(autojump_clock: MockClock) -> None:
    """The timeout of a job that has entered another one comes out of it."""
    j = Job(timeout=2)
    add_opener(j, "run", lambda: Job(name="inner", keep_open=True))
    with pytest.raises(JobTimeoutError):
        await j.run()
    assert trio.current_time() == 2


def into_value(opened: Any) -> Routine:
    """Return a oneshot that leaves in the job's value what it has entered."""

    async def run(task: Task) -> None:
        task.job.value = await task.enter(opened)
        task.done()

    return run


async def finish(j: Job[Any], after: float = 0) -> JobState:
    """Run a job, and finish it after some seconds."""
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(after)
        j.finish()
        return await j.wait()


async def test_closed_in_its_turn(autojump_clock: MockClock) -> None:
    """What the oneshot has entered is closed after the finalizers of those who come after it."""
    journal = Journal()

    async def send() -> None:
        await trio.sleep(3)
        journal.append("sent")

    j = Job[Manager](grace=1)
    j.add_oneshot_task(into_value(Manager()))
    j.add_task(journal.task("a", init=sending(send), run=forever))
    j.add_task(journal.task("b", run=forever))
    await finish(j)
    assert journal[-3:] == ["b.finalize", "a.finalize", "sent"]


def sending(work: Callable[[], Awaitable[None]]) -> Routine:
    """Return a routine that hands work to the manager in the job's value."""

    async def routine(task: Task) -> None:
        task.job.value.run(work)

    return routine


async def test_up_as_long_as_it_is_needed(autojump_clock: MockClock) -> None:
    """In the finalizers of the tasks the oneshot's inner job is up; then it ends well."""
    seen: list[JobState] = []

    async def look(task: Task) -> None:
        seen.append(inner.state)

    inner = Job(name="inner", keep_open=True)
    j = Job[Any]()
    j.add_oneshot_task(into_value(inner))
    j.add_task(lambda j: Routines(None, forever, look))
    await finish(j)
    assert seen == [JobState.RECURRENT_RUNNING]
    assert (inner.state, inner.parent) == (JobState.DONE, j)


async def test_takes_work_while_the_job_drains(autojump_clock: MockClock) -> None:
    """A task that drains may still hand work to the Manager of the oneshot, and it is done."""
    mail: list[str] = []

    async def send() -> None:
        mail.append("mail")

    async def drained(task: Task) -> None:
        await trio.sleep(2)
        task.job.value.run(send)
        task.done()

    j = Job[Manager](grace=5)
    j.add_oneshot_task(into_value(Manager()))
    j.add_task(drained)
    assert await finish(j, after=1) is JobState.DONE
    assert mail == ["mail"]


async def test_cancel_reaches_it_at_once(autojump_clock: MockClock) -> None:
    """A cancel cuts the work of an entered Manager before, not after, the finalizers of the others."""
    cut: list[float] = []

    async def send() -> None:
        try:
            await trio.sleep(100)
        finally:
            cut.append(trio.current_time())

    j = Job[Manager]()
    j.add_oneshot_task(into_value(Manager()))
    j.add_task(lambda j: Routines(sending(send), forever, lasting(5, then=lambda task: None)))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.cancel()
        await j.wait()
    assert (cut, trio.current_time()) == ([1], 6)


async def test_block_within_a_run(autojump_clock: MockClock) -> None:
    """A block in a run is closed by itself, whatever ends the job."""

    async def run(task: Task) -> None:
        async with Manager() as bg:
            bg.run(trio.sleep, 100)
            await trio.sleep_forever()

    j = Job()
    j.add_task(run)
    j.add_task(failing(ValueError("x"), after=1))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert trio.current_time() == 1


async def test_place_of_a_connection_is_given_back(autojump_clock: MockClock) -> None:
    """A connection whose init has entered something and that then fails gives its place back."""
    place = Endpoint("server:1", transport=MemoryTransport(), limit=1)

    async def init(task: Task) -> None:
        await task.enter(open_futures())

    async def answer(task: Task) -> None:
        await task.job.value.receive_until(b"\n", limit=10)

    def connection(stream: Stream) -> Job[Stream]:
        j = Job(stream, quiet=PEER_FAULTS)
        j.add_task(lambda j: Routines(init, answer, None))
        return j

    server = Job()
    server.add_task(serve(place, connection))
    async with trio.open_nursery() as nursery, server:
        client = await place.dial()
        await client.send_all(b"far too long a line" * 10)
        nursery.start_soon(client.aclose)
        await trio.sleep(60)
        assert place.statistics().taken == 0
