"""Run a job as a whole program: signals, logging, exit code."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import trio

from .._core import check
from .._core.border import mark_started, run_contained
from .._core.job import Job
from .._core.last_resort import stderr_by
from .._core.trio.signals import open_signals
from .._core.words.states import JobState
from .._core.words.user_code import shown
from ..log import MORE, has_default_logger
from .log import ProgramLog
from .stop import CODE_BASE, ProgramStop, stopping_signals

if TYPE_CHECKING:
    from ..admin._windows import Windows


def run(job: Job[Any], inspect: bool = False, admin: str | None = None) -> int:
    """Run `job` as a whole program and return its exit code; pass that to `sys.exit`.

    The first SIGINT, SIGTERM or SIGHUP finishes the job within its `grace`, and the second cancels it. The third ends the
    process at once, without waiting for finalizers, after one line on stderr and the tree of what hangs. The signals are
    counted from before the first init until the log is written. A SIGHUP with a handler, or with a task that listens to it,
    is left to them. SIGUSR1, unless it has a handler or a listener, writes the tree of what runs to stderr. An ignored signal
    stays ignored, and one handled by C code stays with it. All handlers are restored at the end.

    If no default logger is registered, one is for the time of the run, so that the verdict is logged: it writes readable lines
    with colours on a terminal and JSON lines elsewhere, to stderr, from a thread of its own. A reader that stops reading costs
    lines (`log.dropped` says how many), and two seconds at most at the end.

    Args:
        job: what to run.
        inspect: open a unix socket for `job ps` and `job top`; where that fails the job runs all the same, with a debug line.
        admin: an address at which to serve HTTP (see `job.admin.serve`) as well, with metrics, from before the first init until
            after the last finalizer. Where it cannot be had nothing is begun.

    Returns:
        0 if the job is DONE, also after one signal; 1 if it failed; 130, 143 or 129 if a second SIGINT, SIGTERM or SIGHUP cut
        it.

    Raises:
        JobStateError: the job has been run before.
        ImportError: an extra is missing that `inspect` or `admin` needs.
        RuntimeError: this was called within a trio run, where `await job.run()` is right, or outside of the main thread, where
            `trio.run(job.run)` is. The job is unchanged.
        TypeError, ValueError: `job` is not a Job, or `admin` not an address.
    """
    return run_program(job, windows=_windows(check.bool_("inspect", inspect), admin))


def _windows(inspect: bool, admin: str | None) -> Windows | None:
    if not inspect and admin is None:
        return None
    from ..admin._windows import Windows

    return Windows(inspect=inspect, admin=admin)


def run_program(
    job: Job[Any], style: str | None = None, level: int | None = None, windows: Windows | None = None
) -> int:
    """Run a job as a program, with a log of this style and level; without either, do what `run` does."""
    if not isinstance(job, Job):
        raise TypeError(f"job must be a Job, got {job!r}")
    _check_place()
    from .look import Look

    log = ProgramLog(style or "auto")
    look = Look(job, log.write, below=run_program.__code__)
    stop = ProgramStop(job, log.last_words, look.tell)
    with ExitStack() as stack:
        stack.enter_context(open_signals(stop.caught, *stopping_signals()))
        stack.enter_context(look.on_signal())
        stack.callback(log.close)
        stack.enter_context(stderr_by(log.write))
        if style or level is not None or not has_default_logger():
            stack.enter_context(log.registered(MORE if level is None else level))
        if windows is None:
            return trio.run(_main, job, stop)
        stack.enter_context(windows.observing())
        return trio.run(_main_shown, job, stop, windows)


def _check_place() -> None:
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("job.run(j) starts trio; within a trio run use await j.run()")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("job.run(j) obeys signals, which needs the main thread; elsewhere use trio.run(j.run)")


async def _main_shown(job: Job[Any], stop: ProgramStop, windows: Windows) -> int:
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(windows.open(job))
        except OSError as error:
            job.log.error("admin.failed", address=windows.address, error=shown(error))
            return 1
        return await _main(job, stop)


async def _main(job: Job[Any], stop: ProgramStop) -> int:
    mark_started(job)
    stop.begin()
    await run_contained(job)
    if stop.cut_by is not None:
        return CODE_BASE + stop.cut_by
    return 0 if job.state is JobState.DONE else 1
