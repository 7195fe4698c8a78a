"""The members of the toolkit, as they were agreed: each is there, and the reference page of the room has a place for it."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from job import net
from job.net import balancer, frames

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "net.md").read_text()

MEMBERS: dict[Any, str] = {
    net.Endpoint: "connect_task accept_task dial connect addresses connections statistics",
    net.EndpointStatistics: """accepted rejected dialed dial_failures inbound outbound idle bytes_received bytes_sent limit
        taken""",
    net.Stream: """receive_some send_all send_eof aclose receive_exactly receive_until receive_line unread received
        received_nowait send read_task write_task codec local peer peer_host key inbound endpoint opened_at bytes_received
        bytes_sent closed release tls""",
    net.TLSInfo: "version cipher alpn server_name peer_certificate peer_certificate_der",
    net.RelayResult: "reason closed_by bytes_up bytes_down seconds error",
    net.EndReason: """EOF RESET TLS_TRUNCATED CONNECT_FAILED TIMEOUT_CONNECT TIMEOUT_IDLE TIMEOUT_HALF_CLOSE PROTOCOL_ERROR
        DRAINED CANCELLED LIMIT NO_UPSTREAM PROXY_ERROR""",
    net.Side: "CLIENT UPSTREAM PROXY",
    net.Transport: "dial listen",
    frames.Decoder: "feed at_boundary close",
    frames.Codec: "type max_frame encode decode",
    balancer.Upstream: "address weight limit backup endpoint active healthy ejected_until",
    balancer.Balancer: "upstreams replace pick lease acquire report connect_task connect check_task",
    balancer.UpstreamChanged: "upstream old new error at",
    balancer.Lease: "upstream release",
}

OPTIONS: dict[Any, str] = {
    net.Endpoint: """address limit on_limit queue_timeout connect_timeout close_timeout read_size ssl_context server_hostname
        codec max_idle max_idle_age allow transport""",
    net.serve: "endpoint build_job lame_duck",
    net.relay: "client upstream idle_timeout half_close_timeout drain_idle",
    net.relay_task: "client upstream idle_timeout half_close_timeout drain_idle",
    frames.encode: "payload max_frame",
    frames.Decoder: "max_frame",
    frames.Codec: "type max_frame",
    balancer.Upstream: "address weight limit backup options",
    balancer.Balancer: "upstreams choose rise fall eject_for max_ejected random",
    balancer.Balancer.pick: "self key exclude",
    balancer.Balancer.lease: "self key exclude",
    balancer.Balancer.acquire: "self key timeout",
    balancer.Balancer.report: "self upstream error probe",
    balancer.Balancer.connect_task: "self key attempts timeout",
    balancer.Balancer.connect: "self task key attempts timeout",
    balancer.Balancer.check_task: "self interval timeout probe",
}


@pytest.mark.parametrize("owner", MEMBERS, ids=lambda owner: owner.__name__)
def test_members(owner: Any) -> None:
    """Each member is there, and in the reference."""
    names = MEMBERS[owner].split()
    assert [name for name in names if not hasattr(owner, name)] == []
    assert [name for name in names if not mentioned(name)] == []


@pytest.mark.parametrize("owner", OPTIONS, ids=lambda owner: owner.__qualname__)
def test_options(owner: Any) -> None:
    """Each argument is there, and in the reference."""
    names = OPTIONS[owner].split()
    assert list(inspect.signature(owner).parameters) == names
    assert [name for name in names if name not in ("self", "options") and not mentioned(name)] == []


def mentioned(name: str) -> bool:
    """Return whether the page has this name in code."""
    return re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", PAGE.replace("```", "")) is not None
