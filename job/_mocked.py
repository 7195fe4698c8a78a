"""Whether time is a test's: there each tick is a checkpoint, and wall time goes as trio's does."""

from __future__ import annotations

import sys

import trio


def clock_is_mocked() -> bool:
    """Whether the present trio run is on a `trio.testing.MockClock`."""
    # Not imported for this: it brings pytest with it where that is installed, a quarter of a second at each program's start.
    # And as long as nobody else has imported it, there is no such clock.
    testing = sys.modules.get("trio.testing")
    return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)
