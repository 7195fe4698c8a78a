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

NOT_ON_THE_PAGE = {
    "close_nowait",
    "eof_sent",
    "half_closes",
    "linger",
    "plain",
    "secured",
    "take_unread",
    "wait_delivered",
    "wait_send_all_might_not_block",  # of trio's SendStream
}


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_members(owner: Any) -> None:
    """Each public member has a place on the page."""
    ours = [base for base in owner.__mro__ if base.__module__.startswith("job")]
    names = {name for base in ours for name in vars(base) if not name.startswith("_")} - NOT_ON_THE_PAGE
    assert [name for name in sorted(names) if not mentioned(name)] == []


@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.__qualname__)
def test_options(function: Any) -> None:
    """Each argument has a place on the page; which there are, the golden file of the signatures holds."""
    names = [each.name for each in inspect.signature(function).parameters.values() if each.kind is not each.VAR_KEYWORD]
    assert [name for name in names if name != "self" and not mentioned(name)] == []


def mentioned(name: str) -> bool:
    """Return whether the page has this name in code."""
    return re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", PAGE.replace("```", "")) is not None
