"""The client's list of work: which pictures wait, which are on their way, what has come of them. No sockets here.

Every connection takes from the same list and gives back what it took and got no answer for, so a picture is lost with no
connection. An answer is counted once, and only when the picture is safe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import trio

TRIES: Final = 5
"""How many connections may end under the same picture before it is given up: it may be the picture that ends them."""


@dataclass(slots=True, eq=False)
class Picture:
    """One picture to be sent once; `turn` counts from 1 where each is sent several times."""

    path: Path
    turn: int
    tries: int = 0


class Report(msgspec.Struct, frozen=True):
    """How far the work is. Only pictures that came back right count as `done`."""

    total: int
    done: int
    failed: int
    retried: int
    connections: int
    lost_connections: int
    seconds: float
    bytes_sent: int
    bytes_received: int
    backends: dict[str, int]

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def complete(self) -> bool:
        """Whether every picture came back."""
        return self.done == self.total


@dataclass(slots=True)
class Work:
    """The pictures of one run of the client, and the count of what became of them."""

    waiting: deque[Picture]
    failures: list[str] = field(default_factory=list)
    connections: int = 0
    lost_connections: int = 0
    total: int = 0
    _done: int = 0
    _retried: int = 0
    _sent: int = 0
    _received: int = 0
    _backends: Counter[str] = field(default_factory=Counter)
    _began: float | None = None
    _ended: float | None = None
    _changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    @classmethod
    def of(cls, paths: Iterable[Path], times: int) -> Work:
        """Return the work of sending each file so many times."""
        pictures = deque(Picture(path, turn) for turn in range(1, times + 1) for path in paths)
        return cls(pictures, total=len(pictures))

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, for better or worse."""
        return self._done + len(self.failures) == self.total

    async def take(self) -> Picture | None:
        """Return the next picture, waiting for one that may yet be given back; None when the work is over."""
        if self._began is None:
            self._began = trio.current_time()
        while not self.waiting:
            if self.over:
                return None
            await self._changed.park()
        return self.waiting.popleft()

    def answered(self, backend: str, sent: int, received: int) -> None:
        """Count a picture that came back and is safe."""
        self._done += 1
        self._backends[backend] += 1
        self._sent += sent
        self._received += received
        self._tell()

    def failed(self, picture: Picture, reason: str) -> str:
        """Count a picture that cannot be done; return the line that says so."""
        line = f"{picture.path}: {reason}"
        self.failures.append(line)
        self._tell()
        return line

    def give_back(self, pictures: Iterable[Picture]) -> list[str]:
        """Take pictures back whose connection ended before the answer; return a line for each that is given up."""
        lines: list[str] = []
        for picture in pictures:
            picture.tries += 1
            if picture.tries < TRIES:
                self._retried += 1
                self.waiting.append(picture)
            else:
                lines.append(self.failed(picture, f"{TRIES} connections ended before the answer"))
        self._tell()
        return lines

    def report(self) -> Report:
        """Return the figures of this moment."""
        return Report(
            total=self.total,
            done=self._done,
            failed=len(self.failures),
            retried=self._retried,
            connections=self.connections,
            lost_connections=self.lost_connections,
            seconds=self._seconds(),
            bytes_sent=self._sent,
            bytes_received=self._received,
            backends=dict(sorted(self._backends.items())),
        )

    def _seconds(self) -> float:
        if self._began is None:
            return 0.0
        return (trio.current_time() if self._ended is None else self._ended) - self._began

    def _tell(self) -> None:
        if self.over:
            self._ended = trio.current_time()
        self._changed.unpark_all()
