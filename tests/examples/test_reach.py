"""Where the example proxies may lead."""

import socket
from ipaddress import ip_address, ip_network

import pytest

from examples.reach import is_ours, is_public, public


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public(address: str) -> None:
    """Addresses of the internet, however they are written."""
    assert is_public(ip_address(address))
    assert public()(ip_address(address), 443)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.1.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::1",
        "2001:0:53aa:64c::1",
    ],
)
def test_private(address: str) -> None:
    """This machine, its links, its networks, groups, and each way to write an IPv4 address of those as one of IPv6."""
    assert not public()(ip_address(address), 80)


def test_networks_that_are_named() -> None:
    """They are open, and only they."""
    allow = public([ip_network("10.1.0.0/16"), ip_network("fd00::/8"), ip_network("::1")])
    assert [allow(ip_address(each), 80) for each in ("10.1.2.3", "fd12::1", "::1")] == [True] * 3
    assert not allow(ip_address("10.2.0.1"), 80)


def test_an_address_of_this_machine() -> None:
    """Also a public one is not to be reached, as what listens there may trust it."""
    assert is_ours(ip_address("127.0.0.1"))
    assert not is_ours(ip_address("192.0.2.1"))
    for *_, name in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_DGRAM):
        assert is_ours(ip_address(str(name[0]).partition("%")[0])) or "%" in str(name[0])
