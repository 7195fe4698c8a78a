"""The errors of futures that have not been awaited: none of them may get lost."""

from __future__ import annotations

from typing import cast, final

from .._core.words.events import Event, TaskFailed
from .._core.words.records import TaskError


@final
class Unclaimed:
    """An observer that keeps the errors of futures that have not been awaited, in order."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: dict[int, TaskError] = {}  # By the identity of the error, which two futures may share.

    def on_event(self, event: Event) -> None:
        """Record a failure."""
        if isinstance(event, TaskFailed) and event.survived:
            self._failures[id(event.error.error)] = event.error

    def claim(self, error: Exception) -> None:
        """Drop an error, because a waiter has received it."""
        self._failures.pop(id(error), None)

    def warn(self) -> None:
        """Log the errors, because another error is being raised."""
        for failure in self._failures.values():
            assert failure.task is not None
            failure.task.log.warning("future.unclaimed", error=repr(failure.error), exc_info=failure.error)
        self._failures.clear()

    def take(self) -> Exception | None:
        """Return the error to raise, a single one bare, and drop all of them."""
        errors = [cast("Exception", failure.error) for failure in self._failures.values()]
        self._failures.clear()
        if len(errors) > 1:
            return ExceptionGroup(f"{len(errors)} futures failed and were not awaited", errors)
        return errors[0] if errors else None
