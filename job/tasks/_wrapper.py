"""What the wrappers have in common: they are factories around a factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, final

from .._forms import AsyncRoutine, AsyncRoutines, TaskForm, form_name, make_routines

if TYPE_CHECKING:
    from .._job import Job


class Inner(NamedTuple):
    """The routines of what is wrapped."""

    init: AsyncRoutine | None
    run: AsyncRoutine | None
    finalize: AsyncRoutine | None


Change: TypeAlias = Callable[[Inner], Inner]
"""Makes the routines of a wrapper from those of what it wraps; called anew for each task, so that tasks share nothing."""


@final
class Wrapper:
    """A task factory around another task, by whose name it goes."""

    __slots__ = ("_change", "_form", "_make")

    def __init__(
        self, form: TaskForm, change: Change, make: Callable[[TaskForm, Job[Any]], AsyncRoutines] = make_routines
    ) -> None:
        self._form = form
        self._change = change
        self._make = make

    @property
    def __name__(self) -> str:
        """The name of what is wrapped."""
        return form_name(self._form)

    def __call__(self, job: Job[Any]) -> Inner:
        """Make the routines of one task of `job`."""
        return self._change(Inner(*self._make(self._form, job)))

    def __repr__(self) -> str:
        return f"<task factory {self.__name__!r}>"


def check_form(name: str, form: object) -> None:
    """Refuse what is no task in any form; a coroutine, the usual slip, is closed.

    Raises:
        TypeError: it is none.
    """
    if callable(form) or callable(getattr(form, "run", None)):
        return
    if inspect.iscoroutine(form):
        form.close()
    raise TypeError(
        f"{name} must be a factory, a coroutine function run(task) or an object with a run method, got {form!r}"
    )
