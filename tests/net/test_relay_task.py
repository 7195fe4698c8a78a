"""The relay as a task: its result wherever the job's end cuts it, and its figures in the job's fields."""

import math
from typing import Any

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, memory_stream_pair, wait_all_tasks_blocked

import job
from job.net._reason import EndReason, Side, end_reason
from job.net._relays.relay import RelayResult, relay_task

MemoryStream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Connection:
    """A job that relays in memory, with a task on either side of the relay whose finalizer looks at the result."""

    def __init__(self, *, value: bool = False, **options: Any) -> None:
        near, self.client = memory_stream_pair()
        far, self.upstream = memory_stream_pair()
        self.seen: list[RelayResult] = []
        self.job: job.Job[Any] = job.Job(far if value else None, **options)
        self.job.add_task(self.watching)
        self.task = self.job.add_task(relay_task(near, None if value else far, idle_timeout=60))
        self.job.add_task(self.watching)

    def watching(self, j: job.Job[Any]) -> job.Routines:
        """Be a task that does nothing until the end."""

        async def run(task: job.Task) -> None:
            with task.cancel_on_stop():
                await self.task.wait()
            task.done()

        async def finalize(task: job.Task) -> None:
            result = self.task.result
            self.seen.append(
                RelayResult(
                    result.reason,
                    result.closed_by,
                    result.bytes_up,
                    result.bytes_down,
                    result.seconds,
                    result.error,
                )
            )

        return job.Routines(None, run, finalize)

    async def talk(self) -> None:
        """Let some bytes move."""
        await self.client.send_all(b"hello")
        await self.upstream.receive_some()
        await wait_all_tasks_blocked()


async def test_result(autojump_clock: MockClock) -> None:
    """A relay that ended by itself leaves its result, and nothing is left of what looked it up."""
    c = Connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await c.talk()
        await c.client.send_eof()
        await c.upstream.send_eof()
    expected = RelayResult(EndReason.EOF, Side.CLIENT, 5, 0, 0)
    assert c.task.result == expected
    assert c.seen == [expected, expected]
    assert c.task.state is job.TaskState.FINISHED
    assert end_reason(c.job) is EndReason.EOF


async def test_relays_the_value(autojump_clock: MockClock) -> None:
    """Without an upstream the relay is with what the oneshot has left in the job's value."""
    c = Connection(value=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await c.talk()
        c.job.finish()


async def test_fields(autojump_clock: MockClock) -> None:
    """The figures are in the job's fields, as plain values, beside what was there."""
    c = Connection(fields={"upstream": "u1"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await c.talk()
    assert c.job.fields == {
        "upstream": "u1",
        "reason": "timeout_idle",
        "closed_by": "proxy",
        "bytes_up": 5,
        "bytes_down": 0,
        "relay_seconds": 60,
    }
    assert type(c.job.fields["reason"]) is str


async def test_fields_of_the_program(autojump_clock: MockClock) -> None:
    """What the program has put into the fields itself stays."""
    c = Connection(fields={"reason": "because", "relay_seconds": None})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await c.talk()
        c.job.fields["bytes_up"] = "some"
        c.job.finish()
    own = {"reason": "because", "relay_seconds": None, "bytes_up": "some"}
    assert c.job.fields == {**own, "closed_by": "proxy", "bytes_down": 0}


async def test_figures_while_it_relays(autojump_clock: MockClock) -> None:
    """The result is there while the relay runs, with the figures of the moment."""
    c = Connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await c.talk()
        await trio.sleep(3)
        assert isinstance(c.task.result, RelayResult)
        assert (c.task.result.bytes_up, c.task.result.bytes_down, c.task.result.seconds) == (5, 0, 3)
        assert c.task.result.closed_by is Side.PROXY
        assert c.task.result.error is None
        c.job.finish()


async def test_cut_by_finish(autojump_clock: MockClock) -> None:
    """A relay that a finish has cut was drained, and every finalizer knows."""
    c = Connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await c.talk()
        c.job.finish(grace=7)
    expected = RelayResult(EndReason.DRAINED, Side.PROXY, 5, 0, 7)
    assert c.seen == [expected, expected]
    assert c.task.result == expected
    assert c.job.fields["reason"] == "drained"
    assert c.job.verdict is not None
    assert c.job.verdict.cut == (c.task,)


async def test_ended_within_the_grace(autojump_clock: MockClock) -> None:
    """A relay goes on within the grace, and its own end has its own reason."""
    c = Connection(grace=30)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await wait_all_tasks_blocked()
        c.job.finish()
        await c.talk()
        await c.upstream.send_eof()
        await c.client.send_eof()
    assert c.task.result.reason is EndReason.EOF


async def test_cancelled(autojump_clock: MockClock) -> None:
    """A relay that a cancel has cut was cancelled."""
    c = Connection()
    async with trio.open_nursery() as nursery:
        await c.job.run_in_background(nursery)
        await c.talk()
        c.job.cancel()
    assert [result.reason for result in c.seen] == [EndReason.CANCELLED, EndReason.CANCELLED]
    assert c.job.fields["reason"] == "cancelled"


@pytest.mark.parametrize("grace", [3, math.inf])
async def test_timeout_within_the_grace(grace: float, autojump_clock: MockClock) -> None:
    """What takes the place of a finish decides: a job timeout within its grace is no drain, one after it never comes."""
    c = Connection(timeout=5)
    async with trio.open_nursery() as nursery:
        await c.job.run_in_background(nursery)
        c.job.finish(grace)
    reason = EndReason.DRAINED if grace == 3 else EndReason.CANCELLED
    assert [result.reason for result in c.seen] == [reason, reason]
    assert c.job.fields["reason"] == reason


async def test_outer_cancellation_within_the_grace(autojump_clock: MockClock) -> None:
    """Nor is a cancellation from outside."""
    c = Connection()
    with trio.move_on_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.job.run)
            await c.talk()
            c.job.finish(30)
    assert [result.reason for result in c.seen] == [EndReason.CANCELLED, EndReason.CANCELLED]


async def test_failing_finalizer_after_a_finish(autojump_clock: MockClock) -> None:
    """A finalizer that fails does not change what cut the relay before."""
    c = Connection()

    def failing(j: job.Job[Any]) -> job.Routines:
        async def finalize(task: job.Task) -> None:
            raise ValueError("in finalizer")

        return job.Routines(None, None, finalize)

    c.job.add_task(failing)
    async with trio.open_nursery() as nursery:
        await c.job.run_in_background(nursery)
        c.job.finish()
    assert c.job.state is job.JobState.CANCELLED
    assert [result.reason for result in c.seen] == [EndReason.DRAINED, EndReason.DRAINED]
    assert c.task.result.reason is EndReason.DRAINED


async def test_fault_within_the_relay(autojump_clock: MockClock) -> None:
    """A stream that somebody closed under the relay is such a fault."""
    c = Connection(value=True)
    await c.job.value.aclose()
    with pytest.raises(trio.ClosedResourceError) as caught:
        await c.job.run()
    assert c.task.result == RelayResult(EndReason.PROXY_ERROR, Side.PROXY, 0, 0, 0, caught.value)


async def test_peer_fault(autojump_clock: MockClock) -> None:
    """A peer's fault is no fault of the job."""
    c = Connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(c.job.run)
        await c.talk()
        await c.upstream.aclose()
        await c.client.send_all(b"x")
    assert c.job.state is job.JobState.DONE
    assert (c.task.result.reason, c.task.result.closed_by) == (EndReason.RESET, Side.UPSTREAM)
    assert isinstance(c.task.result.error, trio.BrokenResourceError)


async def test_never_begun(autojump_clock: MockClock) -> None:
    """A relay that the job's end kept from beginning has a result, too."""
    c = Connection()

    def failing(j: job.Job[Any]) -> job.Routines:
        async def init(task: job.Task) -> None:
            raise ValueError("in init")

        return job.Routines(init)

    c.job.add_task(failing)
    with pytest.raises(ValueError, match="in init"):
        await c.job.run()
    assert c.task.result == RelayResult(EndReason.CANCELLED, Side.PROXY, 0, 0, 0)


async def test_names_itself() -> None:
    """The task is called relay."""
    near, _far = memory_stream_pair()
    assert job.Job[Any]().add_task(relay_task(near)).name == "relay"


@pytest.mark.parametrize("options", [{"idle_timeout": 0}, {"half_close_timeout": -1}])
def test_wrong_timeouts(options: dict[str, float]) -> None:
    """A timeout that is none is refused at the call, not when the relay begins."""
    near, _far = memory_stream_pair()
    with pytest.raises(ValueError, match=next(iter(options))):
        relay_task(near, **options)


@pytest.mark.parametrize("wrong", [{"client": 5}, {"client": None}, {"upstream": 5}])
def test_wrong_streams(wrong: dict[str, Any]) -> None:
    """What is no stream is refused at the call."""
    near, _ = memory_stream_pair()
    with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be a stream, got "):
        relay_task(**{"client": near, **wrong})


async def test_value_that_is_no_stream() -> None:
    """The job's value is looked at when the relay begins; that there is no stream is a fault of our own."""
    near, _ = memory_stream_pair()
    j = job.Job[Any]()
    j.add_task(relay_task(near))
    with pytest.raises(TypeError, match="the job's value must be a stream, got None"):
        await j.run()
    assert j.fields["reason"] == EndReason.PROXY_ERROR
    assert end_reason(j) is EndReason.PROXY_ERROR
