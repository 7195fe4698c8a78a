"""Outages of the broker: report each once, and wait until it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

import trio

from .._core.retry import Backoff
from .._core.words.user_code import shown
from ._errors import UnavailableError

if TYPE_CHECKING:
    from ..log import JobLog
    from ._source import Source

BACKOFF: Final = Backoff(0.1, 2, jitter=0.5)
"""Between two attempts to reach a broker that is away: a restart takes about a second, and is to be noticed soon."""


@final
class Outage:
    """Reports once that the broker is away, and once that it is back, however many calls notice it."""

    __slots__ = ("_log", "_source", "away")

    def __init__(self, source: Source[Any], log: JobLog) -> None:
        self._source = source
        self._log = log
        self.away = False

    def begins(self, error: UnavailableError) -> None:
        """Note that the broker was out of reach just now."""
        if not self.away:
            self.away = True
            self._log.warning("queue.away", queue=self._source.name, error=shown(error))

    def ends(self) -> None:
        """Note that the broker has answered."""
        if self.away:
            self.away = False
            self._log.info("queue.back", queue=self._source.name)

    async def wait_over(self) -> None:
        """Wait until the broker answers, asking less and less often."""
        failures = 0
        while self.away:
            failures += 1
            await trio.sleep(BACKOFF.after(failures))
            try:
                await self._source.statistics()
            except UnavailableError:
                continue
            self.ends()
