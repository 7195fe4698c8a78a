"""The server's side of a SOCKS5 handshake (RFC 1928), for `examples.socks5_proxy`: CONNECT, without authentication."""

import re
from contextlib import suppress
from errno import EACCES, EAFNOSUPPORT, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EOPNOTSUPP, EPERM
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import EAI_NONAME

from job import net

VERSION = 5
NO_AUTHENTICATION, NO_METHOD = 0, 0xFF
CONNECT = 1
IPV4, NAME, IPV6 = 1, 3, 4
HOST = re.compile(r"[A-Za-z0-9._-]+")  # no `unix:`, which an Endpoint would take for a place on this machine

# What the client is told for the number of an error; 1 is a failure of any other kind.
REPLIES = {
    EACCES: 2,
    EPERM: 2,
    ENETUNREACH: 3,
    EHOSTUNREACH: 4,
    EAI_NONAME: 4,
    ECONNREFUSED: 5,
    EOPNOTSUPP: 7,
    EAFNOSUPPORT: 8,
}


async def greet(client: net.Stream) -> bool:
    """Agree on no authentication; return False where the client has hung up without a word."""
    if not (beginning := await client.receive_some()):
        return False
    client.unread(beginning)
    version, size = await client.receive_exactly(2)
    if version != VERSION or NO_AUTHENTICATION not in await client.receive_exactly(size):
        await client.send_all(bytes([VERSION, NO_METHOD]))
        await client.send_eof()
        await client.send_eof()
        raise net.ProtocolError("expected SOCKS5 without authentication")
    await client.send_all(bytes([VERSION, NO_AUTHENTICATION]))
    return True


async def requested(client: net.Stream) -> str:
    """Return where the client wants to go, as an Endpoint takes it; an OSError is one to `reply` with."""
    version, command, _, kind = await client.receive_exactly(4)
    if version != VERSION:
        raise net.ProtocolError(f"expected a request of SOCKS5, got one of version {version}")
    if command != CONNECT:
        raise OSError(EOPNOTSUPP, f"expected CONNECT, got command {command}")
    host = await read_host(client, kind)
    return f"{host}:{int.from_bytes(await client.receive_exactly(2))}"


async def read_host(client: net.Stream, kind: int) -> str:
    """Read an address in one of its three forms."""
    if kind == IPV4:
        return str(IPv4Address(await client.receive_exactly(4)))
    if kind == IPV6:
        return f"[{IPv6Address(await client.receive_exactly(16))}]"
    if kind != NAME:
        raise OSError(EAFNOSUPPORT, f"expected IPv4, IPv6 or a name, got an address of type {kind}")
    (size,) = await client.receive_exactly(1)
    return host_of(await client.receive_exactly(size))


def host_of(name: bytes) -> str:
    """Return the host of that name, which may be an address: clients do send `::1` so."""
    text = name.decode("ascii", "replace")
    with suppress(ValueError):
        address = ip_address(text)
        return f"[{address}]" if address.version == 6 else str(address)
    if not HOST.fullmatch(text):
        raise OSError(EHOSTUNREACH, f"expected the name of a host, got {text!r}")
    return text


def reply(error: OSError | None = None) -> bytes:
    """Write how it went, and an address that the client has no use for."""
    code = 0 if error is None else REPLIES.get(error.errno or EHOSTUNREACH, 1)  # a timeout has no number
    return bytes([VERSION, code, 0, IPV4, *bytes(6)])
