"""Jobs, connections, endpoints and upstreams in numbers, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, final

from .._core.inside import connection_of
from .._core.observers import register_observer
from .._core.words.events import Event, JobEnded, TaskFailed, TaskStalled
from ._labels import Label, checked_labels, field_text
from ._living import Living

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LABELS: Final = ("listener", "reason", "closed_by")
_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 3600)
_MISSING: Final = "job.instrumentation.Metrics needs prometheus-client: pip install 'trio-job[metrics]'"


@final
class Metrics:
    """Counts what happens to all jobs, and shows what lives when it is read.

    An Observer: `with Metrics().observe(): job.run(j)`. Each of its metrics may be read from any thread.

    | metric | what it counts |
    |---|---|
    | `job_jobs_total{code}`, `job_job_seconds` | jobs that have ended, and how long they ran |
    | `job_task_failures_total{task, phase, error}`, `job_tasks_stalled_total` | what went wrong in tasks |
    | `job_connections_total`, with `labels`; `job_connection_seconds` | connections of `serve` that have ended |
    | `job_connection_bytes_total{direction}` | their bytes, up and down |
    | `job_connect_seconds`, `job_queue_seconds` | how long their dials took, and how long they waited for a place |
    | `job_jobs_running{state}` | jobs that run |
    | `job_endpoint_*{endpoint}` | the statistics of each bound endpoint |
    | `job_upstream_up`, `_active`, `_ejected{upstream}` | the upstreams of balancers |
    | `job_loop_lag_seconds` | how long the callback waited that the last scrape handed to the loop |

    Args:
        registry: prometheus-client's own by default. A program's own metrics go there.
        namespace: what all names begin with.
        labels: the fields of a connection's job by which `job_connections_total` is told apart.

    Raises:
        ImportError: prometheus-client is not installed (the extra `metrics`).
        ValueError: the registry has metrics of these names, `namespace` is no name, or a label has a value for each
            connection (client, job, job_id).
        TypeError: an argument is not as described.
    """

    __slots__ = (
        "__weakref__",
        "_by_code",
        "_bytes_down",
        "_bytes_up",
        "_connect_seconds",
        "_connection_seconds",
        "_connections",
        "_failures",
        "_handlers",
        "_job_seconds",
        "_jobs",
        "_labels",
        "_queue_seconds",
        "_stalled",
        "registry",
    )

    registry: CollectorRegistry
    """Where the metrics are."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry | None = None,
        namespace: str = "job",
        labels: Iterable[str] = _LABELS,
    ) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError:
            raise ImportError(_MISSING) from None
        names = checked_labels(labels)
        self.registry = prometheus.REGISTRY if registry is None else registry
        about: dict[str, Any] = {"namespace": namespace, "registry": self.registry}
        timed = about | {"buckets": _SECONDS}
        self._labels = tuple((name, Label()) for name in names)
        self._jobs = _Counted(prometheus.Counter("jobs", "Jobs that have ended.", ["code"], **about))
        self._job_seconds = prometheus.Histogram("job_seconds", "How long jobs ran.", **timed)
        self._failures = _Counted(
            prometheus.Counter("task_failures", "Errors of tasks.", ["task", "phase", "error"], **about)
        )
        self._stalled = prometheus.Counter("tasks_stalled", "Tasks that took longer than they should.", **about)
        self._connections = _Counted(prometheus.Counter("connections", "Connections that have ended.", names, **about))
        self._connection_seconds = prometheus.Histogram("connection_seconds", "How long connections lasted.", **timed)
        moved = prometheus.Counter("connection_bytes", "Bytes of connections that have ended.", ["direction"], **about)
        self._bytes_up, self._bytes_down = moved.labels("up"), moved.labels("down")
        self._connect_seconds = prometheus.Histogram("connect_seconds", "How long dials took.", **timed)
        self._queue_seconds = prometheus.Histogram("queue_seconds", "How long clients waited for a place.", **timed)
        self.registry.register(Living(namespace))
        self._handlers: dict[type, Callable[[Any], None]] = {
            JobEnded: self._job_ended,
            TaskFailed: self._task_failed,
            TaskStalled: self._task_stalled,
        }

    @contextmanager
    def observe(self) -> Iterator[Metrics]:
        """Count the jobs that start while the block runs."""
        unregister = register_observer(self)
        try:
            yield self
        finally:
            unregister()

    def on_event(self, event: Event, /) -> None:
        """Take one record."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _job_ended(self, event: JobEnded) -> None:
        verdict = event.verdict
        self._jobs.add(verdict.code)
        seconds = 0.0
        if verdict.started_at is not None and verdict.ended_at is not None:
            seconds = verdict.ended_at - verdict.started_at
        self._job_seconds.observe(seconds)
        if connection_of(event.job) is not None:
            self._connection_ended(event.job.fields, seconds)

    def _connection_ended(self, fields: dict[str, Any], seconds: float) -> None:
        self._connections.add(*[field_text(fields, name) for name, _ in self._labels])
        self._connection_seconds.observe(seconds)
        _add(fields.get("bytes_up"), self._bytes_up.inc)
        _add(fields.get("bytes_down"), self._bytes_down.inc)
        _add(fields.get("connect_time"), self._connect_seconds.observe)
        _add(fields.get("queue_time"), self._queue_seconds.observe)

    def _task_failed(self, event: TaskFailed) -> None:
        failure = event.error
        phase = "" if failure.phase is None else failure.phase.value
        self._failures.add(event.task.name, phase, type(failure.error).__name__)

    def _task_stalled(self, _: TaskStalled) -> None:
        self._stalled.inc()


@final
class _Counted:
    """A counter with labels that have few values each; the series that are known are kept at hand."""

    __slots__ = ("_counter", "_labels", "_series")

    def __init__(self, counter: Any) -> None:
        self._counter = counter
        self._labels = tuple(Label() for _ in counter._labelnames)
        self._series: dict[tuple[str, ...], Callable[[], None]] = {}

    def add(self, *values: str) -> None:
        """Count one more with these values."""
        count = self._series.get(values)
        if count is None:
            bounded = tuple(label.value(value) for label, value in zip(self._labels, values, strict=True))
            series = self._counter.labels(*bounded) if bounded else self._counter
            count = series.inc
            if bounded == values:
                self._series[values] = count
        count()


def _add(value: object, add: Callable[[float], None]) -> None:
    """Add the value of a field; a program may have put anything there."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        add(value)
