"""Those who listen to a job, each isolated from the job and from the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from ._events import Event, Seat
from ._foreign import shown

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

    def hear(self, event: Event) -> BaseException | None:
        """Tell every observer. The first Exception of each is logged, and all of them are without effect.

        Returns:
            The first BaseException that is no Exception, where there was one: an order to the job.
        """
        order = None
        for seat in self._seats:
            try:
                self._tell(seat, event)
            except BaseException as error:
                order = order or error
        return order

    def _tell(self, seat: Seat, event: Event) -> None:
        try:
            seat.observer.on_event(event)
        except Exception as error:
            if not seat.faulty:
                seat.faulty = True
                self._log.error("observer.failed", observer=shown(seat.observer), error=shown(error), exc_info=error)
