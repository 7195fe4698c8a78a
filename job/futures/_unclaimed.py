"""The errors of futures that nobody has awaited yet: none of them may get lost."""

from __future__ import annotations

from typing import cast, final

from .._core.words.events import Event, TaskFailed
from .._core.words.records import TaskError


@final
class Unclaimed:
    """The errors of futures that nobody has awaited yet, in the order they happened; an observer of the job."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: dict[int, TaskError] = {}  # by the identity of the error, which two futures may share

    def on_event(self, event: Event) -> None:
        """Note a failure."""
        if isinstance(event, TaskFailed) and event.survived:
            self._failures[id(event.error.error)] = event.error

    def claim(self, error: Exception) -> None:
        """Somebody has got this one."""
        self._failures.pop(id(error), None)

    def warn(self) -> None:
        """Log them: something else is being raised."""
        for failure in self._failures.values():
            assert failure.task is not None
            failure.task.log.warning("future.unclaimed", error=repr(failure.error), exc_info=failure.error)
        self._failures.clear()

    def take(self) -> Exception | None:
        """Return what is to be raised, a single one bare, and forget all of them."""
        errors = [cast("Exception", failure.error) for failure in self._failures.values()]
        self._failures.clear()
        if len(errors) > 1:
            return ExceptionGroup(f"{len(errors)} futures failed and nobody awaited them", errors)
        return errors[0] if errors else None
