"""Where a task waits: the innermost frame of the user's code below it.

Tasks may share a trio task, and a job may run within a task's own `run`, so the chain of what awaits what may lead through
several of them; what counts is the part from the task's own frame to the next job. No locals are read through a frame: asking a
frame for them makes a copy that lives as long as the frame does, and so would whatever is in it.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final, NamedTuple, TypeAlias

import trio

from .._core.inside import DRIVEN_BY_HAND, RUN_OF_A_JOB, RUN_OF_A_TASK, trio_task_of
from .._core.task import Task

Suspended: TypeAlias = "CoroutineType[Any, Any, Any] | GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any]"
_SUSPENDED: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)

_LIBRARY: Final = f"{Path(os.__file__).parent}{os.sep}"  # sysconfig, which knows too, may be unreadable by now
_TRIO: Final = Path(trio.__file__).parent
_NOT_THE_USERS: Final = tuple(
    f"{folder}/"
    for folder in (Path(__file__).parents[1], _TRIO, _TRIO.parent / "outcome")  # outcome is a part of trio
)
_INSTALLED: Final = ("site-packages", "dist-packages")  # these lie within the standard library, and are not of it


class Where(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.function} at {self.file}:{self.line}"


def where(task: Task) -> Where | None:
    """Return where a task waits; None where it waits in no code of the user's, or runs just now."""
    home = trio_task_of(task)
    if home is None:
        return None
    try:
        found = _innermost(home.coro, task)
        frame = None if found is None or _runs(home.coro) else _frame(found)
    except (AttributeError, RuntimeError, ValueError):  # it went on meanwhile, in another thread
        return None
    return None if frame is None else Where(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def running(frame: FrameType | None, below: CodeType) -> Where | None:
    """Return the innermost line of the user's code that a frame and its callers, up to that of `below`, run just now."""
    while frame is not None and frame.f_code is not below:
        if _is_users_file(frame.f_code.co_filename):
            return Where(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return None


def _innermost(coroutine: Any, task: Task) -> Suspended | None:
    found: Suspended | None = None
    inside = False
    while coroutine is not None:
        kind = type(coroutine)
        if kind is CoroutineType:  # as nearly all are
            code, awaited = coroutine.cr_code, coroutine.cr_await
        elif kind in _OTHERS:
            code, awaited = _OTHERS[kind](coroutine)
        else:
            coroutine = _within(coroutine)
            continue
        if not inside:
            inside = code is RUN_OF_A_TASK and any(each is task for each in gc.get_referents(coroutine))
        elif code is RUN_OF_A_JOB:
            break
        elif _is_users_file(code.co_filename):
            found = coroutine
        coroutine = awaited
    return found


def _of_generator(generator: GeneratorType[Any, Any, Any]) -> tuple[CodeType, Any]:
    code = generator.gi_code
    return code, _driven(generator) if code is DRIVEN_BY_HAND else generator.gi_yieldfrom


def _of_async_generator(generator: AsyncGeneratorType[Any, Any]) -> tuple[CodeType, Any]:
    return generator.ag_code, generator.ag_await


_OTHERS: Final[dict[type, Callable[[Any], tuple[CodeType, Any]]]] = {
    GeneratorType: _of_generator,
    AsyncGeneratorType: _of_async_generator,
}


def _within(wrapper: object) -> Suspended | None:
    """Return the coroutine or generator in what its `__await__` or `__anext__` has given, which has no attribute for it."""
    return next((inner for inner in gc.get_referents(wrapper) if isinstance(inner, _SUSPENDED)), None)


def _driven(generator: Suspended) -> Any:
    """Return what a generator drives by hand: of what it holds, that which wraps a coroutine."""
    return next((each for each in gc.get_referents(generator) if type(each).__name__ == "coroutine_wrapper"), None)


def _frame(suspended: Suspended) -> Any:
    if isinstance(suspended, CoroutineType):
        return suspended.cr_frame
    return suspended.gi_frame if isinstance(suspended, GeneratorType) else suspended.ag_frame


def _runs(coroutine: Any) -> bool:
    return bool(getattr(coroutine, "cr_running", False))


@cache
def _is_users_file(name: str) -> bool:
    if name.startswith(("<frozen ", *_NOT_THE_USERS)):
        return False
    return not name.startswith(_LIBRARY) or any(part in name for part in _INSTALLED)
