"""The client's list of work: which pictures wait, and what has come of the others. No sockets here.

Every connection takes from the same list and gives back what it took and got no answer for, so no picture is lost with a
connection. An answer is counted once, and only when the picture is safe.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import msgspec
import trio

from .program import complain

TRIES: Final = 10
"""How many connections may end under a picture, while others get answers, before it is taken for the reason."""


@dataclass(slots=True, eq=False)
class Picture:
    """One file to be sent once; `turn` counts from 1 where each file is sent several times."""

    path: Path
    turn: int
    tries: int = 0
    taken_at: int = 0  # how many answers there were
    came_back: bool = False


class Report(msgspec.Struct, frozen=True):
    """How far the work is. Only pictures that came back right are `done`."""

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


@final
class Work:
    """The pictures of one run of the client. Each is sent `times` times."""

    def __init__(self, paths: Iterable[Path], times: int = 1) -> None:
        files = list(paths)
        self.waiting = deque(Picture(path, turn) for turn in range(1, times + 1) for path in files)
        self.total = len(self.waiting)
        self._bad_files: set[Path] = set()
        self.connections = 0
        self.lost_connections = 0
        self.done = 0
        self._failed = 0
        self._retried = 0
        self._sent = 0
        self._received = 0
        self._backends: Counter[str] = Counter()
        self._began: float | None = None
        self._ended: float | None = None
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, for better or worse."""
        return self.done + self._failed == self.total

    async def take(self) -> Picture | None:
        """Return the next picture, waiting for one that may yet be given back; None when the work is over."""
        if self._began is None:
            self._began = trio.current_time()
        while not self.waiting:
            if self.over:
                return None
            await self._changed.park()
        picture = self.waiting.popleft()
        picture.taken_at = self.done
        self._retried += picture.came_back
        return picture

    async def wait_over(self) -> None:
        """Wait until nothing is left to do."""
        while not self.over:
            await self._changed.park()

    def answered(self, backend: str, *, sent: int, received: int) -> None:
        """Count a picture that came back and is safe."""
        self.done += 1
        self._backends[backend] += 1
        self._sent += sent
        self._received += received
        self._tell()

    def failed(self, picture: Picture, reason: str) -> None:
        """Count a picture that cannot be done, name its file, and give up the other turns of it that wait."""
        if picture.path not in self._bad_files:
            self._bad_files.add(picture.path)
            complain(f"{picture.path}: {reason}")
        others = [other for other in self.waiting if other.path != picture.path]
        self._failed += 1 + len(self.waiting) - len(others)
        self.waiting = deque(others)
        self._tell()

    def give_back(self, pictures: Iterable[Picture]) -> None:
        """Take back pictures whose connection ended before the answer; others go first."""
        for picture in pictures:
            picture.tries += self.done > picture.taken_at
            if picture.path in self._bad_files or picture.tries == TRIES:
                self.failed(picture, f"no answer, {TRIES} connections ended while it was on its way")
            else:
                picture.came_back = True
                self.waiting.append(picture)
        self._tell()

    def report(self) -> Report:
        """Return the figures of this moment."""
        return Report(
            total=self.total,
            done=self.done,
            failed=self._failed,
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
        # All of them: one that is woken may be cancelled before it takes anything, and the next would sleep on.
        self._changed.unpark_all()
