"""Convert the three forms of a task (a factory, a bare run, an object with a `run` method) to routines."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from inspect import CO_COROUTINE
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from .words.user_code import add_note

if TYPE_CHECKING:
    from .job import Job
    from .task import Task


Routine: TypeAlias = "Callable[[Task], object]"
"""A function of the task, `async def` or plain; an awaitable result of a plain one is awaited."""

AsyncRoutine: TypeAlias = "Callable[[Task], Awaitable[object]]"

AsyncRoutines: TypeAlias = "tuple[AsyncRoutine | None, AsyncRoutine | None, AsyncRoutine | None]"
"""init, run and finalize, as the engine calls them."""


class Routines(NamedTuple):
    """The three routines of a task, as a factory returns them. Each may be None; a plain 3-tuple is as good.

    init: called once, before `run`. run: called again and again until it says `done()`. finalize: called exactly once for
    each task whose init was entered, whatever happened.
    """

    init: Routine | None = None
    run: Routine | None = None
    finalize: Routine | None = None


# A factory takes `Job[Any]`, so that one written for Job[Stream] can be added to any job.
Factory: TypeAlias = "Callable[[Job[Any]], Routines | tuple[Routine | None, Routine | None, Routine | None] | object]"

TaskForm: TypeAlias = "Factory | Routine | object"
"""A factory, a bare run (`async def run(task)`), or an object with a `run(task)` method."""


def make_routines(form: object, job: object) -> AsyncRoutines:
    """Recognise the form of a task, and make the routines of a task of `job` from it.

    Raises:
        TypeError: `form` has none of the three forms, or a factory returned neither routines nor such an object.
    """
    if is_async(form):
        return None, cast("AsyncRoutine", form), None
    if type(form) is not FunctionType or form.__dict__:  # Nearly every factory fails this quick check.
        if not isinstance(form, type) and callable(getattr(form, "run", None)):
            return _from_object(form, form)
        if not callable(form):
            raise TypeError(
                f"a task must be a factory, a coroutine function run(task) or an object with a run method, got {form!r}"
            )
    try:
        made = form(job)
    except Exception as error:
        add_note(
            error, f"in the factory {form_name(form)!r}, called with the job; a run of its own must be an async def"
        )
        raise
    return _from_tuple(form, made) if isinstance(made, tuple) else _from_factory(form, made)


def form_name(form: object) -> str:
    """Return the name of the function (within any partial) or of the class, without a trailing `_task`."""
    while isinstance(form, functools.partial):
        form = form.func
    name = getattr(form, "__name__", None) or type(form).__name__
    return name.removesuffix("_task") or name


def _from_factory(form: object, made: object) -> AsyncRoutines:
    if inspect.isawaitable(made):
        if inspect.iscoroutine(made):
            made.close()
        raise TypeError(
            f"the factory of {form_name(form)!r} returned a coroutine; a factory is a plain function that returns routines"
        )
    if callable(getattr(made, "run", None)):
        return _from_object(form, made)
    raise TypeError(f"the factory of {form_name(form)!r} must return (init, run, finalize), got {made!r}")


def _from_object(form: object, thing: object) -> AsyncRoutines:
    return _from_tuple(form, tuple(getattr(thing, part, None) for part in Routines._fields))


def _from_tuple(form: object, made: tuple[Any, ...]) -> AsyncRoutines:
    try:
        init, run, finalize = made
    except ValueError:
        message = f"the factory of {form_name(form)!r} must return (init, run, finalize), got {made!r}"
        raise TypeError(message) from None
    return (
        init if init is None or is_async(init) else _adapted(form, "init", init),
        run if run is None or is_async(run) else _adapted(form, "run", run),
        finalize if finalize is None or is_async(finalize) else _adapted(form, "finalize", finalize),
    )


def _adapted(form: object, part: str, routine: Any) -> AsyncRoutine:
    if not callable(routine):
        raise TypeError(f"{part} of {form_name(form)!r} must be callable or None, got {routine!r}")
    return as_async(routine)


def as_async(routine: Routine) -> AsyncRoutine:
    """Wrap a plain function so that its result can always be awaited."""

    async def call(task: Task) -> object:
        result = routine(task)
        return await result if inspect.isawaitable(result) else result

    return call


def refuse_routines(name: str, result: object) -> None:
    """Refuse routines returned by a bare run: it is a factory written `async def` by mistake.

    Without this check it would fail with a missing step, which does not point at the mistake.
    """
    if are_routines(result):
        raise TypeError(f"{name!r} is a coroutine function and returned routines; a factory is a plain function")


def are_routines(result: object) -> bool:
    """Return True if `result` is what a factory returns. A tuple of three Nones may be anything, such as a database row."""
    if isinstance(result, Routines):
        return True
    return isinstance(result, tuple) and len(result) == len(Routines._fields) and any(map(callable, result))


def is_async(function: object) -> bool:
    """Return True if calling `function` returns a coroutine; look through partials and bound methods."""
    # The shortcuts are for speed: this runs for each routine of each task, and nearly all are functions or methods.
    if type(function) is not FunctionType:
        if type(function) is not MethodType:
            return inspect.iscoroutinefunction(function)
        return is_async(function.__func__)
    if function.__code__.co_flags & CO_COROUTINE:
        return True
    if not function.__dict__:  # `inspect.markcoroutinefunction` sets an attribute there.
        return False
    return inspect.iscoroutinefunction(function)


class Inner(NamedTuple):
    """The routines of a wrapped task."""

    init: AsyncRoutine | None
    run: AsyncRoutine | None
    finalize: AsyncRoutine | None
