"""`once` and `recurrent`: tasks made of a function that knows nothing of steps."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .._forms import AsyncRoutine, AsyncRoutines, Routines, TaskForm, as_async, is_async, make_routines
from .._task import BETWEEN, DONE, NONE, Task
from ._wrapper import Inner, Wrapper, check_form

if TYPE_CHECKING:
    from .._job import Job


def recurrent(fn: TaskForm) -> Wrapper:
    """Return a factory of a task that calls `fn(task)` again and again: it ticks after each call.

    A step that `fn` takes itself stands: it may call `task.idle()`, or end the task with `task.done()`.

    Args:
        fn: a function of the task, `async def` or plain; or a task made by one of the wrappers, or an object with a `run`.

    Raises:
        TypeError: `fn` is none of these.
    """
    return _of_function(fn, _recurrent)


def once(fn: TaskForm) -> Wrapper:
    """Return a factory of a task that calls `fn(task)` once and is done; the return value becomes `Task.result`.

    A `tick` inside of `fn` is a heartbeat, no more. For one unit of work beside others a plain nursery may do.

    Args:
        fn: as for `recurrent`.

    Raises:
        TypeError: `fn` is no such thing.
    """
    return _of_function(fn, _once)


def _of_function(fn: TaskForm, step: Callable[[Task, object], None]) -> Wrapper:
    check_form("fn", fn)

    def change(inner: Inner) -> Inner:
        return inner if inner.run is None else inner._replace(run=_stepping(inner.run, step))

    return Wrapper(fn, change, _routines_of)


def _routines_of(fn: TaskForm, job: Job[Any]) -> AsyncRoutines:
    """Take a function as a run, where `make_routines` would take a plain one as a factory."""
    if isinstance(fn, Wrapper | type) or (not inspect.isroutine(fn) and callable(getattr(fn, "run", None))):
        return make_routines(fn, job)
    assert callable(fn)
    return None, fn if is_async(fn) else as_async(fn), None


def _stepping(run: AsyncRoutine, step: Callable[[Task, object], None]) -> Callable[[Task], Awaitable[None]]:
    async def stepping(task: Task) -> None:
        result = await run(task)
        if _are_routines(result):
            raise TypeError(f"{task.name!r} was called with a task and returned routines: it is a factory already")
        if task._step != BETWEEN:  # else a stop found it in a wait
            step(task, result)

    return stepping


def _are_routines(result: object) -> bool:
    if not isinstance(result, tuple) or len(result) != len(Routines._fields):
        return False
    return any(map(callable, result)) and all(part is None or callable(part) for part in result)


def _recurrent(task: Task, result: object) -> None:
    if task._step == NONE:
        task.tick()


def _once(task: Task, result: object) -> None:
    if task._step != DONE or result is not None:
        task.done(result)
