"""The observers of jobs, global and per job, each isolated from the job and from the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, final

from . import check
from .words.events import Event, Observer
from .words.user_code import shown

if TYPE_CHECKING:
    from ..log import JobLog


class Entry:
    """A registered observer, and whether its fault has been reported."""

    __slots__ = ("faulty", "observer")

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.faulty = False


# A dict keeps the order of registration. Its keys are entries, because an observer may be registered twice.
_global_entries: dict[Entry, None] = {}


def register_observer(observer: Observer) -> Callable[[], None]:
    """Notify `observer` of the events of every job that starts from now on.

    Returns:
        A function that removes the registration; running jobs keep the observer until they end. Calling it twice is
        harmless.

    Raises:
        TypeError: `observer` has no callable `on_event`.
    """
    check_observer("observer", observer)
    entry = Entry(observer)
    _global_entries[entry] = None

    def unregister() -> None:
        _global_entries.pop(entry, None)

    return unregister


def entries_of(observers: Iterable[Observer]) -> tuple[Entry, ...]:
    """Return entries for a job's own observers."""
    try:
        found = tuple(observers)
    except TypeError:
        raise TypeError(f"observers must be a list of observers, or the like, got {observers!r}") from None
    for each in found:
        check_observer("each of observers", each)
    return tuple(map(Entry, found))


def global_observers() -> tuple[Entry, ...]:
    """Return the entries that a job starting now has to notify."""
    return tuple(_global_entries)


def check_observer(name: str, observer: object) -> None:
    """Refuse an object without a plain `on_event`."""
    on_event = getattr(observer, "on_event", None)
    if not callable(on_event):
        raise TypeError(f"{name} must have a method on_event(event), got {observer!r}")
    check.plain(f"on_event of {name}", on_event)


@final
class Observers:
    """The observers of one job. A job without observers has no such object, and makes no records."""

    __slots__ = ("_entries", "_log")

    def __init__(self, entries: Iterable[Entry], log: JobLog) -> None:
        self._entries = tuple(entries)
        self._log = log

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries of all observers."""
        return self._entries

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add observers, which are notified from now on."""
        self._entries = (*self._entries, *entries)

    def notify(self, event: Event) -> BaseException | None:
        """Notify every observer. The first Exception of each is logged, and none has any effect.

        Returns:
            The first BaseException that is not an Exception, if any: an order to the job.
        """
        order = None
        for entry in self._entries:
            try:
                self._tell(entry, event)
            except BaseException as error:
                order = order or error
        return order

    def _tell(self, entry: Entry, event: Event) -> None:
        try:
            entry.observer.on_event(event)
        except Exception as error:
            if not entry.faulty:
                entry.faulty = True
                self._log.error("observer.failed", observer=shown(entry.observer), error=shown(error), exc_info=error)
