"""The reference page of the network toolkit has each member and each argument."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from job import net
from job.net import balancer, frames

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "net.md").read_text()

OWNERS = (
    net.Endpoint,
    net.EndpointStatistics,
    net.Stream,
    net.TLSInfo,
    net.RelayResult,
    net.EndReason,
    net.Side,
    net.Transport,
    frames.Decoder,
    frames.Codec,
    balancer.Upstream,
    balancer.Balancer,
    balancer.UpstreamChanged,
    balancer.Lease,
)

CALLED = (
    net.Endpoint,
    net.serve,
    net.relay,
    net.relay_task,
    frames.encode,
    frames.Decoder,
    frames.Codec,
    balancer.Upstream,
    balancer.Balancer,
    balancer.Balancer.pick,
    balancer.Balancer.lease,
    balancer.Balancer.acquire,
    balancer.Balancer.report,
    balancer.Balancer.connect_task,
    balancer.Balancer.connect,
    balancer.Balancer.check_task,
)

FOR_THE_ENGINE = {
    "close_nowait",
    "eof_sent",
    "half_closes",
    "linger",
    "plain",
    "secured",
    "take_unread",
    "wait_delivered",
}


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_members(owner: Any) -> None:
    """Each public member has a place on the page."""
    inherited = {name for base in owner.__mro__ if not base.__module__.startswith("job") for name in vars(base)}
    names = {name for name in vars(owner) if not name.startswith("_")} - inherited - FOR_THE_ENGINE
    assert [name for name in sorted(names) if not mentioned(name)] == []


@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.__qualname__)
def test_options(function: Any) -> None:
    """Each argument has a place on the page; which there are, the golden file of the signatures holds."""
    names = [each.name for each in inspect.signature(function).parameters.values() if each.kind is not each.VAR_KEYWORD]
    assert [name for name in names if name != "self" and not mentioned(name)] == []


def mentioned(name: str) -> bool:
    """Return whether the page has this name in code."""
    return re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", PAGE.replace("```", "")) is not None
