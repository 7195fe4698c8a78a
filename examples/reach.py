"""Where the example proxies may lead, run as programs: to public addresses, and to networks that `--allow` names.

A proxy that leads anybody anywhere is an open relay: strangers reach through it what only its machine can reach, its own
services, the private network, the metadata of its cloud, and whatever they do elsewhere comes from its address.
"""

import argparse
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Allow = Callable[[Address, int], bool]

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give a parser the option `--allow NETWORK`."""
    about = "lead there although it is private, 10.0.0.0/8 say; may be repeated (default: public addresses only)"
    parser.add_argument("--allow", type=ip_network, action="append", default=[], metavar="NETWORK", help=about)


def public(networks: Iterable[Network] = ()) -> Allow:
    """Return what an `Endpoint` takes for `allow`: public addresses that are not this machine's, and the networks."""
    also = tuple(networks)

    def allow(address: Address, port: int) -> bool:
        return any(address in network for network in also) or (is_public(address) and not is_ours(address))

    return allow


def is_public(address: Address) -> bool:
    """Tell whether it is somebody's on the internet: not loopback, link-local, private, shared, multicast or reserved."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None:  # they lead to an IPv4 address, too
            return False
    return address.is_global and not address.is_multicast


def is_ours(address: Address) -> bool:
    """Tell whether it is one of this machine: no other can be bound to."""
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
