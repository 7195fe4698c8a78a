"""A watch that wakes late, since its process was stopped or a step blocked the loop: what came in time is no silence (G7)."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from job import IdleClock, IdleTimeoutError, Job, JobState, Task, TaskStalled
from job.background import Manager
from job.testing import Recorder
from tests.journal import forever

PAUSE = 0.7  # seconds; the watch has half a second


async def hand_over(source: trio.MemoryReceiveChannel[int], sink: trio.MemorySendChannel[int]) -> None:
    """Take one value and pass it on."""
    sink.send_nowait(await source.receive())


@pytest.mark.parametrize("hops", [0, 1, 3])
@pytest.mark.parametrize("turn", range(20))  # trio takes those who are ready in a random order
async def test_step_that_blocks_the_loop(hops: int, turn: int, autojump_clock: MockClock) -> None:
    """What was on its way to a task when another blocked the loop is handed over before the watch judges."""
    send, receive = trio.open_memory_channel[int](1)
    source = receive

    async def read(task: Task) -> None:
        task.done(await source.receive())

    async with trio.open_nursery() as nursery:
        for _ in range(hops):
            before = source
            onward, source = trio.open_memory_channel[int](1)
            nursery.start_soon(hand_over, before, onward)
        j = Job()
        task = j.add_task(read, idle_timeout=5)
        nursery.start_soon(j.run)
        await trio.sleep(1)
        send.send_nowait(7)
        autojump_clock.jump(60)
    assert (task.result, j.state) == (7, JobState.DONE)


async def test_silence_is_silence_all_the_same(autojump_clock: MockClock) -> None:
    """A watch that wakes late and finds nothing says so."""
    j = Job()
    j.add_task(forever, name="read", idle_timeout=IdleClock(5))
    with pytest.raises(IdleTimeoutError, match="'read' did not tick"):
        async with j:
            await trio.sleep(1)
            autojump_clock.jump(60)
            await trio.sleep(1)


@pytest.mark.parametrize("turn", range(20))
async def test_work_that_ends_late_is_not_stalled(turn: int, autojump_clock: MockClock) -> None:
    """So it is for background work that is about to end."""
    heard, over = Recorder(), trio.Event()
    async with Manager(stalled_after=5, observers=[heard]) as bg:
        bg.run(over.wait)
        await trio.sleep(1)
        over.set()
        autojump_clock.jump(60)
    assert heard.of(TaskStalled) == []


PROGRAM = """
import sys
import trio
import job
from job import net

class Foreign(trio.abc.HalfCloseableStream):
    def __init__(self, stream):
        self.stream = stream
    def __getattr__(self, name):
        return getattr(self.stream, name)
    async def receive_some(self, max_bytes=None):
        return await self.stream.receive_some(max_bytes)
    async def send_all(self, data):
        await self.stream.send_all(data)
    async def wait_send_all_might_not_block(self):
        await self.stream.wait_send_all_might_not_block()
    async def send_eof(self):
        await self.stream.send_eof()
    async def aclose(self):
        await self.stream.aclose()

async def task(near, far):
    async def run(task):
        data = await near.receive_some()
        if not data:
            return task.done()
        await far.send_all(data)
        task.tick()
    j = job.Job()
    j.add_task(run, idle_timeout=0.5)
    await j.run()

async def relay(near, far):
    await net.relay(near, far, idle_timeout=0.5)

async def half_closed(near, far):
    await net.relay(near, far, half_close_timeout=0.5)

async def foreign(near, far):
    await net.relay(Foreign(near), Foreign(far), idle_timeout=0.5)

async def main():
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(listener.socket.getsockname()[1], flush=True)
    async with await listener.accept() as near, await listener.accept() as far:
        print("ready", flush=True)
        await globals()[sys.argv[1]](near, far)

trio.run(main)
"""


@pytest.fixture
def stopped(request: pytest.FixtureRequest) -> Callable[[str], bytes]:
    """Give a function that starts a program, sends to it while it is stopped, and returns what comes through."""

    def run(kind: str) -> bytes:
        command = [sys.executable, "-u", "-c", textwrap.dedent(PROGRAM), kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        request.addfinalizer(process.wait)
        request.addfinalizer(process.kill)
        assert process.stdout is not None
        request.addfinalizer(process.stdout.close)
        address = "127.0.0.1", int(process.stdout.readline())
        with socket.create_connection(address, timeout=5) as near, socket.create_connection(address, timeout=5) as far:
            assert process.stdout.readline() == "ready\n"
            if kind == "half_closed":
                far.shutdown(socket.SHUT_WR)
            near.sendall(b"hello")
            assert far.recv(5) == b"hello"
            os.kill(process.pid, signal.SIGSTOP)
            near.sendall(b"world")
            time.sleep(PAUSE)
            os.kill(process.pid, signal.SIGCONT)
            return far.recv(5)

    return run


@pytest.mark.parametrize("kind", ["task", "relay", "half_closed", "foreign"])
def test_process_that_was_stopped(kind: str, stopped: Callable[[str], bytes]) -> None:
    """What the kernel has received while the process stood still is read before anybody is given up."""
    assert stopped(kind) == b"world"
