"""What a whole job costs: made, run to its end, and cleaned up after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any

import trio

import job

from ..effort import Effort
from ..peers import NOT_HERE, has_module
from ..results import Row, Section, Table, Target
from ..rounds import Figure, Samples, Variant, interleaved, ratio
from ..text import spread
from . import others, raw
from .guaranteed import plain, tight
from .naive import NaiveJob, NaiveTask
from .routines import Routines, done_later, full_task, full_task_later, minimal_task, minimal_task_later, nothing

MINIMAL, FULL = "job", "job with init and finalizer in each task"
RAW_MINIMAL = "trio by hand, minimal"
RAW_TYPICAL = "trio by hand, typical"
RAW_FULL = "trio by hand, order and guards of a job"
MINIMAL_LATER, FULL_LATER = f"{MINIMAL}, each run suspends", f"{FULL}, each run suspends"
RAW_MINIMAL_LATER, RAW_FULL_LATER = f"{RAW_MINIMAL}, each run suspends", f"{RAW_FULL}, each run suspends"
RAW_TIGHT, RAW_PLAIN = "trio by hand, all guarantees, tight", "trio by hand, all guarantees, plain style"
RAW_TIGHT_LATER, RAW_PLAIN_LATER = f"{RAW_TIGHT}, each run suspends", f"{RAW_PLAIN}, each run suspends"
NAIVE, ANYIO, ANYIO_FULL = "naive core", "anyio, typical", "anyio, order and guards"
TASK_GROUP, TASK_GROUP_UVLOOP = "asyncio.TaskGroup", "asyncio.TaskGroup on uvloop"
AIOJOBS, MODE = "aiojobs", "mode"

ON_ASYNCIO = (TASK_GROUP, AIOJOBS, MODE)
NEEDS = {ANYIO: "anyio", ANYIO_FULL: "anyio", TASK_GROUP_UVLOOP: "uvloop", AIOJOBS: "aiojobs", MODE: "mode"}


def measure(effort: Effort) -> Section:
    """Run jobs of one oneshot and two recurrent tasks, each done at its first step."""
    samples = interleaved(variants(effort.jobs), effort.rounds)
    mixed = trio.run(_in_turn, effort.jobs, effort.rounds)
    rows = [
        _row("jobs/s", samples, MINIMAL, RAW_MINIMAL, Target(">=", 0.85)),
        _row("jobs/s", samples, MINIMAL_LATER, RAW_MINIMAL_LATER, Target(">=", 0.85)),
        *(_row("jobs/s", samples, MINIMAL, other) for other in (RAW_TYPICAL, NAIVE, ANYIO)),
        _row("jobs/s with init and finalizers", samples, FULL, RAW_FULL, Target(">=", 0.9)),
        _row("jobs/s with init and finalizers", samples, FULL_LATER, RAW_FULL_LATER, Target(">=", 0.9)),
        *(_row("jobs/s with init and finalizers", samples, FULL, other) for other in (RAW_TIGHT, RAW_PLAIN)),
        *(_row("jobs/s with init and finalizers", samples, FULL_LATER, o) for o in (RAW_TIGHT_LATER, RAW_PLAIN_LATER)),
        *(_row("jobs/s with init and finalizers", samples, FULL, o, Target(">", 1)) for o in (ANYIO_FULL, MODE)),
        *(_row("jobs/s, kinds in turn", mixed, MINIMAL, other) for other in (RAW_MINIMAL, RAW_TYPICAL)),
        *(
            _row("jobs/s with init and finalizers, kinds in turn", mixed, FULL, o)
            for o in (RAW_FULL, RAW_TIGHT, RAW_PLAIN)
        ),
    ]
    return Section("Whole jobs", rows, [_table(samples)])


def variants(count: int) -> dict[str, Variant]:
    """Return what runs so many jobs and returns seconds per job, for everybody who is here."""
    wholes: dict[str, Callable[[], others.Whole]] = {
        RAW_MINIMAL: lambda: raw.minimal,
        MINIMAL: lambda: partial(_run_job, minimal_task),
        RAW_MINIMAL_LATER: lambda: partial(raw.minimal, done_later, done_later),
        MINIMAL_LATER: lambda: partial(_run_job, minimal_task_later),
        RAW_TYPICAL: lambda: raw.typical,
        NAIVE: lambda: _run_naive,
        ANYIO: others.anyio_minimal,
        RAW_FULL: lambda: raw.full,
        FULL: lambda: partial(_run_job, full_task),
        RAW_FULL_LATER: lambda: partial(raw.full, done_later),
        FULL_LATER: lambda: partial(_run_job, full_task_later),
        RAW_TIGHT: lambda: tight,
        RAW_PLAIN: lambda: plain,
        RAW_TIGHT_LATER: lambda: partial(tight, done_later),
        RAW_PLAIN_LATER: lambda: partial(plain, done_later),
        ANYIO_FULL: others.anyio_full,
        TASK_GROUP: others.asyncio_minimal,
        TASK_GROUP_UVLOOP: others.asyncio_minimal,
        AIOJOBS: others.aiojobs_minimal,
        MODE: others.mode_service,
    }
    made = {name: _made(make) for name, make in wholes.items() if name not in NEEDS or has_module(NEEDS[name])}
    return {name: partial(_runner(name), partial(_timed, whole, count)) for name, whole in made.items() if whole}


def _made(make: Callable[[], others.Whole]) -> others.Whole | None:
    try:
        return make()
    except Exception:  # whatever a library may raise that is too old for this Python
        return None


def _runner(name: str) -> Callable[[Callable[[], Coroutine[Any, Any, float]]], float]:
    if name == TASK_GROUP_UVLOOP:
        return _run_uvloop
    return _run_asyncio if name in ON_ASYNCIO else trio.run


def _run_asyncio(main: Callable[[], Coroutine[Any, Any, float]]) -> float:
    return asyncio.run(main())


def _run_uvloop(main: Callable[[], Coroutine[Any, Any, float]]) -> float:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def _timed(whole: Callable[[], Awaitable[None]], count: int) -> float:
    await whole()
    started = perf_counter()
    for _ in range(count):
        await whole()
    return (perf_counter() - started) / count


async def _in_turn(count: int, rounds: int) -> Samples:
    """Run one job of each kind after another: return seconds per job.

    A loop of nothing but one kind flatters the shorter code, which the processor soon knows by heart. A program does other
    things between two jobs.
    """
    kinds: dict[str, others.Whole] = {
        RAW_MINIMAL: raw.minimal,
        RAW_TYPICAL: raw.typical,
        MINIMAL: partial(_run_job, minimal_task),
        RAW_FULL: raw.full,
        RAW_TIGHT: tight,
        RAW_PLAIN: plain,
        FULL: partial(_run_job, full_task),
    }
    samples: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        spent = dict.fromkeys(kinds, 0.0)
        for _ in range(count):
            for name, whole in kinds.items():
                started = perf_counter()
                await whole()
                spent[name] += perf_counter() - started
        for name, seconds in spent.items():
            samples[name].append(seconds / count)
    return samples


async def _run_job(factory: Callable[[job.Job[None]], Routines]) -> None:
    j = job.Job[None]()
    j.add_oneshot_task(factory)
    j.add_task(factory)
    j.add_task(factory)
    await j.run()


async def _run_naive() -> None:
    naive = NaiveJob()
    for _ in range(3):
        naive.add(_naive_run, nothing)
    await naive.run()


async def _naive_run(task: NaiveTask) -> None:
    task.done()


def _row(what: str, samples: Samples, ours: str, other: str, target: Target | None = None) -> Row:
    if other not in samples:
        return Row(f"{what} / {other}", None, target, note=f"{NEEDS[other]}: {NOT_HERE}")
    micro = [f"{Figure.of(samples[name]).median * 1e6:.1f}" for name in (ours, other)]
    # Seconds per job, so the other way round than jobs per second.
    return Row(f"{what} / {other}", ratio(samples, other, ours), target, note=f"{' / '.join(micro)} us a job")


def _table(samples: Samples) -> Table:
    lines: list[tuple[str, ...]] = [(name, spread(Figure.of(v).scaled(1e6))) for name, v in samples.items()]
    note = "The last four run on another loop and promise less: no order of clean-up, no shield, no first cause."
    return Table("One oneshot and two recurrent tasks, microseconds", ("", "us"), lines, note)
