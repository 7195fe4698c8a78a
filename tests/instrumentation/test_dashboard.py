"""The dashboard and the alert rules of the docs ask for metrics that there are."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from job import Job
from job._core.registry import sources
from job.instrumentation import Metrics
from job.net import Endpoint, serve
from job.net.balancer import Balancer, Upstream

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


async def names() -> set[str]:
    """Return the names of all samples that there may be."""
    endpoint = Endpoint("127.0.0.1:0", limit=3)
    balancer = Balancer([Upstream("10.0.0.1:80")])
    server = Job[None](keep_open=True)
    server.add_task(serve(endpoint, lambda stream: Job()))
    async with server:
        owners = [source for source in sources() if source.owner in (endpoint, balancer)]
        figures = [figure for source in owners for figure in source.figures(source.owner)]
    families = list(Metrics(registry=CollectorRegistry()).registry.collect())
    known = {f"job_{each.name}{'_total' if each.kind == 'counter' else ''}" for each in figures}
    for family in families:
        known |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    return known | {"job_loop_lag_seconds"}


@pytest.mark.parametrize("page", ["grafana-dashboard.json", "prometheus-alerts.yml"])
async def test_metrics_exist(page: str) -> None:
    """Each metric that is asked for is one of ours."""
    text = (HOW_TO / page).read_text()
    if page.endswith(".json"):
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
    else:
        text = "\n".join(re.findall(r"expr: (.*)", text))
    asked = set(re.findall(r"\bjob_[a-z_]+", text))
    assert asked
    assert asked - await names() == set()
