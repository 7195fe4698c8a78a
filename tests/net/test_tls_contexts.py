"""Which certificate a dial expects, and which contexts are refused, before any peer comes."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import job
from job import net
from job.net._streams.tls_context import check_server
from job.testing import MemoryTransport
from tests.net.certificates import AUTHORITY, client_context, server_context
from tests.net.pairs import connected
from tests.net.servers import echo


def server_for(name: str) -> ssl.SSLContext:
    """Return a server's context that is known by the name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


async def is_answered(server: net.Endpoint, client: net.Endpoint) -> bool:
    """Whether the client gets through to the server."""
    serving = job.Job[None]()
    serving.add_task(net.serve(server, echo))
    async with serving, await client.dial() as stream:
        await stream.send_all(b"hello")
        return await stream.receive_exactly(5) == b"hello"


async def test_name_over_a_unix_socket(tmp_path: Path) -> None:
    """A path has no name to check; with one in `server_hostname` the certificate must be for it."""
    address = f"unix:{tmp_path}/s"
    server = net.Endpoint(address, ssl_context=server_for("db.example"))
    with pytest.raises(ValueError, match=f"server_hostname is needed to dial {address}"):
        await net.Endpoint(address, ssl_context=client_context()).dial()
    right = net.Endpoint(address, ssl_context=client_context(), server_hostname="db.example")
    assert await is_answered(server, right)
    with pytest.raises(ssl.SSLCertVerificationError):
        await is_answered(server, net.Endpoint(address, ssl_context=client_context(), server_hostname="other.example"))


async def test_name_of_a_transport() -> None:
    """A place that only the transport knows has no name to check either."""
    upstream = net.Endpoint("somewhere", transport=MemoryTransport(), ssl_context=client_context())
    with pytest.raises(ValueError, match="server_hostname is needed to dial somewhere"):
        await upstream.dial()


async def test_names_that_are_not_checked() -> None:
    """Where the context checks no names none is needed."""
    context = client_context.__wrapped__()
    context.check_hostname = False
    network = MemoryTransport()
    server = net.Endpoint("somewhere", transport=network, ssl_context=server_context())
    assert await is_answered(server, net.Endpoint("somewhere", transport=network, ssl_context=context))


@pytest.mark.parametrize("hostname", [None, "db.example.org", "db.example.org."])
async def test_trailing_dot(hostname: str | None) -> None:
    """A trailing dot makes a name absolute, and is no part of it."""
    network = MemoryTransport()
    server = net.Endpoint("db.example.org.:443", transport=network, ssl_context=server_for("db.example.org"))
    client = net.Endpoint(
        "db.example.org.:443", transport=network, ssl_context=client_context(), server_hostname=hostname
    )
    assert await is_answered(server, client)


async def test_dial_with_the_context_of_a_server() -> None:
    """A dial needs a client's context."""
    with pytest.raises(ValueError, match="ssl_context must be a client's to dial"):
        await net.Endpoint("127.0.0.1:9", ssl_context=server_context()).dial()


def bare(**options: Any) -> ssl.SSLContext:
    """Return a server's context without a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for name, value in options.items():
        setattr(context, name, value)
    return context


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (client_context(), "ssl_context must be a server's to listen"),
        (bare(), "ssl_context has no certificate"),
        (bare(maximum_version=ssl.TLSVersion.TLSv1_2), "ssl_context has no certificate"),
    ],
    ids=["client's", "without a certificate", "the same, 1.2"],
)
@pytest.mark.parametrize(
    "add",
    [
        lambda j, endpoint: j.add_task(net.serve(endpoint, echo)),
        lambda j, endpoint: j.add_oneshot_task(endpoint.accept_task),
    ],
    ids=["serve", "accept_task"],
)
async def test_context_that_cannot_serve(context: ssl.SSLContext, message: str, add: Callable[..., Any]) -> None:
    """A server that no client could shake hands with does not come up, also the second time."""
    for _ in range(2):
        endpoint = net.Endpoint("127.0.0.1:0", ssl_context=context)
        server = job.Job[Any]()
        add(server, endpoint)
        with pytest.raises(ValueError, match=message), trio.fail_after(5):
            await server.run()
        assert endpoint.addresses == ()


async def test_certificate_by_name() -> None:
    """A context whose callback chooses the certificate by the client's name needs none itself."""
    chosen: list[str | None] = []

    def choose(tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        chosen.append(name)
        tls.context = server_for("localhost")

    context = bare()
    context.sni_callback = choose
    network = MemoryTransport()
    server = net.Endpoint("localhost:1", transport=network, ssl_context=context)
    assert await is_answered(server, net.Endpoint("localhost:1", transport=network, ssl_context=client_context()))
    assert chosen == ["localhost"]


def test_shared_keys() -> None:
    """A context for pre-shared keys needs no certificate."""
    context = bare()
    context.set_ciphers("PSK")
    check_server(context)


async def test_who_is_there() -> None:
    """The server learns from `Stream.tls` who its client is, and what it asked for."""
    inside, outside = server_context.__wrapped__(), client_context.__wrapped__()
    inside.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(inside)
    AUTHORITY.issue_cert("alice@example.org").configure_cert(outside)
    for context in (inside, outside):
        context.set_alpn_protocols(["h2"])
    seen: list[net.TLSInfo | None] = []
    network = MemoryTransport()
    server = job.Job[None]()
    server.add_task(
        net.serve(
            net.Endpoint("localhost:1", transport=network, ssl_context=inside),
            lambda stream: seen.append(stream.tls) or echo(stream),  # type: ignore[func-returns-value]
        )
    )
    async with server, await net.Endpoint("localhost:1", transport=network, ssl_context=outside).dial() as stream:
        await stream.send_all(b"x")
        await stream.receive_exactly(1)
        here = stream.tls
    [there] = seen
    assert there is not None
    assert here is not None
    assert (there.version, there.alpn, there.server_name) == ("TLSv1.3", "h2", "localhost")
    assert "alice@example.org" in str(there.peer_certificate)
    assert (here.version, here.cipher, here.alpn, here.server_name) == (there.version, there.cipher, "h2", "localhost")


async def test_no_tls() -> None:
    """Without TLS there is nothing to tell."""
    async with connected() as (near, far):
        assert near.tls is far.tls is None
