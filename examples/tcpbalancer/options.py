"""The options of the four programs. Wrong usage ends a program with a line that says what is wrong, and exit code 2."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from job import net

from .messages import MAX_NAME, MAX_SIDE

MINCONNS: Final = 8
MAXCONNS: Final = 15

Program: TypeAlias = Callable[[argparse.Namespace], int]


def parse(
    arguments: Sequence[str] | None, *, backend: Program, proxy: Program, client: Program, demo: Program
) -> argparse.Namespace:
    """Read the command line. `program` of the result is the function that was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.tcpbalancer", description="Resize pictures on several backends behind a balancer."
    )
    programs = parser.add_subparsers(title="programs", dest="name_of_program", metavar="PROGRAM", required=True)

    def add(name: str, program: Program, about: str) -> argparse.ArgumentParser:
        one = programs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        one.set_defaults(program=program, refuse=one.error)
        one.add_argument(
            "--loglevel", type=int, choices=(0, 1, 2), default=0, help="0 warnings, 1 connections, 2 requests too"
        )
        return one

    _backend_options(add("backend", backend, "resize the pictures that arrive"))
    _proxy_options(add("proxy", proxy, "spread connections over backends"))
    _client_options(add("client", client, "send the pictures of a folder and save the answers"))
    _demo_options(add("demo", demo, "run three backends, the balancer and a client, and kill a backend in the middle"))
    options = parser.parse_args(arguments)
    _check(options)
    return options


def _listen_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-p", "--port", type=_port, required=True, help="where to listen, 0: any free port")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")


def _backend_options(parser: argparse.ArgumentParser) -> None:
    _listen_options(parser)
    parser.add_argument("--name", type=_name, default="backend", help="what it is called in the client's figures")
    parser.add_argument(
        "--threads", type=_count, default=os.cpu_count() or 1, help="most pictures at once (default: %(default)s)"
    )


def _proxy_options(parser: argparse.ArgumentParser) -> None:
    _listen_options(parser)
    parser.add_argument(
        "-u",
        "--upstream",
        type=_address,
        action="append",
        required=True,
        help="host:port of a backend, may be repeated",
    )
    # Two descriptors each, and a process commonly has 1024.
    parser.add_argument("--maxconns", type=_count, default=400, help="most connections (default: %(default)s)")


def _client_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--proxy", type=_address, required=True, help="host:port of the balancer")
    parser.add_argument("--input", type=Path, required=True, metavar="DIR", help="the folder with the pictures")
    parser.add_argument("--output", type=Path, metavar="DIR", help="the folder for the resized ones")
    parser.add_argument("-w", "--width", type=_side, default=200, help="pixels, at most (default: %(default)s)")
    parser.add_argument("-H", "--height", type=_side, default=200, help="pixels, at most (default: %(default)s)")
    parser.add_argument("--times", type=_count, default=1, help="send each picture so often (default: %(default)s)")
    parser.add_argument("--minconns", type=_count, help=f"connections to keep (default: {MINCONNS})")
    parser.add_argument("--maxconns", type=_count, help=f"connections while pictures wait (default: {MAXCONNS})")
    parser.add_argument("--dry-run", action="store_true", help="do not save the answers")
    parser.add_argument("--json", action="store_true", help="report in lines of JSON")


def _demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=Path, metavar="DIR", help="a folder with pictures (default: draws some)")
    parser.add_argument(
        "--output", type=Path, default=Path("demo-output"), metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument("--times", type=_count, help="send each picture so often (default: some 300 requests in all)")


def _check(options: argparse.Namespace) -> None:
    """Refuse what is wrong only together with another option."""
    if options.name_of_program == "client":
        options.minconns = options.minconns or min(MINCONNS, options.maxconns or MINCONNS)
        options.maxconns = options.maxconns or max(MAXCONNS, options.minconns)
        if options.minconns > options.maxconns:
            options.refuse(f"--minconns {options.minconns} is more than --maxconns {options.maxconns}")
        if options.output is None and not options.dry_run:
            options.refuse("--output is needed, unless this is a --dry-run")
    elif options.name_of_program == "proxy" and len(set(options.upstream)) < len(options.upstream):
        options.refuse("an --upstream is given twice")


def _count(text: str) -> int:
    return _whole(text, 1, None)


def _side(text: str) -> int:
    return _whole(text, 1, MAX_SIDE)


def _port(text: str) -> int:
    return _whole(text, 0, 2**16 - 1)


def _whole(text: str, least: int, most: int | None) -> int:
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        span = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise argparse.ArgumentTypeError(f"expected a whole number {span}, got {text!r}")
    return int(text)


def _name(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text) <= MAX_NAME:
        raise argparse.ArgumentTypeError(f"expected a name of at most {MAX_NAME} letters, got {text!r}")
    return text


def _address(text: str) -> str:
    try:
        net.Endpoint(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected host:port, got {text!r}") from error
    return text
