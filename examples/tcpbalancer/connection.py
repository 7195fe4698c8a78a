"""One connection of the client: a job of five tasks around the socket.

    connect (oneshot) ──>  scan ──> write ──> the balancer ──> read ──> save
                            │                                             │
                        next picture of the folder              the answer, to the disk

scan sends pictures as long as there are some, a few ahead of the answers; save counts and keeps what comes back. If any of
them fails, all end, and the finalizer gives back to the list of work what has had no answer.
"""

from __future__ import annotations

import itertools
import stat
from contextlib import suppress
from dataclasses import dataclass
from errno import EISDIR, ENAMETOOLONG
from pathlib import Path
from typing import Final, final

import trio

import job
from job import net

from . import images
from .messages import MAX_FILE, Message, Refused, Resize
from .program import ProgramError, reason
from .work import Picture, Work

AHEAD: Final = 2
"""How many pictures may be on their way in one connection."""
ANSWER_WITHIN: Final = 30.0
"""Seconds that save waits for something to do before it takes the other side for dead."""
HANG_UP_AFTER: Final = 2.0
"""Seconds without a picture to send after which the connection is closed: others may be waiting for its place."""
GRACE: Final = 1.0
"""Seconds for the tasks to come to rest when the connection is no longer needed."""

LOST: Final[tuple[type[Exception], ...]] = (*net.PEER_FAULTS, job.IdleTimeoutError)
"""What ends a connection, and not the client."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with each picture. Without an output folder the answers are counted and not kept."""

    width: int
    height: int
    output: Path | None


@final
class Connection:
    """The tasks of one connection, and the pictures that are on their way in it."""

    def __init__(self, proxy: net.Endpoint, work: Work, order: Order) -> None:
        self._work = work
        self._order = order
        self._ids = itertools.count(1)
        self._room = trio.Semaphore(AHEAD)
        self._taken: dict[int, Picture] = {}  # by id: to be given back where no answer comes
        self._sent: dict[int, int] = {}  # by id, the size of the file: what may be answered
        self.job: job.Job[net.Stream] = job.Job(name="connection", grace=GRACE, quiet=(*LOST, ProgramError))
        self.job.add_oneshot_task(proxy.connect_task)
        self.job.add_task(net.read_task)
        self.job.add_task(net.write_task)
        self.job.add_task(self.scan_task)
        self.job.add_task(self.save_task, idle_timeout=ANSWER_WITHIN)

    @property
    def was_up(self) -> bool:
        """Whether the other side took the connection."""
        return self.job.value is not None

    def scan_task(self, j: job.Job[net.Stream]) -> job.Routines:
        """Send the next picture, once there is room for one more on the way."""

        def init(task: job.Task) -> None:
            self._work.connections += 1

        async def run(task: job.Task) -> None:
            await self._room.acquire()
            picture = await self._next_picture()
            if picture is None:
                self._room.release()
                return task.tick() if self._taken else task.finish_job()
            await self._send(j.value, picture)
            return task.tick()

        def finalize(task: job.Task) -> None:
            self._work.connections -= 1
            self._work.give_back(self._taken.values())

        return job.Routines(init, run, finalize)

    def save_task(self, j: job.Job[net.Stream]) -> job.Routines:
        """Take one answer and see to it that its picture is safe."""

        async def run(task: job.Task) -> None:
            with task.cancel_on_stop():
                try:
                    async with j.value.received() as answer:
                        await self._settle(answer)
                except trio.EndOfChannel:
                    message = f"closed by the other side, {len(self._sent)} pictures on their way"
                    raise net.ProtocolError(message) from None
                task.log.debug("answered", id=answer.id, answer=type(answer).__name__)
                task.tick()

        return job.Routines(run=run)

    async def _next_picture(self) -> Picture | None:
        with trio.move_on_after(HANG_UP_AFTER):
            return await self._work.take()
        return None

    async def _send(self, stream: net.Stream, picture: Picture) -> None:
        number = next(self._ids)
        self._taken[number] = picture  # before the first await, so that it is given back whatever happens
        try:
            data = await trio.to_thread.run_sync(read_file, picture.path)
        except OSError as error:
            self._refuse(number, f"cannot be read: {reason(error)}")
            return
        self._sent[number] = len(data)
        await stream.send(Resize(number, self._order.width, self._order.height, data))

    async def _settle(self, answer: Message) -> None:
        """Take an answer, which counts only for a picture that was sent: a backend can say anything."""
        if isinstance(answer, Resize) or answer.id not in self._sent:
            raise net.ProtocolError(f"an answer to nothing: {type(answer).__name__} {answer.id}")
        size = self._sent.pop(answer.id)
        if isinstance(answer, Refused):
            return self._refuse(answer.id, answer.reason)
        try:
            await self._save(self._taken[answer.id], answer.image)
        except UnusableNameError as error:
            return self._refuse(answer.id, str(error))
        del self._taken[answer.id]
        self._work.answered(answer.backend, sent=size, received=len(answer.image))
        return self._room.release()

    def _refuse(self, number: int, why: str) -> None:
        self._work.failed(self._taken.pop(number), why)
        self._room.release()

    async def _save(self, picture: Picture, image: bytes) -> None:
        if self._order.output is not None:
            name = images.output_name(picture.path, (self._order.width, self._order.height), picture.turn)
            await trio.to_thread.run_sync(save_file, self._order.output / name, image)


def read_file(path: Path) -> bytes:
    """Return what is in the file. Called in a thread.

    Raises:
        OSError: it cannot be read, or is too long to be sent.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe that nobody writes to would hold the thread for ever
        raise OSError("it is no regular file")
    if status.st_size > MAX_FILE:
        raise OSError(f"it is longer than {MAX_FILE // 2**20} MiB")
    return path.read_bytes()


class UnusableNameError(Exception):
    """One file cannot be saved by its name; others can."""


def save_file(path: Path, data: bytes) -> None:
    """Write the file, whole or not at all. Called in a thread.

    Raises:
        UnusableNameError: its name is too long, or a folder has it.
        ProgramError: it cannot be written, and nor could the others.
    """
    part = path.with_name(path.name + ".part")
    try:
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        kind = UnusableNameError if error.errno in (ENAMETOOLONG, EISDIR) else ProgramError
        raise kind(f"cannot save {path}: {reason(error)}") from error
