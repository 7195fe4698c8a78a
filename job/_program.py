"""Run a job as a program: signals, logging, exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any, Final

import structlog
import trio

from ._job import Job
from ._signals import open_signals
from ._verdict import Cause, CauseKind
from .log import has_default_logger, register_default_logger

FORMATS: Final = ("auto", "console", "json")
"""What the log of a program may look like."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_SIGNAL_BASE: Final = 128  # a shell's exit code for a program that a signal ended


def run(job: Job[Any]) -> int:
    """Run `job` as a whole program and return its exit code; pass that to `sys.exit`.

    SIGINT or SIGTERM finishes the job within its `grace`, a second signal cancels it. Where no default logger is registered
    one is: readable lines with colours on a terminal, JSON lines elsewhere, on stderr; so the verdict is logged.

    Returns:
        0 where the job is DONE, also after one signal; 1 where it failed; 130 or 143 where a second signal cut it.

    Raises:
        JobStateError: the job has been run before.
        RuntimeError: called from within a trio run, where `await job.run()` is right, or outside of the main thread, where
            `trio.run(job.run)` is. The job is as it was.
        TypeError: `job` is none.
    """
    if not isinstance(job, Job):
        raise TypeError(f"job must be a Job, got {job!r}")
    _check_place()
    if not has_default_logger():
        register_default_logger(stderr_logger(), level=1)
    return trio.run(_main, job)


def _check_place() -> None:
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("job.run(j) starts trio; within a trio run use await j.run()")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("job.run(j) obeys signals, which needs the main thread; elsewhere use trio.run(j.run)")


async def _main(job: Job[Any]) -> int:
    cut_by: list[int] = []
    job._claim()
    with open_signals(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, job, signals, cut_by)
            await job._live(contained=True)
            nursery.cancel_scope.cancel()
    if job._ending.fatal is not None:
        raise job._ending.fatal
    if cut_by:
        return _SIGNAL_BASE + cut_by[0]
    return 1 if job._failed else 0


async def _obey(job: Job[Any], signals: Any, cut_by: list[int]) -> None:
    await anext(signals)
    job._finish(Cause(CauseKind.SIGNAL, at=job.clock()), job._limits.grace)
    async for number in signals:
        failed_before = job._failed
        job.cancel(f"cut by a second signal, {signal.Signals(number).name}")
        if job._failed and not failed_before:  # else it came too late: the finalizers had begun
            cut_by.append(number)


def stderr_logger(style: str = "auto") -> Any:
    """Return a structlog logger that writes to stderr.

    Args:
        style: one of `FORMATS`: `console` is readable, with colours on a terminal unless NO_COLOR is set; `json` is one object
            a line; `auto` is the first on a terminal and the second elsewhere.
    """
    terminal = sys.stderr.isatty()
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    # Both without the locals of each frame: they may hold what is nobody's business.
    if style == "console" or (style == "auto" and terminal):
        colours = terminal and not os.environ.get("NO_COLOR")
        processors.append(
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
        )
    else:
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors.append(structlog.processors.ExceptionRenderer(tracebacks))
        processors.append(structlog.processors.JSONRenderer(default=repr))
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr), processors=processors, wrapper_class=structlog.BoundLogger
    )
