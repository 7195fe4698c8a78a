"""`once` and `recurrent`: make tasks from functions that know nothing of steps."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from .._core.forms import (
    AsyncRoutine,
    AsyncRoutines,
    Inner,
    Routines,
    TaskForm,
    are_routines,
    as_async,
    is_async,
    make_routines,
)
from .._core.steps import done_with, stepping, tick_by_default
from .._core.task import Task
from ._wrapper import Wrapper, check_form

if TYPE_CHECKING:
    from .._core.job import Job


def recurrent(fn: TaskForm) -> Wrapper:
    """Return a factory of a task that calls `fn(task)` again and again, with a tick after each call.

    A step that `fn` takes itself stands: `fn` may call `task.idle()`, or end the task with `task.done()`.

    Args:
        fn: a function of the task, `async def` or plain; or a wrapped task, or an object with a `run` method.

    Raises:
        TypeError: `fn` is none of these.
    """
    return _of_function(fn, tick_by_default)


def once(fn: TaskForm) -> Wrapper:
    """Return a factory of a task that calls `fn(task)` once and is done; the return value becomes `Task.result`.

    A `tick` inside `fn` is only a heartbeat. For one unit of work beside others, a plain nursery may do.

    Args:
        fn: as for `recurrent`.

    Raises:
        TypeError: `fn` is none of these.
    """
    return _of_function(fn, done_with)


def _of_function(fn: TaskForm, step: Callable[[Task, object], None]) -> Wrapper:
    check_form("fn", fn)
    with_step = stepping if _is_task(fn) else _stepping_of_function

    def change(inner: Inner) -> Inner:
        return inner if inner.run is None else inner._replace(run=with_step(inner.run, step))

    return Wrapper(fn, change, _routines_of)


def _is_task(fn: TaskForm) -> bool:
    return isinstance(fn, Wrapper | type) or (not inspect.isroutine(fn) and callable(getattr(fn, "run", None)))


def _routines_of(fn: TaskForm, job: Job[Any]) -> AsyncRoutines:
    """Treat a function as a run; `make_routines` would treat a plain function as a factory."""
    if _is_task(fn):
        return make_routines(fn, job)
    function = cast("Any", fn)
    return None, function if is_async(function) else as_async(function), None


def _stepping_of_function(run: AsyncRoutine, step: Callable[[Task, object], None]) -> Callable[[Task], Awaitable[None]]:
    def checked(task: Task, result: object) -> None:
        if _are_routines(result):
            raise TypeError(f"{task.name!r} was called with a task and returned routines: it is a factory already")
        step(task, result)

    return stepping(run, checked)


def _are_routines(result: object) -> bool:
    """Return True if the result, which is otherwise the task's result, can only be routines."""
    return are_routines(result) and all(part is None or callable(part) for part in cast("Routines", result))
