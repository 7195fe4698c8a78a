"""Programs of the suite that run in a process of their own, with real signals and pipes."""

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

HEAD = """
import io, os, signal, sys, threading, time
import structlog, trio
import job
from job import tasks

def strike(number):
    os.kill(os.getpid(), number)
"""


@dataclass
class Ended:
    """A program that has ended."""

    code: int
    out: str
    err: str

    def records(self) -> list[dict[str, Any]]:
        """Return its log, read by a reader that takes nothing but JSON."""
        return [json.loads(line, parse_constant=_refuse) for line in self.err.splitlines()]

    def record(self, event: str) -> dict[str, Any]:
        """Return the one record of an event."""
        (found,) = [record for record in self.records() if record["event"] == event]
        return found


def _refuse(constant: str) -> None:
    raise ValueError(f"not JSON: {constant}")


def run_program(body: str, *, limit: float = 20, **options: Any) -> Ended:
    """Run a program to its end; one that is still there after `limit` seconds is killed, and its case fails."""
    command = [sys.executable, "-c", HEAD + textwrap.dedent(body)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, text=True, **pipes) as process:
        try:
            out, err = process.communicate(timeout=limit)
        finally:
            process.kill()
    return Ended(process.returncode, out or "", err or "")
