"""The command line, as `job` and as `python -m job`: `job run module:factory`."""

from __future__ import annotations

import argparse
import inspect
import sys
import traceback
from collections.abc import Sequence
from functools import reduce
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn, final

from ._exceptions import JobStateError
from ._job import Job
from ._program import FORMATS, run, stderr_logger
from .log import DEBUG, MORE, has_default_logger, register_default_logger

NOT_RUN: Final = 2
"""The exit code where the command could not be carried out, as argparse has it."""

_INTERRUPTED: Final = 130


@final
class CommandError(Exception):
    """A command cannot be carried out: one line for the user. Its cause, if any, is an error of the user's code."""


@final
class Target:
    """Where a job is to be found: `module:name`, the name of a job or of a factory of one."""

    __slots__ = ("module", "name")

    def __init__(self, text: str) -> None:
        self.module, _, self.name = text.partition(":")
        if not self.module or not self.name:
            raise argparse.ArgumentTypeError(f"must be module:factory, got {text!r}")
        if self.module.endswith(".py") or "/" in self.module:
            raise argparse.ArgumentTypeError(
                f"must name a module as an import does (app:main), not a file, got {text!r}"
            )

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@final
class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(NOT_RUN, f"{self.prog}: {message} (see {self.prog} --help)\n")


@final
class Version(argparse.Action):
    """Looks the version up when it is asked for, not at each start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and leave."""
        print(f"job {metadata.version('trio-job')}")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command.

    Args:
        arguments: those of the process by default.

    Returns:
        The exit code: that of `job.run`; 2 where nothing was run, and stderr says why in one line; 130 where Ctrl-C came before
        the job began.

    Raises:
        SystemExit: the arguments are wrong (2), or help or the version was asked for (0).
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except CommandError as error:
        if options.traceback and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        print(f"{options.prog}: {error}", file=sys.stderr)
        return NOT_RUN
    return code


def _parser() -> Parser:
    parser = Parser(prog="job", description="Jobs of tasks on trio.", allow_abbrev=False)
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and leave")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    return parser


# -- job run


def _add_run(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run a job as a program",
        description="Run a job as a program: SIGINT or SIGTERM finishes it within its grace, a second one cancels it.",
        epilog="Exit codes: 0 done, 1 failed, 2 not begun, 130 or 143 cut by a second signal.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "target",
        type=Target,
        metavar="MODULE:FACTORY",
        help="a function without arguments that returns a Job, or a Job",
    )
    parser.add_argument(
        "--log-format", choices=FORMATS, help="auto (the default): console on a terminal, else json; to stderr"
    )
    parser.add_argument(
        "--log-level",
        type=int,
        choices=range(DEBUG + 1),
        help="0: warnings and the like, 1 (the default): also how jobs ended, 2: everything",
    )
    parser.add_argument("--traceback", action="store_true", help="if MODULE or FACTORY raises, show all of it")
    parser.set_defaults(command=_run, prog=parser.prog)


def _run(options: argparse.Namespace) -> int:
    try:
        job = _load(options.target)
    except KeyboardInterrupt:
        return _INTERRUPTED
    _register_logger(options.log_format, options.log_level)
    try:
        return run(job)
    except JobStateError as error:
        raise CommandError(
            f'{options.target} has been run already; has the module a job.run() outside of `if __name__ == "__main__"`?'
        ) from error


def _register_logger(log_format: str | None, level: int | None) -> None:
    # What is asked for on the command line goes before what the program registers by itself, and that before the defaults.
    if log_format or level is not None or not has_default_logger():
        register_default_logger(stderr_logger(log_format or "auto"), level=MORE if level is None else level)


def _load(target: Target) -> Job[Any]:
    here = str(Path.cwd())
    if here not in sys.path:  # a console script, unlike `python -m`, does not look there
        sys.path.insert(0, here)
    made = _named(_module(target.module), target)
    if isinstance(made, Job):
        return made
    return _made_by(made, target)


def _module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise CommandError(f"there is no module {error.name!r}, here or where Python looks") from None
        raise CommandError(f"importing {name!r} failed: {_told(error)}") from error
    except Exception as error:
        raise CommandError(f"importing {name!r} failed: {_told(error)}") from error


def _named(module: ModuleType, target: Target) -> Any:
    try:
        return reduce(getattr, target.name.split("."), module)
    except AttributeError:
        raise CommandError(f"module {target.module!r} has no {target.name!r}") from None


def _made_by(factory: Any, target: Target) -> Job[Any]:
    if not callable(factory):
        raise CommandError(f"{target} must be a Job or a function that returns one, it is {factory!r}")
    if needed := _arguments(factory):
        raise CommandError(f"{target} must be callable without arguments, it takes {needed}")
    try:
        made = factory()
    except Exception as error:
        raise CommandError(f"{target} failed: {_told(error)}") from error
    if inspect.iscoroutine(made):
        made.close()
        raise CommandError(f"{target} must be a plain function that returns a Job, it is async")
    if not isinstance(made, Job):
        raise CommandError(f"{target} must return a Job, it returned {made!r}")
    return made


def _arguments(factory: Any) -> str:
    """Return the parameters of a function that cannot be called without; nothing where it can, or may be."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some that are written in C do not say
        return ""
    try:
        signature.bind()
    except TypeError:
        return str(signature.replace(return_annotation=inspect.Signature.empty))
    return ""


def _told(error: Exception) -> str:
    """Tell an error of the user's code in one line, with the place."""
    text = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
    return f"{text}{_place(error)} (--traceback shows more)"


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):  # its message tells its own
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    path = Path(frames[-1].filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f", at {shown}:{frames[-1].lineno}"
