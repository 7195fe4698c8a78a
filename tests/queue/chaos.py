"""Chaos: real worker processes that are killed and stopped, and a redis-server that is killed and comes back.

By hand, as long as it takes: `python -m tests.queue.chaos [MESSAGES KILLS STOPS RESTARTS]`.
"""

import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import trio

from job.queue import QueueStatistics, UnavailableError
from tests.queue.chaos_worker import LIMIT, source
from tests.queue.redis_server import RedisServer

WORKERS = 3
ROOT = Path(__file__).parents[2]


@dataclass
class Chaos:
    """What is done to the workers and the server, and what came of it."""

    folder: Path
    messages: int
    kills: int
    stops: int
    restarts: int
    codes: list[int] = field(default_factory=list)
    unsure: int = 0  # puts that may be stored or not

    async def run(self) -> None:
        """Put the messages, let the workers do them, and disturb that."""
        self.server = RedisServer(self.folder, "--appendonly", "yes", "--appendfsync", "always")
        self.server.start()
        self._numbers = itertools.count()
        self._workers = [self._start() for _ in range(WORKERS)]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._put_all)
                await self._disturb()
            with trio.fail_after(120):
                self.statistics = await self._until_empty()
        finally:
            for worker in self._workers:
                await trio.to_thread.run_sync(self._stop, worker)
        self.consumers = self.server.cli("XINFO", "CONSUMERS", "chaos", "job")
        self.server.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        number = next(self._numbers)
        errors = (self.folder / f"worker-{number}.log").open("wb")
        with errors:
            command = [sys.executable, "-m", "tests.queue.chaos_worker", self.server.url, str(self._book(number))]
            return subprocess.Popen(command, cwd=ROOT, stderr=errors)

    def _book(self, number: int) -> Path:
        return self.folder / f"worker-{number}.done"

    def _stop(self, worker: subprocess.Popen[bytes]) -> None:
        ready = Path(f"{worker.args[-1]}.ready")  # type: ignore[index]
        while not ready.exists() and worker.poll() is None:  # before that, Python itself would end by the signal
            time.sleep(0.02)
        worker.send_signal(signal.SIGTERM)
        self.codes.append(worker.wait(15))

    async def _put_all(self) -> None:
        async with source(self.server.url) as queue, trio.open_nursery() as nursery:
            numbers = iter(range(self.messages))

            async def put() -> None:
                for number in numbers:
                    await self._put(queue, b"%d" % number)

            for _ in range(8):
                nursery.start_soon(put)

    async def _put(self, queue: object, payload: bytes) -> None:
        while True:
            try:
                await queue.put(payload)  # type: ignore[attr-defined]
            except UnavailableError:
                self.unsure += 1
                await trio.sleep(0.1)
            else:
                return

    async def _disturb(self) -> None:
        deeds = ["kill"] * self.kills + ["stop"] * self.stops + ["restart"] * self.restarts
        random.Random(1).shuffle(deeds)
        for deed in deeds:
            await trio.sleep(0.5)
            await trio.to_thread.run_sync(getattr(self, f"_do_{deed}"))

    def _do_kill(self) -> None:
        worker = self._workers.pop(0)
        worker.kill()
        worker.wait()
        self._workers.append(self._start())

    def _do_stop(self) -> None:
        self._stop(self._workers.pop(0))
        self._workers.append(self._start())

    def _do_restart(self) -> None:
        self.server.kill()
        time.sleep(0.3)
        self.server.start()

    async def _until_empty(self) -> QueueStatistics:
        async with source(self.server.url) as queue:
            while True:
                statistics = await queue.statistics()
                if statistics.depth == statistics.pending == statistics.delayed == 0:
                    return statistics
                await trio.sleep(0.1)

    def check(self) -> str:
        """Hold what came of it against what was promised; return it in one line."""
        done = Counter(line for book in self.folder.glob("*.done") for line in book.read_text().split())
        assert len(done) == self.messages, f"{self.messages - len(done)} messages were lost"
        duplicates = sum(done.values()) - self.messages
        most = self.kills * LIMIT + self.restarts * WORKERS * LIMIT + self.unsure
        assert duplicates <= most, f"{duplicates} duplicates, at most {most} were in flight"
        assert self.statistics == QueueStatistics(0, 0, 0, 0, None)
        assert set(self.codes) == {0}, f"workers ended with {self.codes}"
        return f"{self.messages} messages, {duplicates} duplicates of at most {most}, {len(self.codes)} clean stops"


def main(messages: int = 20_000, kills: int = 20, stops: int = 20, restarts: int = 3) -> None:
    """Run the long one."""
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), messages, kills, stops, restarts)
        began_at = time.monotonic()
        trio.run(chaos.run)
        sys.stdout.write(f"{chaos.check()}, {time.monotonic() - began_at:.0f} s\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
