"""The SOCKS5 proxy: tunnels, and the codes of RFC 1928 where there is none to be had."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address

import pytest
import trio

from examples.socks5_proxy import connection
from tests.examples.programs import Program, ask, connect, free_port, greeter, receive, reset, rest, running
from tests.examples.served import black_hole, client_of

HELLO = b"\x05\x01\x00"
AGREED = b"\x05\x00"
NONE = b"\x05\xff"


@pytest.fixture(scope="module")
def proxy() -> Iterator[Program]:
    """Give a proxy that runs."""
    with running("socks5_proxy", "--listen", "127.0.0.1:0", "--allow", "127.0.0.0/8", "--allow", "::1") as program:
        yield program


@pytest.fixture(scope="module")
def plain() -> Iterator[Program]:
    """Give a proxy that runs without a word about where it may lead."""
    with running("socks5_proxy", "--listen", "127.0.0.1:0") as program:
        yield program


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tunnel(proxy: Program, host: str) -> None:
    """After the reply bytes go both ways, and those that came right behind the request are not lost."""
    with greeter(b"hello\n") as upstream, connect(proxy.address) as client:
        assert ask(client, HELLO, 2) == AGREED
        assert reply(client, request(host, port_of(upstream)) + b"early ") == 0
        client.sendall(b"late")
        assert rest(client) == b"hello\nEARLY LATE"
    record = proxy.ended()
    assert (record["reason"], record["bytes_up"]) == ("eof", 10)
    assert record["upstream"] == f"{host}:{port_of(upstream)}"


def test_a_cut_is_no_clean_end(proxy: Program) -> None:
    """An upstream that breaks off in the middle is not taken by the client for one that has said all."""
    with socket.create_server(("127.0.0.1", 0)) as listener, connect(proxy.address) as client:
        assert ask(client, HELLO, 2) == AGREED
        assert reply(client, request("127.0.0.1", listener.getsockname()[1])) == 0
        upstream, _ = listener.accept()
        upstream.sendall(b"half")
        assert receive(client, 4) == b"half"
        reset(upstream)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    record = proxy.ended()
    assert (record["reason"], record["closed_by"], record["level"]) == ("reset", "upstream", "info")


@pytest.mark.parametrize(
    ("host", "code"),
    [("127.0.0.1", 5), ("::1", 5), ("255.255.255.255", 2), ("a..b", 4), ("unix:/run/secret", 4), ("", 4), ("a/b", 4)],
)
def test_no_way_there(proxy: Program, host: str, code: int) -> None:
    """Refused, no network, no such host: the client is told which."""
    with connect(proxy.address) as client:
        assert ask(client, HELLO, 2) == AGREED
        assert reply(client, request(host, free_port())) == code
        assert client.recv(1) == b""
    assert proxy.ended()["level"] == "info"


@pytest.mark.parametrize(("data", "code"), [(b"\x05\x02\x00\x01", 7), (b"\x05\x01\x00\x05", 8)], ids=["bind", "type"])
def test_not_supported(proxy: Program, data: bytes, code: int) -> None:
    """Another command than CONNECT and an unknown type of address have codes of their own."""
    with connect(proxy.address) as client:
        assert ask(client, HELLO, 2) == AGREED
        assert reply(client, data) == code
    proxy.ended()


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\x05\x01\x02", b"\x05\xff"),
        (b"\x04\x01\x00\x50", b"\x05\xff"),
        (b"GET / HTTP/1.1\r\n\r\n", b"\x05\xff"),
        (b"\x05", b""),
    ],
    ids=["password", "socks4", "http", "cut"],
)
def test_no_agreement(proxy: Program, data: bytes, answer: bytes) -> None:
    """Who speaks something else, or wants to say who it is, is disconnecteded."""
    with connect(proxy.address) as client:
        client.sendall(data)
        assert rest(client) == answer
    record = proxy.ended()
    assert (record["reason"], record["level"]) == ("protocol_error", "info")


def test_a_request_of_another_version(proxy: Program) -> None:
    """Every message says which version it is of, and is held to it."""
    with connect(proxy.address) as client:
        assert ask(client, HELLO, 2) == AGREED
        client.sendall(b"\x04" + request("127.0.0.1", 80)[1:])
        with suppress(ConnectionResetError):  # it has not read all of it
            assert client.recv(1) == b""
    record = proxy.ended()
    assert (record["reason"], record["level"]) == ("protocol_error", "info")


def test_an_address_as_a_name(proxy: Program) -> None:
    """IPv4 and IPv6 addresses may be sent as names."""
    for name in (b"127.0.0.1", b"::1"):
        with connect(proxy.address) as client:
            assert ask(client, HELLO, 2) == AGREED
            assert reply(client, b"\x05\x01\x00\x03" + bytes([len(name)]) + name + free_port().to_bytes(2)) == 5
        proxy.ended()


def test_a_health_check(proxy: Program) -> None:
    """Who connects and closes, as a check or a scan of ports does, is told nothing, and is a quiet line."""
    with connect(proxy.address) as client:
        assert rest(client) == b""
    record = proxy.ended()
    assert (record["reason"], record["level"], record["state"]) == ("eof", "info", "done")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "169.254.169.254", "0.0.0.0"])
def test_it_is_no_way_in(plain: Program, host: str) -> None:
    """Run as it is, it leads neither to this machine nor into its networks: not allowed, says the reply."""
    with connect(plain.address) as client:
        assert ask(client, HELLO, 2) == AGREED
        assert reply(client, request(host, 80)) == 2
    assert plain.ended()["level"] == "info"


async def test_a_handshake_that_never_ends(autojump_clock: trio.testing.MockClock) -> None:
    """A client that says nothing after the greeting is cut off after ten seconds."""
    async with client_of(connection) as client:
        await client.send_all(HELLO)
        assert await client.receive_exactly(2) == AGREED
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        assert trio.current_time() == pytest.approx(10)


async def test_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    """An upstream that does not answer is an unreachable host, soon."""
    with black_hole() as upstream:
        async with client_of(connection) as client:
            await client.send_all(HELLO + request("127.0.0.1", port_of(upstream)))
            assert (await client.receive_exactly(12))[3] == 4


def test_drain(proxy: Program) -> None:
    """After SIGTERM a tunnel may go on to its end; the exit code is 0."""
    with greeter(b"hello\n") as upstream, connect(proxy.address) as client:
        assert ask(client, HELLO, 2) == AGREED
        assert reply(client, request("127.0.0.1", port_of(upstream))) == 0
        receive(client, 6)
        proxy.terminate()
        client.sendall(b"still here")
        assert rest(client) == b"STILL HERE"
    assert proxy.result()[0] == 0


def request(host: str, port: int) -> bytes:
    """Write a request for CONNECT."""
    try:
        address = ip_address(host)
        place = (b"\x01" if address.version == 4 else b"\x04") + address.packed
    except ValueError:
        place = bytes([3, len(host)]) + host.encode()
    return b"\x05\x01\x00" + place + struct.pack(">H", port)


def reply(client: socket.socket, data: bytes) -> int:
    """Send a request and return the code of the reply."""
    version, code, *_ = ask(client, data, 10)
    assert version == 5
    return code


def port_of(address: str) -> int:
    """Return the port in an address."""
    return int(address.rpartition(":")[2])
