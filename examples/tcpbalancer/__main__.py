"""The command line: `python -m examples.tcpbalancer backend|proxy|client|demo`, each with `--help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import msgspec

from . import program
from .backend import backend
from .client import Client, list_pictures, make_output
from .connection import Order
from .demo import demo
from .options import parse
from .proxy import proxy
from .work import Report, Work


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the programs and return its exit code: 0 the work was done, 1 it was not, 2 wrong usage."""
    options = parse(arguments, backend=run_backend, proxy=run_proxy, client=run_client, demo=run_demo)
    try:
        code: int = options.program(options)
    except program.ProgramError as error:
        program.complain(str(error))
        return 1
    except KeyboardInterrupt:  # before or after the job, which sees to signals itself
        program.complain("interrupted")
        return 1
    return code


def run_backend(options: argparse.Namespace) -> int:
    """Serve until a signal."""
    return program.run(
        backend(listen_address(options), name=options.name, threads=options.threads), loglevel=options.loglevel
    )


def run_proxy(options: argparse.Namespace) -> int:
    """Serve until a signal."""
    return program.run(
        proxy(listen_address(options), options.upstream, maxconns=options.maxconns), loglevel=options.loglevel
    )


def listen_address(options: argparse.Namespace) -> str:
    """Return where to listen; an IPv6 address needs brackets around it."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{host}:{options.port}"


def run_client(options: argparse.Namespace) -> int:
    """Send all pictures of the folder; the work is done only where every one came back."""
    work = Work(list_pictures(options.input), options.times)
    output = None if options.dry_run else make_output(options.output)
    order = Order(options.width, options.height, output)
    client = Client(options.proxy, work, order, minconns=options.minconns, maxconns=options.maxconns)
    if options.json:
        code = program.run(client.build(print_json, every=0.1), loglevel=options.loglevel)
    else:
        code = program.run(client.build(print_progress, every=1.0), loglevel=options.loglevel)
        print_summary(client.last_report)
    return code or int(not client.last_report.complete)


def run_demo(options: argparse.Namespace) -> int:
    """Run all three, and judge what comes of it."""
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
        print(f"  {program.printable(name)}: {count}")


if __name__ == "__main__":
    sys.exit(main())
