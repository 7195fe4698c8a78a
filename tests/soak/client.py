"""The clients of the soak: `python -m tests.soak.client SEED`, the rest comes in JSON on stdin. One line for each connection.

A line says kind, outcome, when it began and ended (on the clock that all processes share), and how many bytes were checked.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from contextlib import suppress
from random import Random
from typing import Any

import trio

from . import talk

AT_ONCE = 8
MOST = 300_000
PATIENCE = 40.0


async def opened(kind: str, address: str, target: int, tls: ssl.SSLContext) -> trio.abc.Stream:
    """Connect by way of one of the proxies."""
    host, _, port = address.rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    if kind.startswith("tls"):
        return trio.SSLStream(stream, tls, server_hostname="localhost")
    if kind == "connect":
        await stream.send_all(f"CONNECT 127.0.0.1:{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yes = b"HTTP/1.1 200 OK\r\n\r\n"
        if await talk.exactly(stream, len(yes)) != yes:
            raise ConnectionError("no tunnel")
    elif kind == "socks5":
        await stream.send_all(b"\5\1\0\5\1\0\1\x7f\0\0\1" + target.to_bytes(2))
        if (await talk.exactly(stream, 12))[3:4] != b"\0":
            raise ConnectionError("no tunnel")
    return stream


async def connection(setup: dict[str, Any], tls: ssl.SSLContext, random: Random) -> None:
    """Make one connection, and print what came of it."""
    kind = random.choice(list(setup["proxies"]))
    seed, up, down = random.randrange(2**60), random.randrange(MOST), random.randrange(MOST)
    patience = random.random() / 5 if random.random() < 0.1 else PATIENCE
    began, outcome, stream = time.monotonic(), "refused", None
    try:
        with trio.move_on_after(PATIENCE) as limit:
            stream = await opened(kind, setup["proxies"][kind], setup["target"], tls)
            outcome = "cut"
            with trio.move_on_after(patience) as leaving:
                outcome = await talk.ask(stream, seed, up, down)
            if leaving.cancelled_caught:
                outcome = "left" if patience < PATIENCE else "late"
                talk.reset(stream)
        outcome = "late" if limit.cancelled_caught else outcome
    except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        if stream is not None:
            with suppress(OSError, trio.BrokenResourceError):
                await trio.aclose_forcefully(stream)
    size = up + down if outcome == "whole" else 0
    print(json.dumps([kind, outcome, began, time.monotonic(), size]), flush=True)


async def main(seed: int) -> None:
    """Make connections until stdin ends."""
    setup = json.loads(sys.stdin.readline())
    random, over = Random(seed), trio.Event()
    tls = ssl.create_default_context(cafile=setup["authority"])

    async def one_after_another() -> None:
        while not over.is_set():
            await connection(setup, tls, random)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(one_after_another)
        await trio.to_thread.run_sync(sys.stdin.read)
        over.set()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
