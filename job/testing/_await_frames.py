"""Describe as text where trio tasks are waiting."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import trio

from .._core.trio.drive import drive_rest

_INNERMOST: Final = 5
_FRAMES: Final = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED: Final = ("cr_await", "gi_yieldfrom", "ag_await")


def branch(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    """Yield a line for a trio task and for each one below it, with its innermost frames outside of trio's core."""
    frames = [
        f"{frame.f_code.co_name}:{frame.f_lineno}"
        for frame in await_frames(task.coro)
        if not frame.f_globals.get("__name__", "").startswith("trio._core")
    ]
    yield f"{'  ' * depth}{task.name} at {' > '.join(frames[-_INNERMOST:])}"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from branch(child, depth + 1)


def await_frames(awaitable: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine and of those that it awaits, outermost first.

    This is `trio.lowlevel.Task.iter_await_frames`, which also looks through `drive_rest`.
    """
    while awaitable is not None:
        frame = _first(awaitable, _FRAMES)
        if frame is None:
            awaitable = _wrapped(awaitable)
            continue
        yield frame
        awaitable = frame.f_locals["steps"] if frame.f_code is drive_rest.__code__ else _first(awaitable, _AWAITED)


def _wrapped(awaitable: object) -> Any:
    """Return the coroutine behind the object that its `__await__` returned, which has no attribute for it."""
    return next((inner for inner in gc.get_referents(awaitable) if _first(inner, _FRAMES) is not None), None)


def _first(thing: object, names: tuple[str, ...]) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)
