"""The command line, as `job` and as `python -m job`: `job run module:factory`, `job queue …`."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Final, NoReturn, final

from .._core.words.exceptions import JobStateError
from ..log import ALWAYS, DEBUG, MORE
from .log import FORMATS
from .queue_commands import add_queue_command
from .run import run_program
from .target import Target, TargetError

if TYPE_CHECKING:
    from ..admin._windows import Windows

NOT_RUN: Final = 2
"""The exit code of a command that could not be carried out; argparse uses the same."""

_INTERRUPTED: Final = 130

_LEVELS: Final = {"0": ALWAYS, "1": MORE, "2": DEBUG, "warning": ALWAYS, "info": MORE, "debug": DEBUG}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command.

    Args:
        arguments: the command line; by default that of the process.

    Returns:
        The exit code: that of `job.run`; 2 if nothing was run, with the reason in one line on stderr; 130 if Ctrl-C came before
        the job began.

    Raises:
        SystemExit: the arguments are wrong (2), or help or the version was requested (0).
    """
    options = _parser().parse_args(arguments)
    code: int = options.command(options)
    return code


@final
class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(NOT_RUN, f"{self.prog}: {message} (see {self.prog} --help)\n")


@final
class Version(argparse.Action):
    """An action that looks up the version when it is requested, not at each start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print the version and exit."""
        print(f"job {metadata.version('trio-job')}")
        parser.exit()


def _parser() -> Parser:
    parser = Parser(prog="job", description="Jobs of tasks on trio.", allow_abbrev=False)
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and leave")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    add_queue_command(commands)
    _add_ps(commands)
    _add_top(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run a job as a program",
        description="Run a job as a program: SIGINT, SIGTERM or SIGHUP finishes it within its grace, a second one cancels it, "
        "a third ends the process.",
        epilog="Exit codes: 0 done, 1 failed, 2 not begun, 130, 143 or 129 cut by a second signal.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "target",
        type=_target,
        metavar="MODULE:FACTORY",
        help="a function without arguments that returns a Job, or a Job",
    )
    parser.add_argument(
        "--log-format", choices=FORMATS, help="auto (the default): console on a terminal, else json; to stderr"
    )
    parser.add_argument(
        "--log-level",
        choices=_LEVELS,
        help="0 or warning: warnings and the like, 1 or info (the default): also how jobs ended, 2 or debug: everything",
    )
    parser.add_argument("--no-inspect", action="store_true", help="do not let job ps and job top look into the program")
    parser.add_argument("--admin", metavar="ADDRESS", help="serve a page, metrics and health checks there, over HTTP")
    parser.add_argument("--traceback", action="store_true", help="if MODULE or FACTORY raises, show all of it")
    parser.set_defaults(command=_run)


def _add_ps(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "ps",
        help="list the programs that can be looked into",
        description="List the programs of this user that run under job run and can be looked into.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="as data")
    parser.set_defaults(command=_ps)


def _add_top(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "top",
        help="look into a program",
        description="Look into a program: its connections, and what each task waits for. "
        "Keys: s sort, / filter, w where, q quit.",
        epilog="Exit codes: 0 looked, 2 there is no such program, or more than one.",
        allow_abbrev=False,
    )
    parser.add_argument("target", nargs="?", metavar="PID | ADDRESS", help="by default the only program that there is")
    parser.add_argument("--once", action="store_true", help="print it once; so also where there is no terminal")
    parser.add_argument("--json", action="store_true", help="print it once, as data")
    parser.set_defaults(command=_top)


def _ps(options: argparse.Namespace) -> int:
    try:
        from ..admin._commands import ps
    except ImportError as error:
        return _refuse(error, "ps")
    return ps(as_json=options.json)


def _top(options: argparse.Namespace) -> int:
    try:
        from ..admin._commands import top
    except ImportError as error:
        return _refuse(error, "top")
    return top(options.target, once=options.once, as_json=options.json)


def _target(text: str) -> Target:
    try:
        return Target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> int:
    try:
        job = options.target.load()
    except TargetError as error:
        if options.traceback and error.__cause__ is not None:
            _say("".join(traceback.format_exception(error.__cause__)).rstrip())
        return _refuse(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    try:
        windows = _windows(options)
    except (ImportError, ValueError) as error:
        return _refuse(error)
    # Options of the command line take precedence over what the program registers, and that over the defaults.
    try:
        return run_program(job, options.log_format, _LEVELS.get(options.log_level), windows)
    except JobStateError:
        return _refuse(
            f'{options.target} has been run already; has the module a job.run() outside of `if __name__ == "__main__"`?'
        )


def _windows(options: argparse.Namespace) -> Windows | None:
    """Return what the program shows of itself; without the extra, that it is not asked to show is not missed."""
    try:
        from ..admin._windows import Windows
    except ImportError:
        if options.admin is not None:
            raise
        return None
    return Windows(inspect=not options.no_inspect, admin=options.admin)


def _refuse(reason: object, command: str = "run") -> int:
    _say(f"job {command}: {reason}")
    return NOT_RUN


def _say(text: str) -> None:
    if sys.stderr is not None:  # print() would take None for stdout.
        print(text, file=sys.stderr)
