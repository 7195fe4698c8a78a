"""The leases of held messages, renewed by a separate task, so that a step may wait as long as it likes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

import trio

from ._errors import UnavailableError

if TYPE_CHECKING:
    from ._figures import Figures
    from ._held import Held
    from ._outage import Outage
    from ._source import Source

_PARTS: Final = 3
"""A lease is renewed when this part of it is over, so that two renewals may fail."""

_RETRY_AFTER: Final = 0.5


@final
class Leases:
    """Renews the leases of those that are added, until they are removed.

    Args:
        source: the source of the messages.
        outage: is told whether the source is within reach.
        figures: count the renewals.
        lost: called with a message that is no longer ours.
    """

    __slots__ = ("_changed", "_due", "_figures", "_lost", "_outage", "_source", "_wakes_at")

    def __init__(self, source: Source[Any], outage: Outage, figures: Figures, lost: Callable[[Held], None]) -> None:
        self._source = source
        self._outage = outage
        self._figures = figures
        self._lost = lost
        self._due: dict[Held, float] = {}  # when each is to be renewed; inf: that is under way
        self._changed = trio.Event()
        self._wakes_at = -math.inf  # it looks by itself when it begins

    def add(self, held: Held) -> None:
        """Renew the lease of a message from now on."""
        self._set_due(held, trio.current_time() + self._source.lease / _PARTS)

    def remove(self, held: Held) -> None:
        """Stop renewing the lease of a message."""
        self._due.pop(held, None)

    def _set_due(self, held: Held, at: float) -> None:
        self._due[held] = at
        if at < self._wakes_at:  # as a rule the newest is due last
            self._changed.set()

    async def run(self, start: Callable[..., object]) -> None:
        """Renew, until cancelled; `start` runs a function beside, so that one that hangs holds up no other."""
        while True:
            self._changed = trio.Event()
            self._wakes_at = min(self._due.values(), default=math.inf)
            with trio.move_on_at(self._wakes_at):
                await self._changed.wait()
            now = trio.current_time()
            for held in [held for held, at in self._due.items() if at <= now]:
                self._due[held] = math.inf
                start(self._renew, held)

    async def _renew(self, held: Held) -> None:
        began_at = trio.current_time()
        try:
            ours = await self._source.extend(held.message)
        except UnavailableError as error:
            self._renew_again(held, trio.current_time() + min(_RETRY_AFTER, self._source.lease / _PARTS))
            self._outage.begins(error)
            return
        if ours:
            self._figures.lease_renewals += 1
            held.renewed(began_at)
            self._renew_again(held, began_at + self._source.lease / _PARTS)
        self._outage.ends()
        if held in self._due and not ours and not held.settling:  # else it was settled meanwhile
            self._lost(held)

    def _renew_again(self, held: Held, at: float) -> None:
        if held in self._due:
            self._set_due(held, at)
