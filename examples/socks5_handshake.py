"""The server's side of a SOCKS5 handshake (RFC 1928), for `examples.socks5_proxy`: CONNECT, without authentication."""

from errno import EAFNOSUPPORT, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EOPNOTSUPP
from ipaddress import IPv4Address, IPv6Address
from socket import EAI_NONAME

from job import net

VERSION = 5
NO_AUTHENTICATION, NO_METHOD = 0, 0xFF
CONNECT = 1
IPV4, NAME, IPV6 = 1, 3, 4

# What the client is told for the number of an error; 1 is a failure of any other kind.
REPLIES = {ENETUNREACH: 3, EHOSTUNREACH: 4, EAI_NONAME: 4, ECONNREFUSED: 5, EOPNOTSUPP: 7, EAFNOSUPPORT: 8}


async def greet(client: net.Stream) -> None:
    """Agree on no authentication."""
    version, size = await client.receive_exactly(2)
    if version != VERSION or NO_AUTHENTICATION not in await client.receive_exactly(size):
        await client.send_all(bytes([VERSION, NO_METHOD]))
        raise net.ProtocolError("expected SOCKS5 without authentication")
    await client.send_all(bytes([VERSION, NO_AUTHENTICATION]))


async def requested(client: net.Stream) -> net.Endpoint:
    """Return where the client wants to go; an OSError is one to `reply` with."""
    _, command, _, kind = await client.receive_exactly(4)
    if command != CONNECT:
        raise OSError(EOPNOTSUPP, f"expected CONNECT, got command {command}")
    host = await read_host(client, kind)
    port = int.from_bytes(await client.receive_exactly(2))
    try:
        return net.Endpoint(f"{host}:{port}", connect_timeout=4)
    except ValueError as error:
        raise OSError(EHOSTUNREACH, str(error)) from error


async def read_host(client: net.Stream, kind: int) -> str:
    """Read an address in one of its three forms."""
    if kind == IPV4:
        return str(IPv4Address(await client.receive_exactly(4)))
    if kind == IPV6:
        return f"[{IPv6Address(await client.receive_exactly(16))}]"
    if kind != NAME:
        raise OSError(EAFNOSUPPORT, f"expected IPv4, IPv6 or a name, got an address of type {kind}")
    (size,) = await client.receive_exactly(1)
    name = (await client.receive_exactly(size)).decode("ascii", "replace")
    if not name or name.partition(":")[0] == "unix":  # an Endpoint would take it for a place on this machine
        raise OSError(EHOSTUNREACH, f"expected the name of a host, got {name!r}")
    return name


def reply(error: OSError | None = None) -> bytes:
    """Write how it went, and an address that the client has no use for."""
    code = 0 if error is None else REPLIES.get(error.errno or EHOSTUNREACH, 1)  # a timeout has no number
    return bytes([VERSION, code, 0, IPV4, *bytes(6)])
