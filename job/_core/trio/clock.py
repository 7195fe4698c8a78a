"""Trio's time, for what may also be asked outside of a trio run."""

from __future__ import annotations

from trio import current_time


def clock() -> float | None:
    """Return trio's time in seconds, None outside of a trio run."""
    try:
        return current_time()
    except RuntimeError:
        return None
