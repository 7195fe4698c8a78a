"""Run the soak: `python -m tests.soak [--minutes M] [--seed N]`. Exit code 0 where everything was as it should be."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

import trio
import trustme

from .chaos import Backend, Clients, chaos
from .processes import Process

PROCESSES: Final = 4
WARM_UP: Final = 5.0
QUIET_WITHIN: Final = 60.0
MORE_MEMORY: Final = 32 * 2**20
BACK: Final = ("descriptors", "tasks", "inbound", "outbound", "taken")
"""The figures that must be back where they were."""


async def soak(minutes: float, seed: int, folder: Path) -> list[str]:
    """Run it, print the figures, and return what was wrong."""
    certificate, authority = certificates(folder)
    plain, tls = backends = [Backend(), Backend(certificate)]
    for backend in backends:
        await backend.start()
    try:
        with (
            (folder / "log").open("wb") as log,
            Process("proxy", plain.port, tls.port, certificate, authority, log=log.fileno()) as proxy,
        ):
            setup = {"target": plain.port, "authority": str(authority), "proxies": await proxy.line()}
            before, after, clients, done = await load(proxy, backends, setup, minutes, Random(seed))
            crashed = [backend.port for backend in backends if not backend.process.alive]
            proxy.hit(signal.SIGTERM)
            code = await proxy.end(20)
    finally:
        for backend in backends:
            backend.process.__exit__(None, None, None)
    wrong = judge(clients, plain) + compare(before, after) + loud(folder / "log")
    print("done to them:", dict(done))
    print("before:", before)
    print("after: ", after)
    wrong += [f"the backend at {port} ended by itself" for port in crashed]
    return wrong + ([f"the proxy ended with {code}"] if code else [])


async def load(
    proxy: Process, backends: list[Backend], setup: dict[str, Any], minutes: float, random: Random
) -> tuple[dict[str, int], dict[str, int], list[list[Any]], Counter[str]]:
    """Let the clients run: a little while in peace, then among the chaos; return the figures after each, in quiet."""
    done: Counter[str] = Counter()
    calm = await run_clients(setup, random, WARM_UP)
    before = await figures_in_quiet(proxy)
    hit = await run_clients(setup, random, minutes * 60, backends, done)
    return before, await figures_in_quiet(proxy), calm + hit, done


async def run_clients(
    setup: dict[str, Any],
    random: Random,
    seconds: float,
    backends: list[Backend] | None = None,
    done: Counter[str] | None = None,
) -> list[list[Any]]:
    """Run clients for so long, with chaos where there are backends to be hit, and return what came of them."""
    clients = [Clients(setup, Random(random.randrange(2**30))) for _ in range(PROCESSES)]
    async with trio.open_nursery() as nursery:
        for each in clients:
            nursery.start_soon(each.run)
        await trio.sleep(1)
        with trio.move_on_after(seconds):
            if backends is None or done is None:
                await trio.sleep_forever()
            else:
                await chaos(backends, clients, random, done)
        for process in [each.process for each in backends or []] + [each.process for each in clients]:
            process.hit(signal.SIGCONT)
        for each in clients:
            each.process.say_no_more()
    return [result for each in clients for result in each.results]


async def figures_in_quiet(proxy: Process) -> dict[str, int]:
    """Return the proxy's figures once no connection is left, or as they are in the end."""
    with trio.move_on_after(QUIET_WITHIN):
        while True:
            figures = await figures_of(proxy)
            if not figures["inbound"] + figures["outbound"] + figures["taken"]:
                break
            await trio.sleep(0.5)
    await trio.sleep(1)
    return await figures_of(proxy)


async def figures_of(proxy: Process) -> dict[str, int]:
    """Ask the proxy."""
    proxy.hit(signal.SIGUSR1)
    figures: dict[str, int] = await proxy.line()
    return figures


def judge(results: list[list[Any]], plain: Backend) -> list[str]:
    """Print what came of the connections, and return what must not have come of any.

    The end of a process that was killed looks like a good one, but not through TLS to the backend.
    """
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for kind, outcome, began, ended, _ in results:
        excused = outcome == "short" and kind != "tls_both" and plain.was_down(began, ended)
        outcomes[f"{kind}: {outcome}{', killed' if excused else ''}"] += 1
        if outcome in ("wrong", "late", "short") and not excused:
            wrong.append(f"{kind}: {outcome}, {ended - began:.2f} s")
    print(f"{len(results):,} connections, {sum(each[4] for each in results):,} bytes checked")
    for name, count in sorted(outcomes.items()):
        print(f"  {name}: {count:,}")
    return wrong


def compare(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return what is not back where it was."""
    wrong = [f"{name}: {before[name]} before, {after[name]} after" for name in BACK if before[name] != after[name]]
    if after["rss"] > before["rss"] + MORE_MEMORY:
        wrong.append(f"memory: {before['rss'] >> 20} MiB before, {after['rss'] >> 20} MiB after")
    return wrong


def loud(log: Path) -> list[str]:
    """Return the events that the proxy's log tells louder than the faults of peers deserve."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    events = Counter(each["event"] for each in records if each["level"] not in ("info", "debug"))
    return [f"in the log: {count} times {event}" for event, count in events.items()]


def certificates(folder: Path) -> tuple[Path, Path]:
    """Write the certificate of localhost, with its key, and its authority's; return where."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "certificate"))
    authority.cert_pem.write_to_path(str(folder / "authority"))
    return folder / "certificate", folder / "authority"


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Soak a proxy, and hit its peers meanwhile."
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        wrong = trio.run(soak, options.minutes, options.seed, Path(folder))
    for each, count in Counter(wrong).most_common(20):
        print("WRONG:", each, f"({count} times)" if count > 1 else "")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
