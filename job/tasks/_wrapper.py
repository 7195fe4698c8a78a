"""The common part of the wrappers: factories around a factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, final

from .._core.forms import AsyncRoutines, Inner, TaskForm, form_name, make_routines, refuse_routines

if TYPE_CHECKING:
    from .._core.job import Job
    from .._core.task import Task


Change: TypeAlias = Callable[[Inner], Inner]
"""Makes the routines of a wrapper from the wrapped ones; called for each task, so that tasks share nothing."""


@final
class Wrapper:
    """A task factory around another task, with the same name."""

    __slots__ = ("_change", "_form", "_make")

    def __init__(
        self, form: TaskForm, change: Change, make: Callable[[TaskForm, Job[Any]], AsyncRoutines] | None = None
    ) -> None:
        self._form = form
        self._change = change
        self._make = make or _make_wrapped

    @property
    def __name__(self) -> str:
        """The name of the wrapped task."""
        return form_name(self._form)

    def __call__(self, job: Job[Any]) -> Inner:
        """Make the routines of one task of `job`."""
        return self._change(Inner(*self._make(self._form, job)))

    def __repr__(self) -> str:
        return f"<task factory {self.__name__!r}>"


def _make_wrapped(form: TaskForm, job: Job[Any]) -> AsyncRoutines:
    """Make the wrapped routines. The engine does not see a wrapped bare run, so its mistakes are detected here."""
    init, run, finalize = make_routines(form, job)
    if run is None or run is not form:
        return init, run, finalize
    bare = run

    async def checked(task: Task) -> object:
        result = await bare(task)
        if result is not None:
            refuse_routines(task.name, result)
        return result

    return None, checked, None


def check_form(name: str, form: object) -> None:
    """Refuse anything that is not a task in any form. A coroutine, the usual mistake, is closed first.

    Raises:
        TypeError: it is not a task.
    """
    if callable(form) or callable(getattr(form, "run", None)):
        return
    if inspect.iscoroutine(form):
        form.close()
    raise TypeError(
        f"{name} must be a factory, a coroutine function run(task) or an object with a run method, got {form!r}"
    )
