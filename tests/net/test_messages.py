"""Messages: handed over one at a time from who reads to who takes, queued from who sends to who writes; nothing is lost."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

import job
from job import net
from job.net import frames
from job.net._streams.stream import connection_of
from job.testing import MemoryTransport
from tests.net.pairs import connected

FRAMES = frames.Codec()


def memory(**options: Any) -> Any:
    """Connect two streams in memory."""
    return connected(MemoryTransport(buffer=options.pop("buffer", 65536)), **options)


class Stepper:
    """A task of a job around a stream, and the job."""

    def __init__(self, stream: net.Stream, form: Any, **options: Any) -> None:
        self.job = job.Job(stream, grace=1)
        self.task = self.job.add_task(form, **options)


# -- receiving


async def test_chunk(autojump_clock: MockClock) -> None:
    """Without a codec a message is a chunk, of `read_size` bytes at most."""
    async with memory(read_size=4) as (near, far):
        await near.send_all(b"abcdef")
        async with far.received() as data:
            assert data == b"abcd"
        async with far.received() as data:
            assert data == b"ef"


async def test_put_back_chunk(autojump_clock: MockClock) -> None:
    """What was put back comes as a message, and only then what arrives."""
    async with memory() as (near, far):
        await near.send(b"b")
        far.unread(b"a")
        with assert_checkpoints():
            async with far.received() as data:
                assert data == b"a"
        async with far.received() as data:
            assert data == b"b"


async def test_payloads(autojump_clock: MockClock) -> None:
    """With a codec a message is one payload, however many frames arrive at once or in how many pieces."""
    async with memory(codec=frames.Codec(list[int])) as (near, far):
        both = b"".join(frames.encode(near.codec.encode(each)) for each in ([1, 2], [3]))
        await near.send_all(both[:-1])
        async with far.received() as data:
            assert data == [1, 2]
        async with trio.open_nursery() as nursery:

            async def send_rest() -> None:
                await wait_all_tasks_blocked()
                await near.send_all(both[-1:])

            nursery.start_soon(send_rest)
            async with far.received() as data:
                assert data == [3]


async def test_eof(autojump_clock: MockClock) -> None:
    """EOF is EndOfChannel, again and again."""
    async with memory(codec=FRAMES) as (near, far):
        await near.send_eof()
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                async with far.received():
                    pass


async def test_eof_inside_a_frame(autojump_clock: MockClock) -> None:
    """EOF inside a frame is a ProtocolError."""
    async with memory(codec=FRAMES) as (near, far):
        await near.send_all(b"\0\0\0\2x")
        await near.send_eof()
        with pytest.raises(net.ProtocolError, match="ended inside a frame, 5 bytes after its start"):
            async with far.received():
                pass


async def test_frame_too_long(autojump_clock: MockClock) -> None:
    """A frame that claims too much is refused at its header, before any of it is waited for."""
    async with memory(codec=frames.Codec(max_frame=10)) as (near, far):
        await near.send_all(b"\x40\0\0\0")
        for _ in range(2):
            with pytest.raises(net.FrameError, match="1073741824 bytes is longer than max_frame, 10"):
                async with far.received():
                    pass


async def test_wrong_type(autojump_clock: MockClock) -> None:
    """A payload that does not decode is a ProtocolError, and the stream goes no further."""
    async with memory(codec=frames.Codec(int)) as (near, far):
        await near.send_all(frames.encode(b"\xa1x") + frames.encode(b"\x01"))
        for _ in range(2):
            with pytest.raises(net.ProtocolError, match="does not decode"):
                async with far.received():
                    pass


async def test_codec_changes(autojump_clock: MockClock) -> None:
    """Bytes behind a frame belong to whatever comes next: another codec, a relay."""
    async with memory(codec=FRAMES) as (near, far):
        await near.send_all(frames.encode(b"hello") + frames.encode(b"\x07") + b"raw")
        async with far.received() as data:
            assert data == b"hello"
            far.codec = frames.Codec(int)
        async with far.received() as data:
            assert data == 7
        assert await far.receive_some() == b"raw"


async def test_two_takers(autojump_clock: MockClock) -> None:
    """A second task that wants messages gets BusyResourceError."""
    async with memory() as (_, far), trio.open_nursery() as nursery:

        async def take() -> None:
            async with far.received():
                pass

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await take()
        with pytest.raises(trio.WouldBlock), far.received_nowait():
            pass
        nursery.cancel_scope.cancel()


async def test_cancelled_take(autojump_clock: MockClock) -> None:
    """A take that is cancelled has taken nothing, and the next one may."""
    async with memory(codec=FRAMES) as (near, far):
        with trio.move_on_after(1):
            async with far.received():
                pass
        await near.send(b"x")
        async with far.received() as data:
            assert data == b"x"


async def test_nowait(autojump_clock: MockClock) -> None:
    """A message that is there can be had at once; a frame has to be there whole."""
    async with memory(codec=FRAMES) as (_, far):
        with pytest.raises(trio.WouldBlock), far.received_nowait():
            pass
        far.unread(frames.encode(b"a") + b"\0")
        with far.received_nowait() as data:
            assert data == b"a"
            with pytest.raises(trio.WouldBlock), far.received_nowait():
                pass
        with pytest.raises(trio.WouldBlock), far.received_nowait():
            pass


async def test_nowait_eof(autojump_clock: MockClock) -> None:
    """Once EOF was seen it is there at once, too; inside a frame it is a ProtocolError."""
    async with memory(codec=FRAMES) as (near, far):
        await near.send_eof()
        assert await far.receive_some() == b""
        with pytest.raises(trio.EndOfChannel), far.received_nowait():
            pass
        far.unread(b"\0")
        with pytest.raises(net.ProtocolError), far.received_nowait():
            pass


async def test_nowait_on_a_socket() -> None:
    """On a socket it finds what the kernel has."""
    async with connected() as (near, far):
        with pytest.raises(trio.WouldBlock), far.received_nowait():
            pass
        await near.send(b"x")
        await trio.lowlevel.wait_readable(connection_of(far).plain)
        with far.received_nowait() as data:
            assert data == b"x"


async def test_nowait_while_receiving(autojump_clock: MockClock) -> None:
    """While another task reads, there is nothing at once."""
    async with memory() as (_, far), trio.open_nursery() as nursery:
        nursery.start_soon(far.receive_some)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock), far.received_nowait():
            pass
        nursery.cancel_scope.cancel()


# -- the read task


async def test_read_task_waits_for_the_block(autojump_clock: MockClock) -> None:
    """The reader goes on when the taker has left its block, however it leaves it."""
    async with memory(codec=FRAMES) as (near, far):
        reader = Stepper(far, net.read_task)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.job.run)
            await near.send(b"a")
            await near.send(b"b")
            await wait_all_tasks_blocked()
            with pytest.raises(KeyError):
                async with far.received() as data:
                    assert data == b"a"
                    await wait_all_tasks_blocked()
                    assert reader.task.steps == 0
                    raise KeyError
            await wait_all_tasks_blocked()
            assert reader.task.steps == 1
            with far.received_nowait() as data:
                assert data == b"b"
            reader.job.finish()


@pytest.mark.parametrize("task", [net.read_task, net.write_task])
async def test_task_without_a_stream(task: Any) -> None:
    """Where nobody has put a stream into the job's value, the error says so."""
    j = job.Job[Any](name="no stream")
    j.add_task(task)
    with pytest.raises(TypeError, match="the job's value must be a Stream, got None"):
        await j.run()


async def test_read_task_of_the_stream(autojump_clock: MockClock) -> None:
    """The stream's own task reads from it, whatever the job's value is; EOF ends it with done."""
    async with memory() as (near, far):
        reader = Stepper(far, far.read_task, name=None)
        reader.job.value = None  # type: ignore[assignment]
        assert reader.task.name == "read"
        await near.send_eof()
        await reader.job.run()
        assert reader.task.state is job.TaskState.FINISHED


async def test_read_task_at_a_protocol_error(autojump_clock: MockClock) -> None:
    """A peer's fault fails the task, and whoever takes hears of it, too."""
    async with memory(codec=frames.Codec(max_frame=1)) as (near, far):
        reader = Stepper(far, net.read_task)

        async def take() -> None:
            with pytest.raises(net.FrameError):
                async with far.received():
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await near.send_all(b"\0\0\0\2")
            with pytest.raises(net.FrameError):
                await reader.job.run()


async def test_taker_before_reader(autojump_clock: MockClock) -> None:
    """A taker that came first reads for itself; the reader waits, and that message is a step of it, too."""
    async with memory() as (near, far):
        reader = Stepper(far, net.read_task)
        async with trio.open_nursery() as nursery:

            async def take() -> None:
                async with far.received() as data:
                    assert data == b"x"

            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            nursery.start_soon(reader.job.run)
            await wait_all_tasks_blocked()
            await near.send(b"x")
            await wait_all_tasks_blocked()
            assert reader.task.steps == 1
            reader.job.finish()


async def test_held_is_not_idle(autojump_clock: MockClock) -> None:
    """A reader whose message waits to be taken, or is held, is not idle; a silent peer is."""
    async with memory() as (near, far):
        reader = Stepper(far, net.read_task, idle_timeout=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.job.run_in_background, nursery)
            await near.send(b"x")
            await trio.sleep(5)
            async with far.received():
                await trio.sleep(5)
            with trio.fail_after(2.5):
                await reader.job.wait()
        assert isinstance(reader.job.interrupted_by[1], job.IdleTimeoutError)


@pytest.mark.parametrize("stop", ["finish", "cancel"])
async def test_received_after_the_reader(stop: str, autojump_clock: MockClock) -> None:
    """What a reader had in hand when it was stopped is received all the same, and then the rest."""
    async with memory(codec=FRAMES) as (near, far):
        reader = Stepper(far, net.read_task)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.job.run_in_background, nursery)
            await near.send(b"a")
            await near.send_all(frames.encode(b"b")[:3])
            await wait_all_tasks_blocked()
            getattr(reader.job, stop)()
            await reader.job.wait()
        await near.send_all(frames.encode(b"b")[3:])
        for payload in (b"a", b"b"):
            async with far.received() as data:
                assert data == payload


async def test_reader_stops_at_once(autojump_clock: MockClock) -> None:
    """A reader on a silent connection does not sit out the grace."""
    async with memory() as (_, far):
        reader = Stepper(far, net.read_task)
        async with reader.job:
            await wait_all_tasks_blocked()
        assert trio.current_time() == reader.job.verdict.ended_at  # type: ignore[union-attr]
        assert reader.task.state is job.TaskState.FINISHED


async def test_taker_takes_over(autojump_clock: MockClock) -> None:
    """A taker that waits for a reader reads on for itself when that is stopped."""
    async with memory() as (near, far):
        reader = Stepper(far, net.read_task)
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.job.run)
            await wait_all_tasks_blocked()

            async def take() -> None:
                async with far.received() as data:
                    got.append(data)

            nursery.start_soon(take)
            await wait_all_tasks_blocked()
            reader.job.finish()
            await reader.job.wait()
            await near.send(b"x")
        assert got == [b"x"]


async def test_reader_of_a_closed_stream(autojump_clock: MockClock) -> None:
    """A reader whose message nobody took, on a stream that is closed then, fails."""
    async with memory() as (near, far):
        reader = Stepper(far, net.read_task)
        async with trio.open_nursery() as nursery:

            async def fail() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await reader.job.run()

            nursery.start_soon(fail)
            await near.send(b"x")
            await wait_all_tasks_blocked()
            await far.aclose()


async def test_closed_while_a_message_is_taken(autojump_clock: MockClock) -> None:
    """On a stream that its taker closes there is no other message to wait for, and it says so."""
    async with memory() as (near, far):
        await near.send(b"x")
        async with far.received():
            await far.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await far.received().__aenter__()
            with pytest.raises(trio.ClosedResourceError), far.received_nowait():
                pass


# -- sending


async def test_send_length(autojump_clock: MockClock) -> None:
    """It returns what was written: with a codec the length of the frame."""
    async with memory() as (near, far):
        assert await near.send(bytearray(b"abc")) == 3
        with assert_checkpoints():
            assert await near.send(b"") == 0
        near.codec = FRAMES
        assert await near.send(b"") == 4
        assert await far.receive_some() == b"abc\0\0\0\0"


async def test_send_what_is_no_bytes(autojump_clock: MockClock) -> None:
    """Without a codec only bytes can be sent."""
    async with memory() as (near, _):
        with pytest.raises(TypeError, match="data must be bytes"):
            await near.send("text")


async def test_send_too_long(autojump_clock: MockClock) -> None:
    """A payload that is too long is a FrameError, and nothing is written."""
    async with memory(codec=frames.Codec(max_frame=2)) as (near, _):
        with pytest.raises(net.FrameError):
            await near.send(b"abc")
        assert near.bytes_sent == 0


async def test_senders_queue(autojump_clock: MockClock) -> None:
    """Many send at once; each message is written whole, in order."""
    async with memory(buffer=2, codec=FRAMES) as (near, far):
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            for text in (b"one", b"two", b"three"):
                nursery.start_soon(near.send, text)
                await wait_all_tasks_blocked()
            for _ in range(3):
                async with far.received() as data:
                    got.append(data)
        assert got == [b"one", b"two", b"three"]


async def test_cancelled_senders(autojump_clock: MockClock) -> None:
    """A sender cancelled before its turn has sent nothing; one cancelled half way is finished by the next."""
    for _ in range(20):  # trio shuffles what happens in the same moment: the second may have got its turn already
        async with memory(buffer=6, codec=FRAMES) as (near, far), trio.open_nursery() as nursery:
            scopes = [trio.CancelScope() for _ in range(3)]

            async def send(scope: trio.CancelScope, data: bytes, stream: net.Stream = near) -> None:
                with scope:
                    await stream.send(data)

            for scope, text in zip(scopes, (b"first", b"second", b"third"), strict=True):
                nursery.start_soon(send, scope, text)
                await wait_all_tasks_blocked()
            scopes[1].cancel()
            scopes[0].cancel()
            for text in (b"first", b"third"):
                async with far.received() as data:
                    assert data == text


async def test_cancelled_in_a_wire_that_cannot_resume(autojump_clock: MockClock) -> None:
    """Where nobody knows how much of a message went out, no more can be sent."""
    near, _ = trio.testing.memory_stream_pair()

    async def block() -> None:
        await trio.sleep_forever()

    near.send_stream.send_all_hook = block

    class Transport:
        async def dial(self, address: str) -> Any:
            await trio.lowlevel.checkpoint()
            return near

        async def listen(self, address: str) -> Any:
            raise AssertionError(address)

    stream = await net.Endpoint("any:1", transport=Transport()).dial()
    with trio.move_on_after(1):
        await stream.send(b"x")
    near.send_stream.send_all_hook = None
    with pytest.raises(trio.BrokenResourceError, match="cancelled half way"):
        await stream.send(b"y")
    await stream.aclose()


async def test_send_all_beside_senders(autojump_clock: MockClock) -> None:
    """Raw bytes do not go between messages: BusyResourceError; so does EOF."""
    async with memory(buffer=1) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(near.send, b"ab")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await near.send_all(b"x")
        with pytest.raises(trio.BusyResourceError):
            await near.send_eof()
        assert await far.receive_exactly(2) == b"ab"


async def test_send_after_eof(autojump_clock: MockClock) -> None:
    """After EOF nothing can be sent."""
    async with memory() as (near, _):
        await near.send_eof()
        with pytest.raises(trio.ClosedResourceError, match="after EOF"):
            await near.send(b"x")


async def test_close_turns_senders_away(autojump_clock: MockClock) -> None:
    """Closing a stream wakes those who wait to send."""
    async with memory(buffer=1) as (near, _), trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await near.send(b"ab")

        nursery.start_soon(send)
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        await near.aclose()


# -- the write task


async def test_write_task(autojump_clock: MockClock) -> None:
    """It writes what others send, a step for each message, and ends at once when the job is asked to stop."""
    async with memory() as (near, far):
        writer = Stepper(near, net.write_task)
        async with writer.job:
            await wait_all_tasks_blocked()
            assert await near.send(b"a") == 1
            assert await near.send(b"b") == 1
            await wait_all_tasks_blocked()
            assert writer.task.steps == 2
        assert await far.receive_some() == b"ab"
        assert writer.task.state is job.TaskState.FINISHED


async def test_write_task_of_the_stream(autojump_clock: MockClock) -> None:
    """The stream's own writes to it, whatever the job's value is; a sender that is cancelled does not stop it."""
    async with memory(buffer=1) as (near, far):
        writer = Stepper(None, near.write_task)  # type: ignore[arg-type]
        async with writer.job:
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await near.send(b"abc")
            assert await far.receive_exactly(3) == b"abc"


async def test_sender_before_writer(autojump_clock: MockClock) -> None:
    """A sender that came first writes for itself, and that is a step of the writer, too."""
    async with memory(buffer=1) as (near, far):
        writer = Stepper(near, net.write_task)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send, b"ab")
            await wait_all_tasks_blocked()
            nursery.start_soon(writer.job.run)
            await wait_all_tasks_blocked()
            assert await far.receive_exactly(2) == b"ab"
            await wait_all_tasks_blocked()
            assert writer.task.steps == 1
            writer.job.finish()


async def test_writer_fails(autojump_clock: MockClock) -> None:
    """Where the peer is gone both the writer and the sender hear of it."""
    async with memory(buffer=1) as (near, far):
        writer = Stepper(near, net.write_task)

        async def fail(call: Any, *args: Any) -> None:
            with pytest.raises(trio.BrokenResourceError):
                await call(*args)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, writer.job.run)
            await wait_all_tasks_blocked()
            nursery.start_soon(fail, near.send, b"ab")
            await wait_all_tasks_blocked()
            await far.aclose()


@pytest.mark.parametrize("buffer", [1, 6])
async def test_writer_is_cut(buffer: int, autojump_clock: MockClock) -> None:
    """What a writer was cut in is finished by its sender, and then the others send for themselves."""
    async with memory(buffer=buffer, codec=FRAMES) as (near, far):
        if buffer == 6:
            await near.send(b"xy")  # no room for a first byte
        writer = Stepper(near, net.write_task)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.job.run_in_background, nursery)
            await wait_all_tasks_blocked()
            for text in (b"one", b"two"):
                nursery.start_soon(near.send, text)
                await wait_all_tasks_blocked()
            writer.job.cancel()
            await writer.job.wait()
            for text in (b"xy", b"one", b"two")[buffer == 1 :]:
                async with far.received() as data:
                    assert data == text


async def test_writer_and_sender_are_cut(autojump_clock: MockClock) -> None:
    """What both were cut in is finished by whoever sends next."""
    async with memory(buffer=5, codec=FRAMES) as (near, far):
        writer = Stepper(near, net.write_task)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.job.run_in_background, nursery)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await near.send(b"one")
            writer.job.cancel()
            await writer.job.wait()
            nursery.start_soon(near.send_all, b"raw")
            async with far.received() as data:
                assert data == b"one"
            assert await far.receive_exactly(3) == b"raw"


async def test_writer_of_a_closed_stream(autojump_clock: MockClock) -> None:
    """A writer that waits when its stream is closed fails."""
    async with memory() as (near, _):
        writer = Stepper(near, net.write_task)
        async with trio.open_nursery() as nursery:

            async def fail() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await writer.job.run()

            nursery.start_soon(fail)
            await wait_all_tasks_blocked()
            await near.aclose()
