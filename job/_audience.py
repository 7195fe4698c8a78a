"""Those who listen to a job, each isolated from the job and from the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from ._events import Event, Seat

if TYPE_CHECKING:
    from .log import JobLog


@final
class Audience:
    """The observers of one job. A job that nobody observes has none of these, and makes no records."""

    __slots__ = ("_log", "_seats")

    def __init__(self, seats: Iterable[Seat], log: JobLog) -> None:
        self._seats = tuple(seats)
        self._log = log

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The places of all who listen."""
        return self._seats

    def join(self, seats: Iterable[Seat]) -> None:
        """Let more observers hear what comes from now on."""
        self._seats = (*self._seats, *seats)

    def hear(self, event: Event) -> None:
        """Tell everybody. The first fault of an observer is logged, and all of them are without effect."""
        for seat in self._seats:
            try:
                seat.observer.on_event(event)
            except Exception as error:
                if not seat.faulty:
                    seat.faulty = True
                    self._log.error("observer.failed", observer=repr(seat.observer), error=repr(error), exc_info=error)
