"""The option `allow`: the addresses that a dial may connect to. It is asked about addresses, never about names."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeAlias

from .._core import check
from ._addresses import Address, TcpAddress, UnixAddress

IpAddress: TypeAlias = IPv4Address | IPv6Address
Allow: TypeAlias = Callable[[IpAddress, int], object]
Target: TypeAlias = tuple[int, Any]
"""A family and a socket address, as `connect` takes them."""

_LOOPBACK: Final[Mapping[int, IpAddress]] = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}


def checked_allow(allow: object) -> Allow | None:
    """Return `allow` as a function; for networks, one that looks for the address in them."""
    if allow is None:
        return None
    if callable(allow):
        return check.plain("allow", allow)  # a coroutine is truthy, so an async function would permit everything
    if isinstance(allow, str | bytes) or not isinstance(allow, Iterable):
        raise TypeError(f"allow must be a function (ip_address, port) or an iterable of networks, got {allow!r}")
    networks = [_network(each) for each in allow]
    return lambda ip, port: any(ip in network for network in networks)


def _network(value: object) -> IPv4Network | IPv6Network:
    if not isinstance(value, str | IPv4Network | IPv6Network):
        raise TypeError(f"allow must hold networks of ipaddress, or their text, got {value!r}")
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"allow must hold networks like '10.0.0.0/8', got {value!r}: {error}") from None


def permitted(allow: Allow | None, address: Address, targets: list[Target]) -> list[Target]:
    """Return the targets that a dial of `address` may connect to.

    Raises:
        PermissionError: none is permitted.
    """
    if allow is None:
        return targets
    left = [target for target in targets if allow(_ip(target), target[1][1])]
    if not left:
        raise PermissionError(errno.EACCES, "not an address that allow permits", str(address))
    return left


def check_at_once(allow: Allow | None, address: Address | str) -> None:
    """Check an address that needs no look-up. A unix socket has no IP address, so it is never permitted.

    Raises:
        PermissionError: the address is refused.
    """
    if isinstance(address, UnixAddress):
        permitted(allow, address, [])
    elif isinstance(address, TcpAddress) and address.numeric is not None:
        permitted(allow, address, [address.numeric])


def _ip(target: Target) -> IpAddress:
    """Return the address that is really connected to, however it was written.

    It has no interface, an IPv4 address in IPv6 form (RFC 4291, 2.5.5.2) is the IPv4 address, and the unspecified address is
    loopback.
    """
    ip = ip_address(target[1][0].partition("%")[0])
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return _LOOPBACK[ip.version] if ip.is_unspecified else ip
