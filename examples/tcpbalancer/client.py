"""The client: sends the pictures of a folder through the balancer, over a number of connections, and saves the answers.

    connections ── each a loop: one connection's job after another, until the work is over
    grow ───────── one more connection for as long as pictures wait
    report ─────── how far it is

A connection that is lost is no disaster: its pictures are back in the list, and the next job takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, final

import trio

import job
from job import net

from . import images
from .connection import LOST, Connection, Order
from .messages import CODEC
from .program import ProgramError, reason
from .work import Report, Work

GROW_EVERY: Final = 0.05
"""Seconds between two additional connections."""
GIVE_UP_AFTER: Final = 5
"""Failures of one connection in a row, with no answer to any other, after which nobody will answer any more."""
FIRST_PAUSE: Final = 0.1
"""Seconds before the first new attempt; each further one waits twice as long."""
CONNECT_WITHIN: Final = 5.0
"""Seconds in which the balancer must have taken a connection."""


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder.

    Raises:
        ProgramError: there is no such folder, or no picture in it.
    """
    try:
        paths = images.find(folder)
    except OSError as error:
        raise ProgramError(f"cannot list {folder}: {reason(error)}") from error
    if not paths:
        raise ProgramError(f"no JPEG or PNG images in {folder}")
    return paths


def make_output(folder: Path) -> Path:
    """Make the folder for the answers, where it is missing.

    Raises:
        ProgramError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProgramError(f"cannot make the folder {folder}: {reason(error)}") from error
    return folder


@final
class Client:
    """Keeps `minconns` to `maxconns` connections to the balancer until the work is over."""

    def __init__(self, proxy: str, work: Work, order: Order, *, minconns: int, maxconns: int) -> None:
        self._proxy = net.Endpoint(proxy, codec=CODEC, connect_timeout=CONNECT_WITHIN)
        self._address = proxy
        self._work = work
        self._order = order
        self._minconns = minconns
        self._maxconns = maxconns
        self._kept = 0
        self.last_report = work.report()

    def build(self, show: Callable[[Report], None], *, every: float) -> job.Job[None]:
        """Build the job of the client, which calls `show` with a report every so many seconds."""
        j: job.Job[None] = job.Job(name="client", quiet=(ProgramError,))
        for _ in range(self._minconns):
            j.add_task(self.connection_task)
        j.add_task(self.grow_task)
        j.add_task(partial(self.report_task, show=show, every=every))
        return j

    def connection_task(self, j: job.Job[None]) -> job.Routines:
        """Run one connection after another. One beyond `minconns` ends when no picture waits for it."""
        self._kept += 1
        failures = 0
        done = 0

        async def run(task: job.Task) -> None:
            nonlocal failures, done
            connection = Connection(self._proxy, self._work, self._order)
            try:
                await connection.job.run()
                failures = 0
            except LOST as error:
                # As long as others get answers it is worth going on.
                failures = failures + 1 if self._work.done == done else 1
                done = self._work.done
                await self._after_loss(task, connection, failures, error)
            if self._work.over or (self._kept > self._minconns and not self._work.waiting):
                self._kept -= 1
                return task.done()
            return task.tick()

        return job.Routines(run=run)

    def grow_task(self, j: job.Job[None]) -> job.Routines:
        """Add a connection for as long as pictures wait and there may be more."""

        async def run(task: job.Task) -> None:
            with trio.move_on_after(GROW_EVERY):
                await self._work.wait_over()
                return task.done()
            if self._work.waiting and self._kept < self._maxconns and not j.stopping:
                j.add_task(self.connection_task)
            return task.tick()

        return job.Routines(run=run)

    def report_task(self, j: job.Job[None], *, show: Callable[[Report], None], every: float) -> job.Routines:
        """Show how far the work is."""

        async def run(task: job.Task) -> None:
            with trio.move_on_after(every):
                await self._work.wait_over()
                return task.done()
            show(self._work.report())
            return task.tick()

        def finalize(task: job.Task) -> None:
            self.last_report = self._work.report()
            show(self.last_report)

        return job.Routines(run=run, finalize=finalize)

    async def _after_loss(self, task: job.Task, connection: Connection, failures: int, error: BaseException) -> None:
        if connection.was_up:
            self._work.lost_connections += 1
        task.log.info("connection lost", error=reason(error), failures=failures)
        if failures == GIVE_UP_AFTER:
            raise ProgramError(self._explanation(connection, error)) from error
        with task.cancel_on_stop():
            await trio.sleep(FIRST_PAUSE * 2 ** (failures - 1))

    def _explanation(self, connection: Connection, error: BaseException) -> str:
        # One that has no backend for us cuts the connection, at times before we know that it is up.
        if not connection.was_up and not isinstance(error, ConnectionResetError):
            return f"no balancer at {self._address}: {reason(error)}"
        return f"the balancer at {self._address} gives no answers (is a backend up?): {reason(error)}"
