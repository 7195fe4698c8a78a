"""What is true of Redis alone: keys, groups, consumers, rights, outages; on a real server, in real time."""

import itertools
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import job
from job import queue
from job.queue import RedisStream
from tests.journal import done, forever, lasting
from tests.queue.redis_server import RedisServer
from tests.queue.workers import Lines, doing, working

coredis = pytest.importorskip("coredis")

_numbers = itertools.count(1)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that a test may stop and kill."""
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def stream() -> str:
    """Name a stream of the test's own."""
    return f"stream-{next(_numbers)}"


async def test_plain_entry(redis_server: RedisServer, stream: str) -> None:
    """An entry that a plain XADD has made is a message; one without a payload is dead at once."""
    entry = redis_server.cli("XADD", stream, "*", "payload", "hello").strip()
    redis_server.cli("XADD", stream, "*", "other", "hello")
    async with RedisStream(redis_server.url, stream) as source:
        (message,) = await source.receive(5)
        assert (message.id, message.payload, message.delivery) == (entry, b"hello", 1)
        assert message.enqueued_at == int(entry.split("-")[0]) / 1000
        (letter,) = await source.dead_letters()
        assert (letter.code, letter.payload) == ("payload", b"")


async def test_keys(redis_server: RedisServer, stream: str) -> None:
    """What lies beside the stream shares its slot; what is done leaves nothing but the stream and its group."""
    async with RedisStream(redis_server.url, stream, lease=0.2, max_deliveries=2) as source:
        await source.put(b"1", delay=60)
        await source.put(b"2")
        await source.receive(1)
        (message,) = await source.receive(1)
        keys = redis_server.cli("KEYS", f"*{stream}*").split()
        assert sorted(keys) == sorted([stream, f"{{{stream}}}:delayed", f"{{{stream}}}:taken"])
        slots = {redis_server.cli("CLUSTER", "KEYSLOT", key) for key in keys}
        assert len(slots) == 1
        await source.dead(message, "why")
    assert sorted(redis_server.cli("KEYS", f"*{stream}*").split()) == sorted(
        [stream, f"{{{stream}}}:delayed", f"{{{stream}}}:dead"]
    )
    assert redis_server.cli("XLEN", stream).strip() == "0"


async def test_hash_tag(redis_server: RedisServer) -> None:
    """A stream that has a hash tag keeps it; half a tag is refused."""
    async with RedisStream(redis_server.url, "{tag}images") as source:
        await source.put(b"1", delay=60)
    assert redis_server.cli("KEYS", "{tag}images*").split() == ["{tag}images:delayed"]
    for half in ("a{b", "a}b", "{}a", "a{}b"):
        with pytest.raises(ValueError, match="hash tag"):
            RedisStream(redis_server.url, half)


async def test_lost_group(redis_server: RedisServer, stream: str) -> None:
    """A group that is lost is made again, and what was pending in it is delivered again."""
    async with RedisStream(redis_server.url, stream) as source:
        await source.put(b"1")
        (message,) = await source.receive(1)
        redis_server.cli("XGROUP", "DESTROY", stream, "job")
        assert not await source.ack(message)
        (again,) = await source.receive(1)
        assert again.id == message.id
        redis_server.cli("DEL", stream)
        assert not await source.ack(again)
        await source.put(b"2")
        assert (await source.receive(1))[0].payload == b"2"


async def test_trimmed(redis_server: RedisServer, stream: str) -> None:
    """An entry that somebody has trimmed is dropped, whatever is then done about it."""
    async with RedisStream(redis_server.url, stream, lease=0.2) as source:
        for _ in range(4):
            await source.put(b"1")
        messages = await source.receive(4)
        redis_server.cli("XTRIM", stream, "MAXLEN", "0")
        assert await source.release(messages[0])
        assert await source.dead(messages[1], "why")
        assert not await source.extend(messages[2])
        with trio.move_on_after(1):
            await source.receive(1)
            raise AssertionError
        assert await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None)


async def test_consumers(redis_server: RedisServer, stream: str) -> None:
    """The consumer of a process is taken out of the group at its end; one that has something pending is not."""

    def consumers() -> str:
        return redis_server.cli("XINFO", "CONSUMERS", stream, "job")

    source = RedisStream(redis_server.url, stream)
    async with source:
        await source.put(b"1")
        await source.receive(1)
        assert "name" in consumers()
    assert "name" in consumers()
    async with source:
        redis_server.cli("XTRIM", stream, "MAXLEN", "0")
    redis_server.cli("XGROUP", "DESTROY", stream, "job")
    async with source:
        await source.put(b"1")
        await source.ack((await source.receive(1))[0])
        assert "name" in consumers()
    assert "name" not in consumers()


async def test_unused_consumers(redis_server: RedisServer, stream: str) -> None:
    """A consumer that was unused for ten leases is taken out by the others."""
    redis_server.cli("XGROUP", "CREATE", stream, "job", "0", "MKSTREAM")
    redis_server.cli("XGROUP", "CREATECONSUMER", stream, "job", "gone")
    async with RedisStream(redis_server.url, stream, lease=0.05) as source:
        with trio.move_on_after(1):
            await source.receive(1)
        assert "gone" not in redis_server.cli("XINFO", "CONSUMERS", stream, "job")


@pytest.mark.parametrize("key", ["{}", "{{{}}}:delayed", "{{{}}}:dead"])
async def test_wrong_kind(redis_server: RedisServer, stream: str, key: str) -> None:
    """A key of another kind fails the job in its init."""
    redis_server.cli("SET", key.format(stream), "text")
    worker: job.Job[None] = job.Job(name="worker")
    worker.add_task(queue.consume(RedisStream(redis_server.url, stream), doing(done)))
    with pytest.raises(coredis.exceptions.WrongTypeError):
        await worker.run()
    assert worker.verdict is not None
    assert worker.verdict.code == "error@consume:init"


@pytest.mark.parametrize("rights", ["+@all -xreadgroup", "+@all -eval -evalsha", "+@all -xclaim"])
async def test_no_right(redis_server: RedisServer, stream: str, rights: str) -> None:
    """A user without the rights fails the job in its init."""
    redis_server.cli("ACL", "SETUSER", stream, "on", ">secret/1", "~*", "&*", *rights.split())
    source = RedisStream(f"unix://{stream}:secret%2F1@{redis_server.socket}", stream)
    worker: job.Job[None] = job.Job(name="worker")
    worker.add_task(queue.consume(source, doing(done)))
    with pytest.raises(coredis.exceptions.RedisError) as caught:
        await worker.run()
    assert "secret" not in str(caught.value) + repr(source)
    assert worker.verdict is not None
    assert worker.verdict.code == "error@consume:init"


async def test_wrong_password(redis_server: RedisServer, stream: str) -> None:
    """A wrong password is no outage, and is in no error."""
    redis_server.cli("ACL", "SETUSER", stream, "on", ">other", "~*", "&*", "+@all")
    worker: job.Job[None] = job.Job(name="worker")
    source = RedisStream(f"unix://{stream}:secret@{redis_server.socket}", stream)
    worker.add_task(queue.consume(source, doing(done)))
    with pytest.raises(coredis.exceptions.AuthenticationError) as caught:
        await worker.run()
    assert "secret" not in str(caught.value) + repr(source)


async def test_function(redis_server: RedisServer, stream: str) -> None:
    """In place of a URL, a function gives a new client; also one that decodes what it receives."""
    made: list[Any] = []

    def make() -> Any:
        made.append(coredis.Redis.from_url(redis_server.url, decode_responses=True))
        return made[-1]

    source = RedisStream(make, stream)
    async with source:
        await source.put(b"\xff")
        (message,) = await source.receive(1)
        assert message.payload == b"\xff"
        await source.dead(message, "why")
        assert [letter.error for letter in await source.dead_letters()] == ["why"]
        assert await source.requeue() == 1
    count = len(made)
    async with source:
        assert (await source.statistics()).depth == 1
    assert len(made) == count + 1


@pytest.mark.parametrize(
    "url", ["http://host", "redis://", "redis://:sec/ret@host", "redis://host:x", "", "host:6379", "redis://host:0"]
)
def test_url(url: str) -> None:
    """A URL that is none is refused, and not shown: it may have a password in it."""
    with pytest.raises(ValueError, match="url must be redis://") as caught:
        RedisStream(url, "images")
    assert "sec" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_url() -> None:
    """Neither is what is no URL at all."""
    with pytest.raises(TypeError, match="url must be a str, or a function"):
        RedisStream(5, "images")  # type: ignore[call-overload]


def test_tls(tmp_path: Path) -> None:
    """With TLS the certificate's name is checked, unless the URL says otherwise."""
    from job.queue._redis_client import _tls_options

    assert _tls_options("rediss://host")["ssl_context"].check_hostname
    assert _tls_options("rediss://host?ssl_check_hostname=false") == {}
    with pytest.raises(FileNotFoundError):
        _tls_options(f"rediss://host?ssl_certfile={tmp_path}/none&ssl_keyfile={tmp_path}/none")


@pytest.mark.parametrize("module", ["coredis", "msgspec"])
def test_missing_extra(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """A package that is missing is one line that names the extra."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"extra `queue`"):
        RedisStream("redis://host", "images", type=str)


async def test_out_of_reach(tmp_path: Path, stream: str) -> None:
    """Where no server is, each call says so; opening and closing do not mind."""
    async with RedisStream(f"unix://{tmp_path}/none.sock", stream) as source:
        for call in (source.put(b"1"), source.receive(1), source.statistics(), source.dead_letters()):
            with pytest.raises(queue.UnavailableError, match="out of reach"):
                await call


async def test_restarted(own_server: RedisServer, stream: str) -> None:
    """A server that is killed and comes back is an outage; what it has confirmed is still there, and is done."""
    lines = Lines().register()
    source = RedisStream(own_server.url, stream, lease=5)
    async with working(source, doing(lasting(0.5)), grace=5, limit=2, prefetch=2):
        for _ in range(6):
            await source.put(b"1")
        await trio.sleep(0.2)
        own_server.kill()
        await trio.sleep(1)
        own_server.start()
        await until_empty(source)
    assert (len(lines.of("queue.away")), len(lines.of("queue.back"))) == (1, 1)
    assert lines.of("message.lost") == lines.of("message.dead") == []


async def test_hung(own_server: RedisServer, stream: str) -> None:
    """A server that has hung holds up no stop: it is over within its grace and five seconds."""
    source = RedisStream(own_server.url, stream, lease=30)
    worker: job.Job[None] = job.Job(name="worker", grace=0.5)
    worker.add_task(queue.consume(source, doing(forever), limit=2, prefetch=2))
    async with trio.open_nursery() as nursery:
        async with source:
            for _ in range(3):
                await source.put(b"1")
        await worker.run_in_background(nursery)
        await trio.sleep(0.5)
        own_server.send(signal.SIGSTOP)
        worker.finish()
        began_at = trio.current_time()
        await worker.wait()
        assert trio.current_time() - began_at < 5.5


async def test_slow_answer(own_server: RedisServer, stream: str) -> None:
    """A `receive` that is cancelled while its answer is under way gives back what that brings."""
    async with RedisStream(own_server.url, stream, lease=30) as source:
        await source.put(b"1")
        await source.statistics()
        await source.ack((await source.receive(1))[0])
        await source.put(b"2")
        own_server.send(signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.receive, 1)
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
            own_server.send(signal.SIGCONT)
        statistics = await source.statistics()
        assert (statistics.depth, statistics.pending) == (1, 0)
        assert (await source.receive(1))[0].delivery == 1


async def until_empty(source: RedisStream[bytes]) -> None:
    """Wait until all messages are done."""
    for _ in range(75):
        if await source.statistics() == queue.QueueStatistics(0, 0, 0, 0, None):
            return
        await trio.sleep(0.2)
    raise AssertionError(await source.statistics())


async def test_read_only(own_server: RedisServer, stream: str) -> None:
    """A server that takes no writes just now, as in a failover, is out of reach and no failure."""
    async with RedisStream(own_server.url, stream) as source:
        own_server.cli("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(queue.UnavailableError):
            await source.put(b"1")
        own_server.cli("REPLICAOF", "NO", "ONE")
        await source.put(b"1")


class Broken:
    """A client that cannot be opened, or not be used."""

    def __init__(self, *, opens: bool) -> None:
        self.opens = opens

    async def __aenter__(self) -> None:
        if not self.opens:
            raise RuntimeError("opened")

    async def __aexit__(self, *raised: Any) -> None: ...

    def create_request(self, *words: Any, **options: Any) -> None:
        """Fail."""
        raise RuntimeError("used")


async def test_broken_client(stream: str) -> None:
    """A client that cannot be opened is out of reach; one that is at fault is shown."""
    async with RedisStream(lambda: Broken(opens=False), stream) as source:
        with pytest.raises(queue.UnavailableError, match="opened"):
            await source.statistics()
    async with RedisStream(lambda: Broken(opens=True), stream) as source:
        with pytest.raises(RuntimeError, match="used"):
            await source.statistics()


def test_left_open(redis_server: RedisServer, stream: str) -> None:
    """One that is left open ends with its trio run, and can be used in the next."""
    source = RedisStream(redis_server.url, stream)

    async def put() -> int:
        await source.__aenter__()
        await source.put(b"1")
        return (await source.statistics()).depth

    assert [trio.run(put), trio.run(put)] == [1, 2]


async def test_no_answer(own_server: RedisServer, stream: str) -> None:
    """A server that does not answer in time is out of reach; the next call is made with a new client."""
    async with RedisStream(own_server.url, stream) as source:
        await source.put(b"1")
        source._client._timeout = 0.3
        own_server.send(signal.SIGSTOP)
        with pytest.raises(queue.UnavailableError, match="no answer in time"):
            await source.statistics()
        own_server.send(signal.SIGCONT)
        assert (await source.statistics()).depth == 1
