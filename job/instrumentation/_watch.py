"""Find out what holds up the loop: a step that blocks it, or a task that spins."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, final
from weakref import WeakKeyDictionary, WeakSet

import trio
import trio.abc

from .._core import check
from .._core.forms import Factory, Routines
from .._core.inside import task_in
from .._core.task import Task
from .._core.trio.time_slice import time_slice
from ..log import JobLog

if TYPE_CHECKING:
    from .._core.job import Job

_LOOKS: Final = 4  # in the time that a step may take
_DEEPEST: Final = 50  # frames of the stack that are written


def watch_loop(*, blocked_after: float = 0.25, spinning_for: float = 3.0) -> Factory:
    """Return a factory for a task that warns of what holds up trio's loop.

    A step that holds the loop for longer than `blocked_after` is one warning, `loop.blocked`, with job, task, the seconds so
    far and the stack of that moment. A thread writes it while the loop is blocked, and calls the loggers: they must bear that.
    A task that takes steps all the time without ever suspending is one warning, `task.spinning`: it lets the others run, and
    costs a processor.

    The task has no run: it holds no job up, and fails none. It watches from its init until its job's finalizers have come to
    it, so add it first. What it costs is two short calls for each step of each trio task; without it there is nothing.

    Args:
        blocked_after: seconds that a step may hold the loop.
        spinning_for: seconds of steps without a suspension.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """
    check.positive_seconds("blocked_after", blocked_after)
    check.positive_seconds("spinning_for", spinning_for)

    def watch_loop_task(_: Job[Any]) -> Routines:
        async def init(task: Task) -> None:
            await task.enter(_watching(task, blocked_after, spinning_for))

        return Routines(init, None, None)

    return watch_loop_task


@contextmanager
def _watching(task: Task, blocked_after: float, spinning_for: float) -> Iterator[None]:
    steps = Steps()
    blocked = Blocked(steps, blocked_after, task.log)
    loops = time_slice()
    before, spinning = loops.on_spin, Spinning(spinning_for, task.log)
    loops.on_spin = spinning
    trio.lowlevel.add_instrument(steps)
    thread = threading.Thread(target=blocked.run, name="job watch", daemon=True)
    try:
        with suppress(RuntimeError):  # the system has no thread to give
            thread.start()
        yield
    finally:
        if loops.on_spin is spinning:  # else another watches by now
            loops.on_spin = before
        with suppress(KeyError):  # trio has dropped it
            trio.lowlevel.remove_instrument(steps)
        blocked.over.set()


@final
class Steps(trio.abc.Instrument):
    """The trio task that is running, and since when."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.present: tuple[trio.lowlevel.Task, float] | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.present = (task, perf_counter())

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.present = None


@final
class Blocked:
    """Checks, in a thread of its own, whether a step takes too long."""

    def __init__(self, steps: Steps, limit: float, log: JobLog) -> None:
        self._steps = steps
        self._limit = limit
        self._log = log
        self.over = threading.Event()

    def run(self) -> None:
        """Check until the watch ends; warn once per step."""
        warned = None
        while not self.over.wait(self._limit / _LOOKS):
            present = self._steps.present
            if present is None or present is warned:
                continue
            task, began_at = present
            seconds = perf_counter() - began_at
            if seconds >= self._limit and self._steps.present is present:
                warned = present
                self._warn(task, seconds)

    def _warn(self, task: trio.lowlevel.Task, seconds: float) -> None:
        frame = sys._current_frames().get(self._steps.thread)
        stack = [] if frame is None else _stack(frame)
        with suppress(Exception):  # of what runs at this moment; the warning is the least
            _log_of(task, self._log).warning("loop.blocked", seconds=round(seconds, 3), stack=stack)


@final
class Spinning:
    """Observes each loop that yields without having suspended since it last yielded."""

    def __init__(self, limit: float, log: JobLog) -> None:
        self._limit = limit
        self._log = log
        self._since: WeakKeyDictionary[trio.lowlevel.Task, float] = WeakKeyDictionary()
        self._warned: WeakSet[trio.lowlevel.Task] = WeakSet()

    def spun(self, task: trio.lowlevel.Task) -> None:
        """Note one more yield of this kind."""
        now = perf_counter()
        seconds = now - self._since.setdefault(task, now)
        if seconds >= self._limit and task not in self._warned:
            self._warned.add(task)
            _log_of(task, self._log).warning("task.spinning", seconds=round(seconds, 3))

    def suspended(self, task: trio.lowlevel.Task) -> None:
        """Note that the task has suspended by itself."""
        self._since.pop(task, None)


def _log_of(task: trio.lowlevel.Task, other: JobLog) -> JobLog:
    """Return the log of the task or job that a trio task runs; where it runs none, another, which says what it runs."""
    found = task_in(task)
    return other.bind(trio_task=task.name) if found is None else found.log


def _stack(frame: FrameType) -> list[str]:
    """Return the frames of a stack, outermost first, without their locals."""
    found = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=_DEEPEST, lookup_lines=False)
    return [f"{each.name} at {each.filename}:{each.lineno}" for each in reversed(found)]
