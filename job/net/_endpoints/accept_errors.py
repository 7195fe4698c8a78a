"""Errors of accept, and the log lines about them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, final

import trio

from ..._core.words.user_code import shown

if TYPE_CHECKING:
    from ...log import JobLog
    from .._options import Options
    from .slots import Slots

TRANSIENT_ACCEPT_ERRNOS: Final = frozenset(
    getattr(errno, name)
    for name in ("ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH")
    if hasattr(errno, name)
)
"""The client is gone, or was refused by the host: accept the next one (accept(2))."""

SLEEP_TIME: Final = 0.1
"""Seconds to wait if a client cannot even be rejected; the same as in trio's serve_listeners."""

_LOG_INTERVAL: Final = 1.0
_LIMIT_INTERVAL: Final = 10.0


@final
class RateLimitedLog:
    """Logs shortages, at most one line a second."""

    __slots__ = ("_count", "_log", "_next")

    def __init__(self, log: JobLog) -> None:
        self._log = log
        self._next = -float("inf")
        self._count = 0

    def note(self, error: OSError) -> None:
        """Log an error, or count it for the next line."""
        self._count += 1
        now = trio.current_time()
        if now >= self._next:
            self._log.warning("accept.failed", error=shown(error), times=self._count)
            self._next = now + _LOG_INTERVAL
            self._count = 0


@final
class LimitLog:
    """Logs that the limit is reached: at once, and then every ten seconds while clients wait."""

    __slots__ = ("_address", "_log", "_options", "_reached", "_slots")

    def __init__(self, log: JobLog, address: str, options: Options, slots: Slots) -> None:
        self._log = log
        self._address = address
        self._options = options
        self._slots = slots
        self._reached = trio.Event()

    def note(self) -> None:
        """Record that a client found no place."""
        self._reached.set()

    async def run(self) -> None:
        """Write the lines, until cancelled."""
        limit, on_limit = self._options.limit, self._options.on_limit
        while True:
            await self._reached.wait()
            self._reached = trio.Event()
            self._log.warning("limit.reached", address=self._address, limit=limit, on_limit=on_limit)
            await trio.sleep(_LIMIT_INTERVAL)
            if self._slots.waiting:
                self.note()
