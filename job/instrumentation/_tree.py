"""Draw the jobs of a program as a page of text."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from .._core import check
from .._core.inside import age, children, family, roots
from .._core.job import Job
from .._core.task import Task
from .._core.words.values import Values, printable
from ._where import where as place_of

_LONGEST: Final = 200  # characters of a name


def tree(*, jobs: Iterable[Job[Any]] | None = None, where: bool = False, limit: int = 20) -> str:
    """Return the running jobs as a tree for people, with one line per job and task.

    This may be called from any thread and from a signal handler.

    Args:
        jobs: the jobs at the top; all roots by default.
        where: True to add the line of user code in which each task waits.
        limit: the most siblings, and the most levels, that are shown; the oldest come first, and a line sums up the rest.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    limit = int(min(check.times("limit", limit), sys.maxsize))
    top = list(roots() if jobs is None else jobs)
    for each in top:
        if not isinstance(each, Job):
            raise TypeError(f"each of jobs must be a Job, got {each!r}")
    return "\n".join(_lines(top, where, limit))


class _Line(NamedTuple):
    """A line to be drawn, and the job whose parts come below it."""

    text: str
    indent: str = ""
    job: Job[Any] | None = None
    level: int = 0


def _lines(top: Sequence[Job[Any]], where: bool, limit: int) -> Iterator[str]:
    pending = [_Line(_job(job), "", job) for job in reversed(top[:limit])]
    if len(top) > limit:
        pending.insert(0, _Line(_rest_of_jobs(top[limit:])))
    while pending:
        line = pending.pop()
        yield line.text
        if line.job is not None:
            pending += reversed(_below(line, line.job, where, limit))


def _below(line: _Line, job: Job[Any], where: bool, limit: int) -> list[_Line]:
    """Return the lines directly below that of a job."""
    tasks, jobs = job.tasks, children(job)
    parts: list[tuple[str, Job[Any] | None]] = [(_task(task, where), None) for task in tasks[:limit]]
    if len(tasks) > limit:
        parts.append((_rest_of_tasks(tasks[limit:]), None))
    if line.level + 1 >= limit and jobs:
        parts.append((_rest_of_jobs([below for below, _ in islice(family(job), 1, None)], "deeper "), None))
    else:
        parts += [(_job(child), child) for child in jobs[:limit]]
        if len(jobs) > limit:
            parts.append((_rest_of_jobs(jobs[limit:]), None))
    return [_draw(line, part, last=part is parts[-1]) for part in parts]


def _draw(above: _Line, part: tuple[str, Job[Any] | None], *, last: bool) -> _Line:
    text, job = part
    bend, indent = ("└─ ", "   ") if last else ("├─ ", "│  ")
    return _Line(f"{above.indent}{bend}{text}", above.indent + indent, job, above.level + 1)


def _job(job: Job[Any]) -> str:
    code = "" if job.code is None else f", {printable(job.code)}"
    return f"job {_name(job.name)} {job.state.value}{_seconds(age(job), ', ')}{code}"


def _task(task: Task, where: bool) -> str:
    text = f"task {task.index} {_name(task.name)} {task.state.value}, {task.steps} steps"
    place = place_of(task) if where else None
    return text if place is None else f"{text}, in {printable(str(place))}"


def _rest_of_jobs(jobs: Sequence[Job[Any]], deeper: str = "") -> str:
    states = Counter(job.state for job in jobs)
    ages = [found for job in jobs if (found := age(job)) is not None]
    text = f"… {len(jobs):,} {deeper or 'more '}jobs: " + ", ".join(
        f"{n:,} {state.value}" for state, n in states.items()
    )
    return text + (f"; oldest {max(ages):.1f} s, youngest {min(ages):.1f} s" if ages else "")


def _rest_of_tasks(tasks: Sequence[Task]) -> str:
    states = Counter(task.state for task in tasks)
    counted = ", ".join(f"{number:,} {state.value}" for state, number in states.items())
    return f"… {len(tasks):,} more tasks: {counted}; oldest {_name(tasks[0].name)}, youngest {_name(tasks[-1].name)}"


def _name(name: str) -> str:
    return Values().shown(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")


def _seconds(seconds: float | None, before: str) -> str:
    return "" if seconds is None else f"{before}{seconds:.1f} s"
