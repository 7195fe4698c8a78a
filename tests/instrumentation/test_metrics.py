"""`Metrics`: jobs, connections, endpoints and upstreams in numbers."""

import builtins
import threading
import time
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from job import Job, Task
from job._core.registry import Figure, announce_figures
from job.background import Manager
from job.instrumentation import Metrics
from job.net import Endpoint, Stream, serve
from job.net.balancer import Balancer, Upstream
from job.testing import MemoryTransport
from tests.journal import failing, forever

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics in a registry of their own."""
    return Metrics(registry=CollectorRegistry())


def samples(metrics: Metrics) -> Samples:
    """Scrape, and return the value of each sample by its name and the values of its labels."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }


async def test_jobs(metrics: Metrics, autojump_clock: trio.testing.MockClock) -> None:
    """Jobs are counted by their code when they have ended, with their time; failures by task, phase and error."""
    with metrics.observe():
        j = Job[None]()
        j.add_task(failing(OSError(), after=2), name="read")
        with pytest.raises(OSError):
            await j.run()
        await Job[None]().run()
    await Job[None]().run()
    found = samples(metrics)
    assert found["job_jobs_total", "error@read:run"] == found["job_jobs_total", "finished"] == 1
    assert (found["job_job_seconds_count",], found["job_job_seconds_sum",]) == (2, 2)
    assert found["job_task_failures_total", "OSError", "run", "read"] == 1


async def test_failures(metrics: Metrics) -> None:
    """What a job goes on in spite of is counted by task, phase and error."""
    with metrics.observe():
        async with Manager() as background:
            background.run(failing_call)
    assert samples(metrics)["job_task_failures_total", "OSError", "run", "failing_call"] == 1


async def failing_call() -> None:
    """Fail."""
    raise OSError


async def test_stalled(metrics: Metrics, autojump_clock: trio.testing.MockClock) -> None:
    """A task that takes too long is counted."""
    with metrics.observe():
        async with Manager(stalled_after=1) as background:
            background.run(trio.sleep, 5)
            await background.aclose()
    assert samples(metrics)["job_tasks_stalled_total",] == 1


async def serve_one(metrics: Metrics, **fields: Any) -> tuple[Samples, Samples]:
    """Serve one client that sends 4 bytes and gets 2; return what is scraped meanwhile and afterwards."""
    network = MemoryTransport()

    def connection(stream: Stream) -> Job[Any]:
        async def run(task: Task) -> None:
            await stream.receive_exactly(4)
            await stream.send_all(b"ok")
            task.done()

        j = Job[Any](fields=fields)
        j.add_task(run)
        return j

    server = Job[None](name="server", grace=5)
    server.add_task(serve(Endpoint("proxy:1", transport=network, limit=5), connection))
    with metrics.observe():
        async with server, await Endpoint("proxy:1", transport=network).dial() as client:
            await trio.testing.wait_all_tasks_blocked()
            meanwhile = samples(metrics)
            await client.send_all(b"1234")
            assert await client.receive_exactly(2) == b"ok"
            assert await client.receive_some() == b""
    return meanwhile, samples(metrics)


async def test_connections(metrics: Metrics) -> None:
    """A connection that has ended is counted with its bytes and times, and by its fields; others are no connections."""
    _, found = await serve_one(metrics, connect_time=0.5)
    (labels,) = [labels for labels in found if labels[0] == "job_connections_total"]
    assert set(labels[1:]) >= {"proxy:1"}
    assert found["job_connection_bytes_total", "up"] == 4
    assert found["job_connection_bytes_total", "down"] == 2
    counts = {name: found[f"job_{name}_seconds_count",] for name in ("connection", "connect", "queue", "job")}
    assert counts == {"connection": 1, "connect": 1, "queue": 1, "job": 2}


async def test_odd_fields(metrics: Metrics) -> None:
    """A program may have put anything in the fields."""
    _, found = await serve_one(metrics, closed_by=3, connect_time="soon", bytes_up=True, queue_time=-1)
    (labels,) = [labels for labels in found if labels[0] == "job_connections_total"]
    assert "3" in labels
    assert found["job_connection_bytes_total", "up"] == found["job_connect_seconds_count",] == 0


async def test_what_lives(metrics: Metrics) -> None:
    """Running jobs by state, and bound endpoints, are read when somebody looks."""
    meanwhile, found = await serve_one(metrics)
    assert meanwhile["job_jobs_running", "recurrent running"] == 2
    assert meanwhile["job_endpoint_inbound", "proxy:1"] == meanwhile["job_endpoint_accepted_total", "proxy:1"] == 1
    assert meanwhile["job_endpoint_limit", "proxy:1"] == 5
    assert found["job_jobs_running", "recurrent running"] == 0
    assert ("job_endpoint_inbound", "proxy:1") not in found


def test_upstreams(metrics: Metrics) -> None:
    """The upstreams of balancers are shown; those of two balancers under one address add up."""
    balancers = [Balancer([Upstream("192.0.2.77:7777")]) for _ in range(2)]
    with balancers[0].lease(), balancers[1].lease():
        found = samples(metrics)
    assert (found["job_upstream_active", "192.0.2.77:7777"], found["job_upstream_ejected", "192.0.2.77:7777"]) == (2, 0)


def test_a_source_that_fails(metrics: Metrics) -> None:
    """Figures that cannot be read take nothing else away."""

    class Owner:
        pass

    first, second = Owner(), Owner()
    announce_figures(first, lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    announce_figures(second, lambda _: [Figure("queue_depth", 3, (("queue", "q"),))])
    assert samples(metrics)["job_queue_depth", "q"] == 3


async def test_few_values(metrics: Metrics) -> None:
    """Of each label there are a hundred values, and then one for all others."""
    with metrics.observe():
        for number in range(150):
            j = Job[None]()
            j.add_task(failing(OSError()), name=f"task {number}")
            with pytest.raises(OSError):
                await j.run()
    found = samples(metrics)
    codes = [labels[1] for labels in found if labels[0] == "job_jobs_total"]
    assert (len(codes), found["job_jobs_total", "other"]) == (101, 50)


@pytest.mark.parametrize("labels", [("route",), ()])
async def test_labels_of_ones_own(labels: tuple[str, ...]) -> None:
    """Connections may be told apart by any fields; or by none."""
    metrics = Metrics(registry=CollectorRegistry(), labels=labels, namespace="proxy")
    _, found = await serve_one(metrics, route="a")
    assert found[("proxy_connections_total", *["a"] * len(labels))] == 1


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["client"], ValueError, "labels must not have 'client'"),
        (["job"], ValueError, "labels must not have 'job'"),
        (["job_id"], ValueError, "labels must not have 'job_id'"),
        (["a-b"], ValueError, "labels must be names that Prometheus allows"),
        (["__a"], ValueError, "labels must be names that Prometheus allows"),
        (["a", "a"], ValueError, "labels must be different"),
        ("listener", TypeError, "labels must be a list of names"),
        ([3], TypeError, "labels must be names of fields, got 3"),
    ],
)
def test_wrong_labels(labels: Any, error: type[Exception], message: str) -> None:
    """A label that has a value for each connection, or is no name, is refused."""
    with pytest.raises(error, match=message):
        Metrics(registry=CollectorRegistry(), labels=labels)


def test_a_programs_own(metrics: Metrics) -> None:
    """A program's own metrics go to the same registry."""
    Gauge("answer", "The answer.", registry=metrics.registry).set(42)
    assert samples(metrics)["answer",] == 42


def test_loop_lag(metrics: Metrics) -> None:
    """A scrape from a thread finds how long the callback of the one before has waited, while the loop is blocked too."""
    found: list[float] = []

    def look() -> None:
        for _ in range(3):
            found.append(samples(metrics)["job_loop_lag_seconds",])
            time.sleep(0.1)

    async def run(task: Task) -> None:
        looker = threading.Thread(target=look)
        looker.start()
        looker.join()
        task.done()

    j = Job[None]()
    j.add_task(run)
    trio.run(j.run)
    assert found[0] == 0
    assert all(lag > 0.05 for lag in found[1:])
    assert ("job_loop_lag_seconds",) not in samples(metrics)


async def test_loop_lag_of_a_loop_that_turns(metrics: Metrics) -> None:
    """There it is next to nothing, however long ago the last scrape was."""
    j = Job[None]()
    j.add_task(forever)
    async with j:
        samples(metrics)
        await trio.sleep(0.3)
        assert samples(metrics)["job_loop_lag_seconds",] < 0.25


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is one line that names it."""
    there = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return there(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"needs prometheus-client: pip install 'trio-job\[metrics\]'"):
        Metrics()
