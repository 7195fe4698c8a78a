"""What is told when the health of an upstream changes, and which observers and logs hear of it."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

import job
from job.net.balancer import Balancer, Upstream, UpstreamChanged
from job.testing import Recorder

A = "10.0.0.1:80"
ERROR = ConnectionRefusedError(111, "refused", A)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Listen to all jobs, and to what happens outside of them."""
    heard = Recorder()
    unregister = job.register_observer(heard)
    yield heard
    unregister()


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """Give what the default logger was told."""
    written: list[Any] = []
    job.register_default_logger({0: lambda event, fields: written.append((event, dict(fields)))})
    yield written
    job.register_default_logger(None)


def one(**options: Any) -> tuple[Balancer, Upstream]:
    """Return a balancer whose only upstream is out at its first error, and in at its first good report."""
    balancer = Balancer([Upstream(A)], fall=1, rise=1, eject_for=30, max_ejected=1, **options)
    return balancer, balancer.upstreams[0]


async def test_outside_of_all_jobs(recorder: Recorder, lines: list[Any], autojump_clock: MockClock) -> None:
    """Without a job or a check task, observers for all and the default logger are told, each change once."""
    balancer, upstream = one()
    await trio.sleep(1)
    for probe in (False, True):
        balancer.report(upstream, ERROR, probe=probe)
    balancer.report(upstream, probe=True)
    balancer.report(upstream, probe=True)
    assert recorder.of(UpstreamChanged) == [
        UpstreamChanged(upstream, True, False, ERROR, 1),
        UpstreamChanged(upstream, False, True, None, 1),
    ]
    assert lines == [("upstream.down", {"upstream": A, "error": repr(ERROR)}), ("upstream.up", {"upstream": A})]


def test_outside_of_trio(recorder: Recorder, lines: list[Any]) -> None:
    """A change that needs no clock is told outside of trio, too; it has no time."""

    async def main() -> None:
        balancer.report(upstream, ERROR)

    balancer, upstream = one()
    trio.run(main, clock=MockClock())
    upstream._health.out_until = None
    balancer.pick()
    assert [change.at for change in recorder.of(UpstreamChanged)] == [0, None]


async def test_back_by_time(recorder: Recorder, lines: list[Any], autojump_clock: MockClock) -> None:
    """One whose time is over is told of as soon as the balancer is asked for anything."""
    balancer, upstream = one()
    balancer.report(upstream, ERROR)
    await trio.sleep(40)
    assert len(lines) == 1
    with balancer.lease():
        assert [(change.new, change.at) for change in recorder.of(UpstreamChanged)] == [(False, 0), (True, 40)]
        assert lines[1] == ("upstream.up", {"upstream": A})


async def test_back_by_time_and_out_again(recorder: Recorder, lines: list[Any], autojump_clock: MockClock) -> None:
    """An error after that time has changed it twice, asked for in between or not."""
    balancer, upstream = one()
    balancer.report(upstream, ERROR)
    await trio.sleep(40)
    balancer.report(upstream, ERROR)
    assert [change.new for change in recorder.of(UpstreamChanged)] == [False, True, False]
    assert [event for event, _ in lines] == ["upstream.down", "upstream.up", "upstream.down"]


async def test_back_by_time_for_who_waits(recorder: Recorder, lines: list[Any], autojump_clock: MockClock) -> None:
    """A wait for a place that an ejection's end serves tells of it."""
    balancer, upstream = one()
    balancer.report(upstream, ERROR)
    with await balancer.acquire():
        assert [(change.new, change.at) for change in recorder.of(UpstreamChanged)] == [(False, 0), (True, 30)]


async def test_in_a_job(recorder: Recorder, autojump_clock: MockClock) -> None:
    """Observers of the job that reports hear of it, those of the jobs above it, and those for all: each once."""
    own, above = Recorder(), Recorder()
    balancer, upstream = one()
    lines = []

    async def report(task: job.Task) -> None:
        balancer.report(upstream, ERROR)
        task.done()

    async def run(task: job.Task) -> None:
        inner = job.Job[Any](name="inner", observers=[own, above])
        inner.add_task(report)
        await inner.run()
        task.done()

    outer = job.Job[Any](name="outer", observers=[above])
    outer.register_logger({0: lambda event, fields: lines.append((event, fields["job"], fields["task"]))})
    outer.add_task(run)
    await outer.run()
    for heard in (own, recorder):
        assert [change.upstream for change in heard.of(UpstreamChanged)] == [upstream]
    assert len(above.of(UpstreamChanged)) == 2, "registered twice, with two jobs"
    assert lines == [("upstream.down", "inner", "report")]


async def test_in_a_hook_of_a_job(lines: list[Any], autojump_clock: MockClock) -> None:
    """Code of a job that is in none of its tasks writes to the log of the job."""
    balancer, upstream = one()
    j = job.Job[Any](name="hook", on_shutdown=lambda error: balancer.report(upstream, ERROR))
    j.add_task(lambda j: job.Routines(run=lambda task: task.assert_("stop")))
    with pytest.raises(job.AssertFailedError):
        await j.run()
    assert [(event, fields["job"]) for event, fields in lines] == [("upstream.down", "hook")]


async def test_an_error_without_a_repr(lines: list[Any], autojump_clock: MockClock) -> None:
    """An error that cannot be printed is told all the same."""

    class MuteError(Exception):
        """One that fails when it is printed."""

        def __repr__(self) -> str:
            raise ZeroDivisionError

    balancer, upstream = one()
    balancer.report(upstream, MuteError())
    [(event, fields)] = lines
    assert event == "upstream.down"
    assert "MuteError" in fields["error"]


class Calling:
    """An observer that calls back, as one that looks for a replacement does."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def on_event(self, event: object) -> None:
        """Call, where an upstream went out."""
        if isinstance(event, UpstreamChanged) and not event.new:
            self.call()


async def test_an_observer_that_calls_back(lines: list[Any], autojump_clock: MockClock) -> None:
    """It may replace, report, pick and lease; a change that it makes is told in its turn."""
    balancer, upstream = one()
    leases = []

    def replace() -> None:
        balancer.replace([upstream, Upstream("10.0.0.2:80")])
        balancer.report(upstream)
        leases.append(balancer.lease())

    unregister = job.register_observer(Calling(replace))
    try:
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                first = balancer.lease()
                nursery.start_soon(balancer.acquire)
                balancer.report(upstream, ERROR)
    finally:
        unregister()
    assert sum(each.active for each in balancer.upstreams) == 3
    assert [event for event, _ in lines].count("upstream.down") == 1
    first.release()


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(3)])
async def test_an_observer_that_fails(error: BaseException, lines: list[Any], autojump_clock: MockClock) -> None:
    """An Exception of it changes nothing; anything else comes out of the call, when all is done and told."""
    balancer, upstream = one()
    served = []

    def fail() -> None:
        raise error

    async def acquire() -> None:
        with await balancer.acquire():
            served.append(balancer)

    unregister = job.register_observer(Calling(fail))
    try:
        if isinstance(error, Exception):
            balancer.report(upstream, ERROR)
        else:
            with pytest.raises(type(error)):
                balancer.report(upstream, ERROR)
    finally:
        unregister()
    assert not upstream.healthy
    assert "upstream.down" in [event for event, _ in lines]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acquire)
        await trio.sleep(1)
        balancer.report(upstream)
    assert served == [balancer]


async def find_nothing(upstream: Upstream) -> None:
    """Be a probe that finds nothing wrong."""


async def test_nothing_keeps_the_job_alive(recorder: Recorder, lines: list[Any], autojump_clock: MockClock) -> None:
    """A balancer that outlives its check task holds neither that nor its job."""
    balancer, upstream = one()
    with trio.move_on_after(3):
        j = job.Job[Any]()
        j.add_task(balancer.check_task(probe=find_nothing))
        await j.run()
    del j
    gc.collect()
    balancer.report(upstream, ERROR)
    assert [set(fields) for event, fields in lines if event == "upstream.down"] == [{"upstream", "error"}]
