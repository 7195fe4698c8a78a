"""Which errors of an accept mean what, and who hears of them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, final

import trio

if TYPE_CHECKING:
    from ..log import JobLog

PASSED_OVER: Final = frozenset(
    getattr(errno, name)
    for name in ("ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH")
    if hasattr(errno, name)
)
"""The client is gone again, or may not come in: the next one, please (accept(2))."""

PAUSE: Final = 0.1
"""Seconds to wait where nothing else can be done; trio's serve_listeners waits as long."""

_LOG_INTERVAL: Final = 1.0


@final
class ShortageLog:
    """Writes of shortages, a line a second at most."""

    __slots__ = ("_count", "_log", "_next")

    def __init__(self, log: JobLog) -> None:
        self._log = log
        self._next = -float("inf")
        self._count = 0

    def note(self, error: OSError) -> None:
        """Write of an error, or count it for the next line."""
        self._count += 1
        now = trio.current_time()
        if now >= self._next:
            self._log.warning("accept.failed", error=repr(error), times=self._count)
            self._next = now + _LOG_INTERVAL
            self._count = 0
