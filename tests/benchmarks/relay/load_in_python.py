"""The load where there is no C compiler: it obeys the same lines as `load.c`, and may well be slower than what it measures."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final, cast

PIECE: Final = bytes(1 << 18)
RAMP: Final = 64
PATIENCE: Final = 60.0


class Count:
    """What is counted of one piece of work."""

    def __init__(self, port: int, size: int, seconds: float) -> None:
        self.port = port
        self.size = size
        self.counts_from = time.monotonic() + seconds * 0.1
        self.ends = time.monotonic() + seconds
        self.figures = {"messages": 0, "connections": 0, "bytes": 0, "failed": 0, "held": 0}
        self.latencies: list[float] = []
        self.stay = False
        self.places = asyncio.Semaphore(RAMP)  # to be dialled at once, where they stay

    def add(self, what: str, number: int = 1) -> None:
        """Count, within the time that counts."""
        if what in {"failed", "held"} or self.counts_from <= time.monotonic() < self.ends:
            self.figures[what] += number
        if what in {"failed", "held"}:
            self.places.release()

    def answer(self) -> dict[str, Any]:
        """Return all figures."""
        ordered = sorted(self.latencies) or [0.0]
        percentiles = {f"p{share}": ordered[share * (len(ordered) - 1) // 100] for share in (50, 99)}
        return {"seconds": self.ends - self.counts_from, **self.figures, **percentiles}


class End(asyncio.Protocol):
    """One end of a connection; sends at full speed when it is told to."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.pouring = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.load.ends.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        self.load.ends.discard(self)

    def pour(self) -> None:
        """Send for as long as it is taken."""
        self.pouring = True
        self.transport.set_write_buffer_limits(high=len(PIECE))
        self.transport.write(PIECE)
        if self.pouring and not self.transport.is_closing():
            asyncio.get_running_loop().call_soon(self.pour)

    def pause_writing(self) -> None:
        """Stop sending."""
        self.pouring = False

    def resume_writing(self) -> None:
        """Go on sending."""
        self.pour()


class Backend(End):
    """What the first byte asks for."""

    kind = 0
    got = 0

    def data_received(self, data: bytes) -> None:
        """Echo, drop, or begin to send."""
        self.kind = self.kind or data[0]
        if self.kind == ord("s"):
            self.load.count.add("bytes", len(data))
        elif self.kind == ord("d"):
            self.pour()
        else:
            self.transport.write(data)
            self.got += len(data)
            if self.kind == ord("o") and self.got >= self.load.count.size:
                self.transport.close()


class Client(End):
    """One client of a kind."""

    def __init__(self, load: Load, kind: str) -> None:
        super().__init__(load)
        self.kind = kind
        self.count = load.count
        self.got = 0
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what the backend is to be."""
        super().connection_made(transport)
        if self.kind in "eo":
            self.send()
        else:
            self.transport.write(self.kind.encode())
        if self.kind == "s":
            self.pour()

    def send(self) -> None:
        """Send one message."""
        self.got = 0
        self.sent_at = time.monotonic()
        self.transport.write(self.kind.encode() * self.count.size)

    def data_received(self, data: bytes) -> None:
        """Count what comes back."""
        self.got += len(data)
        if self.kind == "d":
            self.count.add("bytes", len(data))
        elif self.got >= self.count.size:
            self.count.add("messages")
            self.count.latencies.append(time.monotonic() - self.sent_at)
            if self.count.stay:
                self.count.add("held")
            elif self.kind == "e":
                self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it, and let another take its place."""
        super().connection_lost(exc)
        whole = self.kind == "o" and self.got == self.count.size
        if self.load.count is not self.count or self.load.closing:
            return
        self.count.add("connections" if whole else "failed")
        if self.kind == "o":
            self.load.dial("o")


class Load:
    """Both ends of all connections."""

    def __init__(self) -> None:
        self.count = Count(0, 64, 0)
        self.ends: set[End] = set()
        self.closing = False
        self._dialling: set[asyncio.Task[Any]] = set()

    def dial(self, kind: str) -> None:
        """Begin one more connection."""
        task = asyncio.get_running_loop().create_task(self._dial(kind))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial(self, kind: str) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Client(self, kind), "127.0.0.1", self.count.port)
        except OSError:
            self.count.add("failed")

    async def obey(self, line: str) -> dict[str, Any]:
        """Do one piece of work."""
        word, *numbers = line.split()
        if word == "open":
            self.count = Count(int(numbers[0]), 64, PATIENCE)
            await self._hold(int(numbers[1]))
        elif word == "close":
            await self._finish()
        else:
            await self._traffic(word, numbers)
        return self.count.answer()

    async def _traffic(self, word: str, numbers: list[str]) -> None:
        size, seconds = (int(numbers[2]), float(numbers[3])) if word == "echo" else (64, float(numbers[2]))
        self.count = Count(int(numbers[0]), size, seconds)
        kinds = {"echo": "e", "short": "o", "bulk": "sd"}[word] * int(numbers[1])
        for kind in kinds[: int(numbers[1])] + "s" * (int(numbers[4]) if word == "echo" else 0):
            self.dial(kind)
        await asyncio.sleep(seconds)
        await self._finish()

    async def _hold(self, connections: int) -> None:
        self.count.stay = True
        for _ in range(connections):
            await self.count.places.acquire()
            self.dial("e")
        for _ in range(RAMP):
            await self.count.places.acquire()

    async def _finish(self) -> None:
        self.closing = True
        for end in list(self.ends):
            end.transport.abort()
        await asyncio.sleep(0.1)
        self.closing = False


async def main() -> None:
    """Obey until stdin ends."""
    load, loop = Load(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Backend(load), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await load.obey(line)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
