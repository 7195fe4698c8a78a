"""Run a job as a whole program: signals, logging, exit code."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import trio

from .._core.border import mark_started, run_contained
from .._core.job import Job
from .._core.last_resort import stderr_by
from .._core.trio.signals import open_signals
from .._core.words.states import JobState
from ..log import MORE, has_default_logger
from .log import ProgramLog
from .look import Look  # here, and not when a program runs: by then it may have dropped the right to read files
from .stop import CODE_BASE, ProgramStop, stopping_signals


def run(job: Job[Any]) -> int:
    """Run `job` as a whole program and return its exit code; pass that to `sys.exit`.

    The first SIGINT, SIGTERM or SIGHUP finishes the job within its `grace`, the second cancels it, the third ends the process
    at once: after one line on stderr and the tree of what hangs, with the finalizers as they are. They are counted wherever
    they come, from before the first init until the log is written. A SIGHUP for which there is a task that listens, or a
    handler, is theirs. On SIGUSR1, unless there is one either, the tree of what runs is written to stderr.
    A signal that is ignored stays ignored, and one that C code handles stays with it. All are given back at
    the end.

    Where no default logger is registered one is, for the time of the run: readable lines with colours on a terminal, JSON lines
    elsewhere, on stderr; so the verdict is logged. A thread of its own writes them. A reader that stops reading costs lines
    (`log.dropped` says how many), and at most two seconds at the end.

    Returns:
        0 where the job is DONE, also after one signal; 1 where it failed; 130 where a second signal cut it that was SIGINT, 143
        for SIGTERM, 129 for SIGHUP.

    Raises:
        JobStateError: the job has been run before.
        RuntimeError: called from within a trio run, where `await job.run()` is right, or outside of the main thread, where
            `trio.run(job.run)` is. The job is as it was.
        TypeError: `job` is none.
    """
    return run_program(job)


def run_program(job: Job[Any], style: str | None = None, level: int | None = None) -> int:
    """Run a job as a program, with a log of this style and level; without both as `run` does."""
    if not isinstance(job, Job):
        raise TypeError(f"job must be a Job, got {job!r}")
    _check_place()
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
        return trio.run(_main, job, stop)


def _check_place() -> None:
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("job.run(j) starts trio; within a trio run use await j.run()")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("job.run(j) obeys signals, which needs the main thread; elsewhere use trio.run(j.run)")


async def _main(job: Job[Any], stop: ProgramStop) -> int:
    mark_started(job)
    stop.begin()
    await run_contained(job)
    if stop.cut_by is not None:
        return CODE_BASE + stop.cut_by
    return 0 if job.state is JobState.DONE else 1
