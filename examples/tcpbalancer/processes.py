"""A program of the demo as a task: init starts the process, run passes on what it prints, the finalizer stops it.

So the order of a job does the rest: what was started first is stopped last, and nothing is left behind whatever happens.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, final

import trio

import job

from .program import ProgramError

START_WITHIN: Final = 15.0
"""Seconds until a server must say where it listens."""
ROOT: Final = Path(__file__).parents[2]


@final
class Program:
    """One process of `python -m examples.tcpbalancer`.

    Args:
        name: what it is called in messages.
        arguments: gives the command line when it is started, and may wait for other programs.
        on_line: hears each line that it prints.
        leads: it ends by itself, and the job with it; the end of any other is a failure.
    """

    def __init__(
        self,
        name: str,
        arguments: Callable[[], Awaitable[list[str]]],
        on_line: Callable[[str, str], None],
        *,
        leads: bool = False,
    ) -> None:
        self.name = name
        self.code: int | None = None
        self._arguments = arguments
        self._on_line = on_line
        self._leads = leads
        self._killed = False
        self._process: trio.Process | None = None
        self._unread = bytearray()
        self._address: str | None = None

    async def init(self, task: job.Task) -> None:
        """Start the process."""
        command = [sys.executable, "-m", "examples.tcpbalancer", *await self._arguments()]
        self._process = await trio.lowlevel.open_process(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the demo alone, which stops them in order
        )

    async def run(self, task: job.Task) -> None:
        """Pass on one line, or look what the end of the process means."""
        line: str | None = None
        with task.cancel_on_stop() as wait:
            line = await self._next_line()
        if wait.cancelled_caught:
            return None
        if line is not None:
            self._on_line(self.name, line)
            return task.tick()
        self.code = await self._started.wait()
        if self._leads:
            return task.finish_job()
        if not self._killed:
            raise ProgramError(f"{self.name} ended by itself, with exit code {self.code}")
        return task.done()

    async def finalize(self, task: job.Task) -> None:
        """Stop the process, if it was started and lives, and hear what it still has to say."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            while (line := await self._next_line()) is not None:
                self._on_line(self.name, line)
            self.code = await self._process.wait()
        finally:
            if self._process.poll() is None:
                self._process.kill()

    async def address(self) -> str:
        """Return where the program listens. It says so in its first line.

        Raises:
            ProgramError: it said something else, or nothing.
        """
        if self._address is None:
            line: str | None = None
            with trio.move_on_after(START_WITHIN):
                line = await self._next_line()
            word, _, self._address = (line or "").partition(" ")
            if word != "listening":
                raise ProgramError(f"{self.name} does not listen: {line or 'it says nothing'}")
        return self._address

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL."""
        self._killed = True
        self._started.kill()

    @property
    def _started(self) -> trio.Process:
        assert self._process is not None
        return self._process

    async def _next_line(self) -> str | None:
        """Return the next line that it prints; None when it has ended."""
        output = self._started.stdout
        assert output is not None
        while b"\n" not in self._unread:
            data = await output.receive_some()
            if not data:
                return None
            self._unread += data
        line, _, rest = bytes(self._unread).partition(b"\n")
        self._unread[:] = rest
        return line.decode(errors="replace")
