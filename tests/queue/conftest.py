"""Both sources, for what is true of each."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job.queue import RedisStream
from job.testing import MemoryQueue
from tests.queue.redis_server import RedisServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one real server for all."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


class Maker:
    """Makes sources of one kind; `second` is how long one takes in the time of the tests."""

    def __init__(self, kind: str, server: RedisServer | None) -> None:
        self.kind = kind
        self._server = server
        self.second = 1.0 if kind == "memory" else 0.2
        self.name = f"queue-{next(_numbers)}"

    def __call__(self, **options: Any) -> Any:
        """Make a source; for Redis each call is one more client of the same queue."""
        if "lease" in options:
            options["lease"] *= self.second
        if self._server is None:
            return MemoryQueue(self.name, **options)
        return RedisStream(self._server.url, self.name, **options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await trio.sleep(seconds * self.second)


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Maker:
    """Make the sources of a test, which is run once with each kind."""
    server = None if request.param == "memory" else request.getfixturevalue("redis_server")
    return Maker(request.param, server)


@pytest.fixture
def clock(make: Maker) -> MockClock | None:
    """Run a queue in memory in virtual time; a server has a clock of its own."""
    return MockClock(autojump_threshold=0) if make.kind == "memory" else None
