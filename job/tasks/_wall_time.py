"""Wall time, and what stands for it in a run under a mock clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio
from trio.lowlevel import RunVar

from .._mocked import clock_is_mocked

_origin: RunVar[datetime] = RunVar("job wall time at trio's time 0")


def wall_time() -> datetime:
    """Return the wall time in UTC; under a MockClock that of the first call, and trio's time since."""
    if not clock_is_mocked():
        return datetime.now(UTC)
    passed = timedelta(seconds=trio.current_time())
    try:
        return _origin.get() + passed
    except LookupError:
        now = datetime.now(UTC)
        _origin.set(now - passed)
        return now
