"""The command line: `python -m examples.tcpbalancer backend|proxy|client|demo`, each with `--help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from job import net

from .backend import backend
from .client import Client, find_work, make_output
from .connection import Order
from .messages import MAX_SIDE
from .program import ProgramError, complain, run
from .proxy import proxy
from .work import Report

PROGRAM = "python -m examples.tcpbalancer"
LAST_PORT = 2**16 - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the programs and return its exit code: 0 the work was done, 1 it was not, 2 wrong usage."""
    options = parse(arguments)
    try:
        code: int = options.program(options)
    except ProgramError as error:
        complain(str(error))
        code = 1
    return code


def run_backend(options: argparse.Namespace) -> int:
    """Serve until a signal."""
    address = f"{options.host}:{options.port}"
    return run(backend(address, name=options.name, threads=options.threads), loglevel=options.loglevel)


def run_proxy(options: argparse.Namespace) -> int:
    """Serve until a signal."""
    address = f"{options.host}:{options.port}"
    return run(proxy(address, options.upstream, maxconns=options.maxconns), loglevel=options.loglevel)


def run_client(options: argparse.Namespace) -> int:
    """Send all pictures of the folder; done is done only where every one came back."""
    work = find_work(options.input, options.times)
    if not options.dry_run:
        make_output(options.output)
    order = Order(options.width, options.height, None if options.dry_run else options.output)
    client = Client(options.proxy, work, order, minconns=options.minconns, maxconns=options.maxconns)
    reports: list[Report] = []
    show, every = (print_json, 0.1) if options.json else (print_progress, 1.0)
    code = run(client.job(lambda report: (reports.append(report), show(report)), every=every), loglevel=options.loglevel)
    if reports and not options.json:
        print_summary(reports[-1])
    return code or int(not (reports and reports[-1].complete))


def run_demo(options: argparse.Namespace) -> int:
    """Run all three and judge what comes of it."""
    from .demo import demo

    return demo(options.images, options.output, times=options.times, loglevel=options.loglevel)


def print_json(report: Report) -> None:
    """Print a report for a program to read."""
    print(msgspec.json.encode(report).decode(), flush=True)


def print_progress(report: Report) -> None:
    """Print a report as a line."""
    print(
        f"{report.done} of {report.total} requests, {report.rate:.1f} requests/s, {report.connections} connections",
        flush=True,
    )


def print_summary(report: Report) -> None:
    """Print what came of it all."""
    print(f"{report.done} of {report.total} requests in {report.seconds:.2f} s, {report.rate:.1f} requests/s")
    print(f"{report.bytes_sent} bytes sent, {report.bytes_received} bytes received")
    print(f"{report.failed} failed, {report.lost_connections} connections lost, {report.retried} requests sent again")
    for name, count in report.backends.items():
        print(f"  {name}: {count}")


# -- the options


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; wrong usage ends the program with a line that says what is wrong, and code 2."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Resize pictures on several backends behind a balancer.")
    programs = parser.add_subparsers(metavar="backend|proxy|client|demo", required=True)
    for add in (add_backend, add_proxy, add_client, add_demo):
        program = add(programs)
        program.add_argument(
            "--loglevel", type=int, choices=(0, 1, 2), default=0, help="0 warnings, 1 connections, 2 requests"
        )
    options = parser.parse_args(arguments)
    if "minconns" in options and options.minconns > options.maxconns:
        parser.error(f"--minconns {options.minconns} is more than --maxconns {options.maxconns}")
    if "dry_run" in options and not options.dry_run and options.output is None:
        parser.error("client: --output is required, unless it is a --dry-run")
    return options
