"""The processes of the soak: started, hit, started again, and gone at the end whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final

import trio

ROOT: Final = Path(__file__).parents[2]


@final
class Process:
    """One process of `python -m tests.soak.NAME`, with lines of JSON on its stdout. It ends with its block."""

    def __init__(self, name: str, *arguments: object, log: int = subprocess.DEVNULL) -> None:
        command = [sys.executable, "-m", f"tests.soak.{name}", *map(str, arguments)]
        self._popen = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self._popen.stdout is not None
        self._out = trio.lowlevel.FdStream(os.dup(self._popen.stdout.fileno()))
        self._rest = bytearray()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.hit(signal.SIGKILL)
        with self._popen:
            pass

    def hit(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def tell(self, value: Any) -> None:
        """Write a line to its stdin."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps(value).encode() + b"\n")
        self._popen.stdin.flush()

    def say_no_more(self) -> None:
        """End its stdin."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    async def line(self) -> Any:
        """Return the next line that it prints; None where it has ended."""
        while b"\n" not in self._rest:
            data = await self._out.receive_some()
            if not data:
                return None
            self._rest += data
        line, _, rest = self._rest.partition(b"\n")
        self._rest = rest
        return json.loads(line)

    async def end(self, seconds: float) -> int:
        """Wait for its end and return its exit code."""
        return await trio.to_thread.run_sync(partial(self._popen.wait, timeout=seconds))
