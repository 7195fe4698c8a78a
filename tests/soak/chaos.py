"""What is done to the peers of the proxy, every second or so: a pause, a kill, a reset of everything."""

from __future__ import annotations

import signal
import time
from collections import Counter
from random import Random
from typing import Final, final

import trio

from .processes import Process

ATTEMPTS: Final = 100
EVERY: Final = (0.3, 1.5)
PAUSE: Final = (0.2, 3.0)


@final
class Backend:
    """A backend that is started again, on its port, when it was killed."""

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments
        self.port = 0
        self.down: list[tuple[float, float]] = []
        self.process: Process

    async def start(self) -> None:
        """Start it, and wait until it listens; a connection's own end may have its port for a while."""
        for _ in range(ATTEMPTS):
            self.process = Process("backend", self.port, *self._arguments)
            port = await self.process.line()
            if port is not None:
                self.port = port
                return
            self.process.__exit__(None, None, None)
            await trio.sleep(0.2)
        raise RuntimeError(f"the backend does not get its port {self.port}")

    async def kill(self) -> None:
        """Kill it, and start it again."""
        began = time.monotonic()
        self.process.__exit__(None, None, None)
        await self.start()
        self.down.append((began, time.monotonic()))

    def was_down(self, began: float, ended: float) -> bool:
        """Tell whether it was killed, or not there, meanwhile."""
        return any(began < up + 0.5 and down < ended + 0.5 for down, up in self.down)


@final
class Clients:
    """A process of clients that is started again when it was killed."""

    def __init__(self, setup: dict[str, object], random: Random) -> None:
        self._setup = setup
        self._random = random
        self.results: list[list[object]] = []
        self.process: Process

    async def run(self) -> None:
        """Take down what comes of its connections, until it ends by itself."""
        while True:
            with Process("client", self._random.randrange(2**30)) as self.process:
                self.process.tell(self._setup)
                while (line := await self.process.line()) is not None:
                    self.results.append(line)
                if await self.process.end(5) != -signal.SIGKILL:
                    return


async def chaos(backends: list[Backend], clients: list[Clients], random: Random, done: Counter[str]) -> None:
    """Hit one of them after the other, for ever."""
    victims: list[Backend | Clients] = [*backends, *clients]
    while True:
        await trio.sleep(random.uniform(*EVERY))
        victim = random.choice(victims)
        deed = random.choices(["pause", "reset", "kill"], [4, 3, 2])[0]
        if deed == "pause":
            victim.process.hit(signal.SIGSTOP)
            await trio.sleep(random.uniform(*PAUSE))
            victim.process.hit(signal.SIGCONT)
        elif isinstance(victim, Clients):
            deed = "kill"
            victim.process.hit(signal.SIGKILL)
        elif deed == "reset":
            victim.process.hit(signal.SIGUSR1)
        else:
            await victim.kill()
        done[f"{deed} {type(victim).__name__.lower()}"] += 1
