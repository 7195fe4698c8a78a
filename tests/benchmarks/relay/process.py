"""A process that is measured: on a core of its own, with its processor time and its memory."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .designs import Command, Design

ROOT: Final = Path(__file__).parents[3]
TICK: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
PATIENCE: Final = 10.0

PROXY_CORE, LOAD_CORE = 0, -1
"""Which of the cores that we may use: the first one, and the last."""


class DoesNotServeError(Exception):
    """A proxy does not start."""


@contextmanager
def running(words: tuple[str, ...], core: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start a program, on one of our cores or on any; kill it at the block's end."""
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        try:
            if core is not None:
                pin(process.pid, core)
            yield process
        finally:
            process.kill()


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, where the system has such a thing and more than one core."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core]})


@contextmanager
def proxying(design: Design, backend: int) -> Iterator[tuple[int, int]]:
    """Start a proxy in front of a backend; give its process id and its port.

    Raises:
        DoesNotServeError: it has ended, or does not listen in time.
    """
    command = design.command(backend)
    with running(command.words, PROXY_CORE) as process:
        assert process.stdin is not None
        process.stdin.write(command.stdin)
        process.stdin.close()
        yield process.pid, _port_of(process, command)


def _port_of(process: subprocess.Popen[str], command: Command) -> int:
    if command.port is not None:
        wait_for(command.port)
        return command.port
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise DoesNotServeError
    return int(line)


def wait_for(port: int) -> None:
    """Return when somebody listens there.

    Raises:
        DoesNotServeError: nobody does.
    """
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise DoesNotServeError


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
