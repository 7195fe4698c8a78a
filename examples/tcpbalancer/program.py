"""What the programs have in common: listening, the log, the exit code, and one line for what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import structlog

import job
from job import net


class ProgramError(Exception):
    """Something for the user to mend; the message is the line to print."""


def run(main: job.Job[Any], *, loglevel: int) -> int:
    """Run a job as a program and return its exit code. SIGINT and SIGTERM finish it, a second one cuts it."""
    job.register_default_logger(_stderr_logger(), level=loglevel)
    code = job.run(main)
    _, error = main.interrupted_by
    if error is not None:
        complain(str(error))
    return code


def server(
    name: str,
    inbound: net.Endpoint,
    build_job: Callable[[net.Stream], job.Job[Any]],
    *,
    grace: float,
) -> job.Job[None]:
    """Build the job of a server: a listener that runs a job per connection, and a line on stdout when it is bound.

    With port 0 that line is the way to learn the port. When the server is asked to stop, its connections have `grace`
    seconds to come to their end.
    """

    def name_the_address(error: BaseException) -> BaseException:
        return (
            ProgramError(f"cannot listen on {inbound.address}: {reason(error)}")
            if isinstance(error, OSError)
            else error
        )

    async def announce(task: job.Task) -> None:
        print("listening", *inbound.addresses, flush=True)
        task.done()

    j: job.Job[None] = job.Job(name=name, grace=grace, error_wrapper=name_the_address, quiet=(ProgramError,))
    j.add_task(net.serve(inbound, build_job), name="listen")
    j.add_task(announce)  # after the listener's init, so it is bound
    return j


def complain(line: str) -> None:
    """Print one line about something that went wrong."""
    print(f"error: {printable(line)}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return the text with what is no character to see written out: a peer may send escape codes for the terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def reason(error: BaseException) -> str:
    """Return what the system says of an error, without its number.

    trio keeps what went wrong at each address of a host as the cause of one error; the first of them will do.
    """
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return reason(cause.exceptions[0])
    if isinstance(cause, OSError):
        return reason(cause)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:  # not those of name resolution
        return os.strerror(error.errno)
    return printable((isinstance(error, OSError) and error.strerror) or str(error))


def _stderr_logger() -> Any:
    colors = sys.stderr.isatty()
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        wrapper_class=structlog.BoundLogger,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
        ],
    )
