"""Decide whether a program is ready for work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from .._core import check
from .._core.job import Job
from .._core.words.states import JobState

Check: TypeAlias = Callable[[], object]


def named_checks(ready: Mapping[str, Check] | Iterable[Check] | Check) -> dict[str, Check]:
    """Return checks by their names.

    Raises:
        TypeError: one cannot be called, or is async.
    """
    if callable(ready):
        ready = (ready,)
    if not isinstance(ready, Mapping):
        found: dict[str, Check] = {}
        for each in ready:
            _check("each of ready", each)
            name = getattr(each, "__name__", type(each).__name__)
            found[name if name not in found else f"{name}-{len(found) + 1}"] = each
        return found
    for name, each in ready.items():
        _check(f"ready[{check.str_('each name of ready', name)!r}]", each)
    return dict(ready)


def _check(name: str, value: object) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be a plain function, got {value!r}")
    check.plain(name, value)


def is_ready(job: Job[Any]) -> bool:
    """Return True if the topmost job above this one is set up and not asked to stop."""
    top = job
    while (above := top.parent) is not None:
        top = above
    return top.ready and not top.stopping and top.state not in (JobState.FINALIZING, JobState.DONE, JobState.CANCELLED)


def passes(each: Check) -> bool:
    """Call a check; one that raises fails."""
    try:
        return bool(each())
    except Exception:
        return False
