"""What an idle relayed connection keeps in memory."""

from __future__ import annotations

from .designs import Design
from .load import Load
from .process import proxying, resident

FIRST = 50
"""Connections that come first: what a proxy sets up once is not what each connection costs."""


def kilobytes(design: Design, load: Load, count: int) -> float:
    """Return the resident memory, in units of 1,000 bytes, of each of so many more connections in a fresh proxy."""
    with proxying(design, load.port) as (pid, port):
        load.work(f"open {port} {FIRST}", pid)
        before = resident(pid)
        held: int = load.work(f"open {port} {count}", pid).answer["held"]
        memory = (resident(pid) - before) / max(held, 1) / 1000
        load.work("close", pid)
    return memory
