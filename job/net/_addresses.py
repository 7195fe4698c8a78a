"""Addresses as people write them: `host:port`, `:port`, `[::1]:port`, `unix:path`. Pure: nothing is resolved here."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from .._core import check

_UNIX: Final = "unix:"
_LARGEST_PORT: Final = 65535
_IP: Final = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})
UNKNOWN: Final = "unknown"
"""The address of a stream that cannot tell its own."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port. No host means all interfaces when listening, and this machine when dialing."""

    host: str | None
    port: int

    def __str__(self) -> str:
        return join(self.host or "", self.port)

    @property
    def numeric(self) -> tuple[socket.AddressFamily, tuple[Any, ...]] | None:
        """The family and the socket address if the host is numeric; None if it must be resolved."""
        return _numeric(self.host or "", self.port)


@lru_cache(maxsize=1024)  # called for each dial
def _numeric(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]] | None:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.version == 4:
        return socket.AF_INET, (str(ip), port)
    # A zone is the name of an interface, for the resolver to look up.
    return None if ip.scope_id else (socket.AF_INET6, (str(ip), port, 0, 0))


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a unix socket."""

    path: str

    def __str__(self) -> str:
        return _UNIX + self.path


Address: TypeAlias = TcpAddress | UnixAddress


def parse_address(address: str) -> Address:
    """Parse an address.

    Raises:
        TypeError: it is not a str.
        ValueError: it has none of the four forms.
    """
    check.str_("address", address)
    if address.startswith(_UNIX):
        if len(address) == len(_UNIX) or "\0" in address[len(_UNIX) + 1 :]:
            raise ValueError(f"address must have a path without NUL after 'unix:', got {address!r}")
        return UnixAddress(address.removeprefix(_UNIX))
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"address must be 'host:port', ':port', '[ipv6]:port' or 'unix:path', got {address!r}")
    if not _is_port(port):
        raise ValueError(f"address must end with a port from 0 to {_LARGEST_PORT}, got {address!r}")
    return TcpAddress(_host(address, host), int(port))


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and int(port) <= _LARGEST_PORT


def _host(address: str, host: str) -> str | None:
    if host.startswith("[") and host.endswith("]"):
        inner = host[1:-1]
        if ":" in inner:
            return inner
    elif _is_name(host):
        return host or None
    raise ValueError(f"address must have a host name, an IPv4 or, in brackets, an IPv6 address, got {address!r}")


def _is_name(host: str) -> bool:
    return host.isprintable() and not set(host) & set(":[]/ ")


def join(host: str, port: int) -> str:
    """Return a host and a port as one address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def written(family: int, name: Any) -> str:
    """Return an address of the socket module (getsockname, getpeername, accept) in the form that users write."""
    if family in _IP:
        return join(name[0], name[1])
    return _UNIX + (name.decode(errors="backslashreplace") if isinstance(name, bytes) else name)


def host_of(address: str) -> str | None:
    """Return the host in an address, for TLS to check; None if there is none."""
    try:
        parsed = parse_address(address)
    except ValueError:
        return None
    return (parsed.host or "localhost") if isinstance(parsed, TcpAddress) else None


def named(error: OSError | UnicodeError, address: Address) -> OSError:
    """Return an error of the socket module with the address in its message: the module leaves it out, or uses another form."""
    if isinstance(error, UnicodeError):  # a label that is empty or longer than 63 letters: no resolver is asked
        return socket.gaierror(socket.EAI_NONAME, "no name of a host", str(address))
    if error.errno is None:  # a unix path that is too long
        return OSError(errno.ENAMETOOLONG, str(error), str(address))
    reason = os.strerror(error.errno) if error.errno > 0 else error.strerror  # negative: an error of name resolution
    return type(error)(error.errno, reason, str(address))
