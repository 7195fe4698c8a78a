"""The three forms in which a task may be given, brought to one: a factory, a bare run, an object with a `run` method."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from inspect import CO_COROUTINE
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, cast

if TYPE_CHECKING:
    from ._job import Job
    from ._task import Task

Routine: TypeAlias = "Callable[[Task], object]"
"""Takes the task; `async def` or plain, an awaitable result of a plain one is awaited."""
AsyncRoutine: TypeAlias = "Callable[[Task], Awaitable[object]]"


class Routines(NamedTuple):
    """What a factory returns: the three routines of a task, each may be None; a plain 3-tuple is as good.

    init: called once, before `run`. run: called again and again until it says `done()`. finalize: called exactly once for
    each task whose init was entered, whatever happened.
    """

    init: Routine | None = None
    run: Routine | None = None
    finalize: Routine | None = None


# The job of a factory is `Job[Any]`: a factory written for Job[Stream] goes into any job that its author puts it in.
Factory: TypeAlias = "Callable[[Job[Any]], Routines | tuple[Routine | None, Routine | None, Routine | None] | object]"
TaskForm: TypeAlias = "Factory | Routine | object"
"""A factory, a bare run (`async def run(task)`), or an object with a `run(task)` method."""


def make_routines(form: object, job: object) -> Routines:
    """Tell which of the three forms `form` is, and make the routines of a task of `job` from it.

    Raises:
        TypeError: it is none of them, or what its factory returned is none either.
    """
    if is_async(form):
        return Routines(run=cast("AsyncRoutine", form))
    if not isinstance(form, type) and callable(getattr(form, "run", None)):
        return _from_object(form, form)
    if callable(form):
        return _from_factory(form, _made_by(form, job))
    raise TypeError(
        f"a task must be a factory, a coroutine function run(task) or an object with a run method, got {form!r}"
    )


def _made_by(factory: Callable[..., object], job: object) -> object:
    try:
        return factory(job)
    except Exception as error:
        error.add_note(
            f"in the factory {form_name(factory)!r}, called with the job; a run of its own must be an async def"
        )
        raise


def form_name(form: object) -> str:
    """Return the name of a task form: the function's (under any partial) or the class's, a trailing `_task` dropped."""
    while isinstance(form, functools.partial):
        form = form.func
    name = getattr(form, "__name__", None) or type(form).__name__
    return name.removesuffix("_task") or name


def _from_factory(form: object, made: object) -> Routines:
    if isinstance(made, tuple):
        return _from_tuple(form, made)
    if inspect.isawaitable(made):
        if inspect.iscoroutine(made):
            made.close()
        raise TypeError(
            f"the factory of {form_name(form)!r} returned a coroutine; a factory is a plain function that returns routines"
        )
    if callable(getattr(made, "run", None)):
        return _from_object(form, made)
    raise TypeError(f"the factory of {form_name(form)!r} must return (init, run, finalize), got {made!r}")


def _from_tuple(form: object, made: tuple[Any, ...]) -> Routines:
    if len(made) != len(Routines._fields):
        raise TypeError(f"the factory of {form_name(form)!r} must return (init, run, finalize), got {made!r}")
    return _checked(form, made if isinstance(made, Routines) else Routines(*made))


def _from_object(form: object, thing: object) -> Routines:
    return _checked(form, Routines(*(getattr(thing, part, None) for part in Routines._fields)))


def _checked(form: object, routines: Routines) -> Routines:
    for routine in routines:
        if routine is not None and not callable(routine):
            _refuse_part(form, routines)
    return routines


def _refuse_part(form: object, routines: Routines) -> NoReturn:
    wrong = {
        part: routine for part, routine in routines._asdict().items() if routine is not None and not callable(routine)
    }
    part, routine = next(iter(wrong.items()))
    raise TypeError(f"{part} of {form_name(form)!r} must be callable or None, got {routine!r}")


def refuse_routines(name: str, result: object) -> None:
    """Refuse the result of a `run` that is a factory written `async def` by mistake.

    Without this it would fail with a missing step, which says nothing of the mistake.
    """
    if isinstance(result, tuple) and len(result) == 3 and all(part is None or callable(part) for part in result):
        raise TypeError(f"{name!r} is a coroutine function and returned routines; a factory is a plain function")


def as_async(routine: Routine | None) -> AsyncRoutine | None:
    """Return `routine` as something whose result can always be awaited, at no cost where it already is."""
    if routine is None or is_async(routine):
        return cast("AsyncRoutine | None", routine)

    async def call(task: Task) -> None:
        result = routine(task)
        if inspect.isawaitable(result):
            await result

    return call


def is_async(function: object) -> bool:
    """Whether calling `function` gives a coroutine; partials and bound methods are looked through."""
    # The shortcuts are for speed: this is asked for each routine of each task, nearly always of a plain function.
    if type(function) is FunctionType:
        if function.__code__.co_flags & CO_COROUTINE:
            return True
        if not function.__dict__:  # where a mark would be
            return False
    return inspect.iscoroutinefunction(function)
