"""`job queue …`: on a real server."""

import base64
import itertools
import json
from pathlib import Path

import pytest
import trio

from job._program.cli import main
from job.queue import RedisStream
from tests.queue.redis_server import RedisServer

_numbers = itertools.count(1)


@pytest.fixture
def stream(redis_server: RedisServer) -> str:
    """Make a stream with one ready message and two dead letters."""
    name = f"command-{next(_numbers)}"

    async def fill() -> None:
        async with RedisStream(redis_server.url, name) as source:
            for _ in range(2):
                await source.put(b"\xff")
                await source.dead((await source.receive(1))[0], ValueError("a\x1bb"), code="code")
            await source.put(b"1")

    trio.run(fill)
    return name


def test_stats(redis_server: RedisServer, stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how many there are, for people and as JSON."""
    assert main(["queue", "stats", redis_server.url, stream]) == 0
    assert capsys.readouterr().out.startswith(
        "1 ready, 0 pending, 0 delayed, 2 dead; the oldest ready one waits for 0."
    )
    assert main(["queue", "stats", redis_server.url, stream, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["depth"], found["dead"]) == (1, 2)
    assert main(["queue", "stats", redis_server.url, "none", "--group", "other"]) == 0
    assert capsys.readouterr().out == "0 ready, 0 pending, 0 delayed, 0 dead\n"


def test_dead(redis_server: RedisServer, stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It lists the dead letters, control characters escaped."""
    assert main(["queue", "dead", redis_server.url, stream]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(r"1 deliveries  code  ValueError('a\x1bb')")
    assert main(["queue", "dead", redis_server.url, stream, "--json"]) == 0
    letters = json.loads(capsys.readouterr().out)
    assert base64.b64decode(letters[0]["payload"]) == b"\xff"
    assert letters[0]["history"][0]["code"] == "code"


def test_requeue_and_purge(redis_server: RedisServer, stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It requeues those with an id, and purges the rest."""
    main(["queue", "dead", redis_server.url, stream, "--json"])
    first = json.loads(capsys.readouterr().out)[0]["id"]
    assert main(["queue", "requeue", redis_server.url, stream, first]) == 0
    assert main(["queue", "purge", redis_server.url, stream]) == 0
    assert main(["queue", "dead", redis_server.url, stream]) == 0
    assert capsys.readouterr().out.splitlines() == ["1 requeued", "1 purged", "no dead letters"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["stats", "redis://:secr/et@host", "images"], "url must be redis://"),
        (["stats", "unix://{}/none.sock", "images"], "out of reach"),
        (["purge", "unix://{}/none.sock", "images", "1-0"], "purge takes no ids"),
        (["stats", "unix://{}/none.sock", "a{b"], "hash tag"),
        (["empty", "unix://{}/none.sock", "images"], "invalid choice"),
    ],
)
def test_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    """Where it cannot, it says so in one line, and exits with 2."""
    with pytest.raises(SystemExit) as exited:
        main(["queue", *(each.format(tmp_path) if "{}" in each else each for each in arguments)])
    said = capsys.readouterr().err
    assert exited.value.code == 2
    assert line in said
    assert "secr" not in said
    assert said.count("\n") == 1


def test_wrong_kind(redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A key of another kind is one line, too."""
    redis_server.cli("SET", "text", "text")
    with pytest.raises(SystemExit) as exited:
        main(["queue", "stats", redis_server.url, "text"])
    assert exited.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
