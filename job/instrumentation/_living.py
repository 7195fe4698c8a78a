"""Count what lives, at the moment of the request."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, Final, final
from weakref import WeakKeyDictionary

import trio

from .._core.inside import family, roots, turns_of
from .._core.registry import Figure, sources
from .._core.trio.time_slice import TimeSlice
from .._core.words.states import JOB_MOVES, JobState
from ._labels import Label

_RUNNING: Final = tuple(state for state in JobState if JOB_MOVES[state] and state is not JobState.NEW)


@final
class Living:
    """A collector of prometheus-client's: it reads when it is scraped, from whatever thread that is."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._lag = LoopLag()
        self._labels: defaultdict[tuple[str, str], Label] = defaultdict(Label)

    def describe(self) -> list[Any]:
        """Name nothing at the registration: what there is to show is known when it is shown."""
        return []

    def collect(self) -> Iterator[Any]:
        """Give all that there is now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kinds = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        for figures in self._figures().values():
            first = next(iter(figures.values()))
            names = [name for name, _ in first.labels]
            made = kinds[first.kind](f"{self._namespace}_{first.name}", first.text or first.name, labels=names)
            for values, figure in figures.items():
                made.add_metric(list(values), figure.value)
            yield made

    def _figures(self) -> dict[str, dict[tuple[str, ...], Figure]]:
        """Return all figures by name and by the values of their labels; those that coincide are added up."""
        found: dict[str, dict[tuple[str, ...], Figure]] = {}
        for figure in (*self._own(), *_announced()):
            values = tuple(self._labels[figure.name, name].value(value) for name, value in figure.labels)
            series = found.setdefault(figure.name, {})
            value = figure.value + (series[values].value if values in series else 0)
            series[values] = Figure(figure.name, value, figure.labels, figure.kind, figure.text)
        return found

    def _own(self) -> Iterator[Figure]:
        states = Counter(job.state for root in roots() for job, _ in family(root))
        for state in _RUNNING:
            yield Figure("jobs_running", states[state], (("state", state.value),), text="Jobs that run.")
        lag = self._lag.measure()
        if lag is not None:
            yield Figure("loop_lag_seconds", lag, text="How long a callback waited for the loop.")


def _announced() -> Iterator[Figure]:
    for source in sources():
        with suppress(Exception):  # it changes meanwhile, or is at fault; the others are to be seen all the same
            yield from list(source.figures(source.owner))


@final
class LoopLag:
    """The delay of the loop before it runs a callback: each request starts a probe, and returns the last result."""

    def __init__(self) -> None:
        self._probes: WeakKeyDictionary[TimeSlice, _Probe] = WeakKeyDictionary()

    def measure(self) -> float | None:
        """Hand a callback to each loop that runs jobs; return how long the last one waited, or has by now, at the most."""
        loops = {found for root in roots() if (found := turns_of(root)) is not None}
        waits = [probe.waited() for loop in loops if (probe := self._probes.get(loop)) is not None]
        for loop in loops:
            probe = self._probes[loop] = _Probe()
            with suppress(trio.RunFinishedError):
                loop.token.run_sync_soon(probe.arrive)
        return max(waits, default=None if not loops else 0.0)


@final
class _Probe:
    """One callback on its way."""

    __slots__ = ("_arrived_at", "_sent_at")

    def __init__(self) -> None:
        self._sent_at = perf_counter()
        self._arrived_at: float | None = None

    def arrive(self) -> None:
        self._arrived_at = perf_counter()

    def waited(self) -> float:
        return (perf_counter() if self._arrived_at is None else self._arrived_at) - self._sent_at
