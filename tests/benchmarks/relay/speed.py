"""Traffic through each design, in turn: small messages, short connections, bulk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import trio

from ..effort import Effort
from ..peers import NOT_HERE
from ..results import Row, Section, Table, Target
from ..rounds import Figure, ratio
from ..text import number, spread
from . import integrity
from .designs import (
    CONNECTIONS,
    HAPROXY,
    HAPROXY_SPLICE,
    JOBS,
    NAIVE,
    PPROXY,
    PROTOCOL,
    STREAMS,
    UVLOOP_PROTOCOL,
    UVLOOP_STREAMS,
    Design,
    designs,
)
from .idle import FIRST, kilobytes
from .load import Load, Work, loading
from .process import DoesNotServeError, proxying


@dataclass(frozen=True, slots=True)
class Traffic:
    """One kind of traffic: the words for the generator, and what it counts, in which unit."""

    name: str
    words: str
    count: str
    unit: str
    scale: float


ECHO: Final = Traffic("64 B echo, 50 connections", "echo {port} 50 64 {seconds} 0", "messages", "k/s", 1e3)
SHORT: Final = Traffic("short connections", "short {port} 50 {seconds}", "connections", "k/s", 1e3)
BULK: Final = Traffic("bulk, 16 connections", "bulk {port} 16 {seconds}", "bytes", "GB/s", 1e9)
TRAFFIC: Final = (ECHO, SHORT, BULK)

AGAINST_NAIVE: Final = {ECHO: Target(">=", 3), SHORT: Target(">=", 3), BULK: Target(">=", 4)}
AHEAD: Final = Target(">", 1)
TO_BEAT: Final = (STREAMS, PROTOCOL, UVLOOP_STREAMS, PPROXY)
TO_READ: Final = (UVLOOP_PROTOCOL, HAPROXY, HAPROXY_SPLICE)
DOES_NOT_START: Final = "does not start"
IDLE_TARGET: Final = Target("<=", 8, "kB")


@dataclass(slots=True)
class Found:
    """What was found about one design: checks failed, works by traffic, kilobytes of an idle connection."""

    design: Design
    failed: list[str] = field(default_factory=list)
    works: dict[Traffic, list[Work]] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)

    def rates(self, traffic: Traffic) -> list[float]:
        """Return one rate for each round."""
        return [work.per_second(traffic.count) / traffic.scale for work in self.works[traffic]]

    def remarks(self) -> str:
        """Say what it does not do, and what went wrong."""
        lost = sum(work.answer["failed"] for works in self.works.values() for work in works)
        parts = [self.design.note, f"FAILS: {', '.join(self.failed)}" if self.failed else ""]
        return "; ".join(filter(None, [*parts, f"{lost} connections failed" if lost else ""]))


def measure(effort: Effort, names: Sequence[str] = ()) -> Section:
    """Check that each design is byte-exact, then measure all of them, or those that are named."""
    found, tables = compare(designs(), effort, names)
    return Section("Relay", _rows(found), tables)


def compare(
    designs: Sequence[Design], effort: Effort, names: Sequence[str] = ()
) -> tuple[dict[str, Found], list[Table]]:
    """Check and measure these designs; return what was found of each, by its name, and the tables of that."""
    found = {design.name: Found(design) for design in designs}
    here = [one for one in found.values() if one.design.here and (not names or one.design.name in names)]
    trio.run(_check, here, effort.checks)
    serving = [one for one in here if DOES_NOT_START not in one.failed]
    with loading() as load:
        _measure_all(serving, load, effort)
    return found, [_rates(serving, effort, load.note), _per_core(serving)]


async def _check(here: Sequence[Found], sizes: integrity.Sizes) -> None:
    async with integrity.backend() as port:
        for one in here:
            try:
                with proxying(one.design, port) as (_, proxy):
                    one.failed += await integrity.failures(proxy, sizes)
            except DoesNotServeError:
                one.failed.append(DOES_NOT_START)


def _measure_all(here: Sequence[Found], load: Load, effort: Effort) -> None:
    for one in here:
        one.idle.append(kilobytes(one.design, load, min(effort.idle, CONNECTIONS - 2 * FIRST)))
    with ExitStack() as stack:
        running = [(one, *stack.enter_context(proxying(one.design, load.port))) for one in here]
        for number_of_round in range(effort.relay_rounds):
            for traffic in TRAFFIC:
                first = number_of_round % len(running)
                for one, pid, port in running[first:] + running[:first]:
                    words = traffic.words.format(port=port, seconds=effort.relay_seconds)
                    one.works.setdefault(traffic, []).append(load.work(words, pid))


def _rows(found: Mapping[str, Found]) -> list[Row]:
    rows = [row_of(found, traffic, NAIVE, target) for traffic, target in AGAINST_NAIVE.items()]
    rows += [row_of(found, traffic, other, AHEAD) for other in TO_BEAT for traffic in TRAFFIC]
    rows += [row_of(found, traffic, other, None) for other in TO_READ for traffic in TRAFFIC]
    return [*rows, _idle_row(found[JOBS])]


def row_of(found: Mapping[str, Found], traffic: Traffic, other: str, target: Target | None) -> Row:
    """Return our rate beside another one's."""
    ours, theirs = found[JOBS], found[other]
    what = f"{traffic.name} / {other}"
    if not theirs.works:
        return Row(what, None, target, note=", ".join(theirs.failed) or NOT_HERE)
    if ours.failed:
        return Row(what, None, target, note=f"ours is not byte-exact: {', '.join(ours.failed)}")
    samples = {JOBS: ours.rates(traffic), other: theirs.rates(traffic)}
    rates = " / ".join(number(Figure.of(values).median) for values in samples.values())
    mark = f"; it FAILS: {', '.join(theirs.failed)}" if theirs.failed else ""
    by_time = _per_core_second(ours, traffic).median / (_per_core_second(theirs, traffic).median or math.inf)
    note = f"{rates} {traffic.unit}; {number(by_time)}x by processor time{mark}"
    return Row(what, ratio(samples, JOBS, other), target, note=note)


def _idle_row(ours: Found) -> Row:
    return Row("memory of an idle connection", Figure.of(ours.idle), IDLE_TARGET, unit="kB", note="resident memory")


def _rates(here: Sequence[Found], effort: Effort, load: str) -> Table:
    columns = ("", *(f"{traffic.name}, {traffic.unit}" for traffic in TRAFFIC), "proxy's share", "idle, kB", "")
    lines: list[tuple[str, ...]] = [
        (
            one.design.name,
            *(spread(Figure.of(one.rates(traffic))) for traffic in TRAFFIC),
            _shares(one),
            number(one.idle[0]),
            one.remarks(),
        )
        for one in here
    ]
    note = (
        "proxy's share: of its core, for each kind of traffic; well below 100 % the load, or somebody else on this machine, "
        f"was the limit. idle: resident memory of each of {effort.idle:,} more connections. {load}"
    )
    return Table("Proxies, one core for the proxy, one for the load", columns, lines, note)


def _shares(one: Found) -> str:
    shares = (Figure.of(work.proxy_share for work in one.works[traffic]).median for traffic in TRAFFIC)
    return " ".join(f"{share * 100:.0f} %" for share in shares)


def _per_core(here: Sequence[Found]) -> Table:
    columns = ("", *(f"{traffic.name}, {traffic.unit}" for traffic in TRAFFIC))
    lines: list[tuple[str, ...]] = [
        (one.design.name, *(spread(_per_core_second(one, traffic)) for traffic in TRAFFIC)) for one in here
    ]
    return Table("The same for each second of processor time that the proxy had", columns, lines)


def _per_core_second(one: Found, traffic: Traffic) -> Figure:
    pairs = zip(one.rates(traffic), one.works[traffic], strict=True)
    return Figure.of(rate / max(work.proxy_share, 0.01) for rate, work in pairs)
