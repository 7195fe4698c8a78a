"""Real worker processes that are killed, stopped and paused; a real server that is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import trio

from tests.queue.chaos import ROOT, Chaos
from tests.queue.redis_server import RedisServer


async def test_chaos(tmp_path: Path) -> None:
    """Every message is done, duplicates are at most what was in flight at a kill, none is dead, and every stop is clean."""
    chaos = Chaos(tmp_path, messages=3000, kills=4, stops=4, restarts=1)
    await chaos.run()
    chaos.check()


async def test_paused(redis_server: RedisServer, tmp_path: Path) -> None:
    """A worker that is paused beyond its lease loses its message: when it wakes, its job is cancelled, and changes nothing."""
    program = tmp_path / "paused.py"
    program.write_text(PAUSED.format(url=redis_server.url))
    with started(program) as worker:
        try:
            async with source_of(redis_server) as queue:
                await queue.put(b"1")
                assert worker.stdout is not None
                assert await trio.to_thread.run_sync(worker.stdout.readline) == "begun 1\n"
                worker.send_signal(signal.SIGSTOP)
                (message,) = await queue.receive(1)
                assert message.delivery == 2
                worker.send_signal(signal.SIGCONT)
                assert await trio.to_thread.run_sync(worker.stdout.readline) == "cancelled MessageLostError\n"
                worker.terminate()
                _, log = await trio.to_thread.run_sync(worker.communicate)
                assert log.count("message.lost") - log.count("'message.lost: ") >= 1
                assert await queue.ack(message)
        finally:
            worker.kill()
    assert worker.returncode == 0


def started(program: Path) -> subprocess.Popen[str]:
    """Start a program."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(program)], cwd=ROOT, text=True, **pipes)


def source_of(server: RedisServer) -> object:
    """Return the queue of the test."""
    from job.queue import RedisStream

    return RedisStream(server.url, "paused", lease=1)


PAUSED = """
import sys, trio, job
from job import queue

def build(message):
    def factory(j):
        async def run(task):
            print("begun", message.delivery, flush=True)
            await trio.sleep_forever()
        async def finalize(task):
            print("cancelled", type(j.interrupted_by[1]).__name__, flush=True)
        return None, run, finalize
    j = job.Job()
    j.add_task(factory)
    return j

worker = job.Job(name="worker", grace=1)
worker.add_task(queue.consume(queue.RedisStream("{url}", "paused", lease=1), build))
sys.exit(job.run(worker))
"""
