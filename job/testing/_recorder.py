"""An observer that keeps the events it receives."""

from __future__ import annotations

from typing import TypeVar, final

from .._core.words.events import Event

E = TypeVar("E")


@final
class Recorder:
    """An `Observer` that keeps every event, in the order in which it happened.

    Pass it to a job (`Job(observers=[recorder])`) or to all jobs (`register_observer(recorder)`). It keeps the jobs and tasks
    of its events alive: it is for tests, not for long-running programs.
    """

    __slots__ = ("events",)

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event, /) -> None:
        """Keep one event."""
        self.events.append(event)

    def of(self, type: type[E]) -> list[E]:
        """Return the events of one type, oldest first."""
        return [event for event in self.events if isinstance(event, type)]

    def __repr__(self) -> str:
        return f"<Recorder of {len(self.events)} events>"
