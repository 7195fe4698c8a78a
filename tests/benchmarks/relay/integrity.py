"""Whether a proxy is byte-exact. Reusable: give it anything that, for a backend's port, serves on a port of its own.

A fast relay that loses a byte in a gigabyte is worth nothing, and the first version of a clever one often does. So each design
is asked, before it is timed: bytes upwards with a half-close, and an answer after it; bytes downwards and then a close;
receivers that pause for longer than all buffers last; many small exchanges on one connection; and all of it at once.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

MIB: Final = 1 << 20
READ: Final = 65536


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is asked: bytes upwards and downwards, small exchanges, checks in parallel, seconds of a pause, of a check."""

    up: int = 48 * MIB
    down: int = 24 * MIB
    exchanges: int = 200
    parallel: int = 6
    pause: float = 0.3
    patience: float = 60


QUICK: Final = Sizes(up=16 * MIB, down=12 * MIB, exchanges=50, pause=0.15)
TINY: Final = Sizes(up=MIB // 4, down=MIB // 4, exchanges=3, parallel=2, pause=0.01, patience=2)

Check = Callable[[int, Sizes], Awaitable[None]]


class BrokenError(Exception):
    """A proxy did not pass on what it was given."""


async def failures(proxy: int, sizes: Sizes) -> list[str]:
    """Return the names of the checks that a proxy fails, in front of `backend`."""
    failed = []
    for name, check in CHECKS.items():
        try:
            with trio.fail_after(sizes.patience):
                await check(proxy, sizes)
        except* (BrokenError, OSError, trio.BrokenResourceError, trio.TooSlowError):
            failed.append(name)
    return failed


@asynccontextmanager
async def backend() -> AsyncIterator[int]:
    """Serve what the checks need; give the port."""
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(_listen)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _listen(task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
    await trio.serve_tcp(_serve, 0, host="127.0.0.1", task_status=task_status)


async def _serve(stream: trio.SocketStream) -> None:
    """Do what a line of words asks: take bytes (0: to EOF) and give their digest, or give bytes, or echo."""
    try:
        async with stream:
            word, size, pause = (await _line(stream)).split()
            if word == "up":
                await stream.send_all(await _digest(stream, int(size), float(pause)))
            elif word == "down":
                await _pour(stream, int(size))
            else:
                while data := await stream.receive_some(READ):
                    await stream.send_all(data)
    except trio.BrokenResourceError:
        pass  # the client's side of it says what is wrong


async def _line(stream: trio.SocketStream) -> str:
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := await stream.receive_some(1)):
            raise trio.BrokenResourceError
        line += byte
    return line.decode()


async def _up(proxy: int, sizes: Sizes) -> None:
    async with await _ask(proxy, "up", 0, 0) as stream:
        await _pour(stream, sizes.up)
        await stream.send_eof()
        await _expect_digest(stream, sizes.up)


async def _down(proxy: int, sizes: Sizes) -> None:
    await _downwards(proxy, sizes.down, 0)


async def _paused_backend(proxy: int, sizes: Sizes) -> None:
    async with await _ask(proxy, "up", sizes.up // 2, sizes.pause) as stream:
        await _pour(stream, sizes.up // 2)
        await _expect_digest(stream, sizes.up // 2)


async def _paused_client(proxy: int, sizes: Sizes) -> None:
    await _downwards(proxy, sizes.down, sizes.pause)


async def _expect_digest(stream: trio.SocketStream, size: int) -> None:
    """Receive the digest of what was sent, and then the end."""
    answer = b""
    while data := await stream.receive_some(READ):
        answer += data
    if answer != hashlib.sha256(_bytes(size)).digest():
        raise BrokenError


async def _downwards(proxy: int, size: int, pause: float) -> None:
    async with await _ask(proxy, "down", size, 0) as stream:
        if await _digest(stream, 0, pause) != hashlib.sha256(_bytes(size)).digest():
            raise BrokenError


async def _small(proxy: int, sizes: Sizes) -> None:
    dice = random.Random(sizes.exchanges)
    async with await _ask(proxy, "echo", 0, 0) as stream:
        for _ in range(sizes.exchanges):
            await _exchange(stream, dice.randbytes(dice.randint(1, 2000)))
        await stream.send_eof()
        if await stream.receive_some(READ):
            raise BrokenError


async def _exchange(stream: trio.SocketStream, message: bytes) -> None:
    await stream.send_all(message)
    answer = b""
    while len(answer) < len(message):
        if not (data := await stream.receive_some(READ)):
            break
        answer += data
    if answer != message:
        raise BrokenError


async def _parallel(proxy: int, sizes: Sizes) -> None:
    less = Sizes(sizes.up // 6, sizes.down // 6, sizes.exchanges, 1, sizes.pause, sizes.patience)
    checks: list[Check] = [_up, _down, _small, _paused_backend, _paused_client, _up]
    async with trio.open_nursery() as nursery:
        for number in range(sizes.parallel):
            nursery.start_soon(checks[number % len(checks)], proxy, less)


async def _ask(proxy: int, *words: object) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", proxy)
    await stream.send_all(" ".join(map(str, words)).encode() + b"\n")
    return stream


def _bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def _pour(stream: trio.SocketStream, size: int) -> None:
    data, dice, sent = _bytes(size), random.Random(size + 1), 0
    while sent < size:
        piece = dice.choice((1, 100, 4096, READ, MIB))
        await stream.send_all(data[sent : sent + piece])
        sent += piece


async def _digest(stream: trio.SocketStream, size: int, pause: float) -> bytes:
    """Read so many bytes, or (0) to EOF; with a pause, now and then do not read for that long."""
    digest, dice, next_pause = hashlib.sha256(), random.Random(1), 0
    received = 0
    while (not size or received < size) and (data := await stream.receive_some(dice.choice((1000, READ, MIB)))):
        digest.update(data)
        received += len(data)
        if pause and received > next_pause:
            await trio.sleep(pause)
            next_pause = received + 4 * MIB
    return digest.digest()


CHECKS: Final[dict[str, Check]] = {
    "half-close": _up,
    "bytes down, then close": _down,
    "backend that pauses": _paused_backend,
    "client that pauses": _paused_client,
    "small exchanges": _small,
    "all in parallel": _parallel,
}
