"""The CONNECT proxy: tunnels, and what it says where there is none to be had."""

import socket
import time
from collections.abc import Iterator

import pytest
import trio

from examples.connect_proxy import connection
from tests.examples.programs import PATIENCE, Program, connect, free_port, greeter, receive, reset, rest, running
from tests.examples.served import black_hole, client_of

OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture(scope="module")
def proxy() -> Iterator[Program]:
    """Give a proxy that runs."""
    with running("connect_proxy", "--listen", "127.0.0.1:0", "--allow", "127.0.0.0/8", "--allow", "::1") as program:
        yield program


@pytest.fixture(scope="module")
def plain() -> Iterator[Program]:
    """Give a proxy that runs without a word about where it may lead."""
    with running("connect_proxy", "--listen", "127.0.0.1:0") as program:
        yield program


def test_tunnel(proxy: Program) -> None:
    """After the 200 bytes go both ways, and those that came right behind the request are not lost."""
    with greeter(b"hello\n") as upstream, connect(proxy.address) as client:
        client.sendall(request(upstream) + b"early ")
        assert receive(client, len(OPEN)) == OPEN
        client.sendall(b"late")
        assert rest(client) == b"hello\nEARLY LATE"
    record = proxy.ended()
    assert {"upstream": upstream, "reason": "eof", "bytes_up": 10}.items() <= record.items()


def test_an_aborted_download_ends_its_tunnel(proxy: Program) -> None:
    """Where the client is gone, the upstream is told at once, and does not send on into nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = connect(proxy.address)
        client.sendall(request(f"127.0.0.1:{listener.getsockname()[1]}"))
        receive(client, len(OPEN))
        upstream, _ = listener.accept()
        with upstream:
            upstream.settimeout(PATIENCE)
            reset(client)
            began = time.monotonic()
            with pytest.raises(ConnectionError):
                while True:
                    upstream.sendall(bytes(1000))
    assert time.monotonic() - began < 2
    record = proxy.ended()
    assert (record["reason"], record["closed_by"], record["level"]) == ("reset", "client", "info")


def test_nobody_there(proxy: Program) -> None:
    """An upstream that refuses is a 502, and that ends as an answer does, not by a reset that may overtake it."""
    with connect(proxy.address) as client:
        client.sendall(request(f"127.0.0.1:{free_port()}"))
        assert status(receive(client, 10_000)) == 502
    record = proxy.ended()
    assert (record["reason"], record["level"]) == ("connect_failed", "info")


@pytest.mark.parametrize("target", ["nobody.invalid:80", "a..b:80"])
def test_no_such_host(proxy: Program, target: str) -> None:
    """A name that nobody has, or can have, is a 502."""
    with connect(proxy.address) as client:
        client.sendall(request(target))
        assert status(rest(client)) == 502
    assert proxy.ended()["level"] == "info"


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"CONNECT unix:/run/secret HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT :22 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: " + b"x" * 20_000,
        b"CONNECT a:80 HT",
        b"CONNECT ann:secret@a:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\nProxy-Authorization secret\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecret",
        b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\nHost: secret\r\n\r\n",
        b"CONNECT a:0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:65536 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT " + b"a" * 5000 + b":80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=[
        "tls",
        "get",
        "unix",
        "no-host",
        "no-port",
        "long",
        "cut",
        "user",
        "header",
        "chunked",
        "content",
        "hosts",
        "port-0",
        "port",
        "name",
    ],
)
def test_bad_request(proxy: Program, head: bytes) -> None:
    """What is no CONNECT to a host is a 400, and one quiet line."""
    with connect(proxy.address) as client:
        client.sendall(head)
        assert rest(client).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    record = proxy.ended()
    assert (record["reason"], record["level"]) == ("protocol_error", "info")
    assert "secret" not in str(record)
    assert len(str(record)) < 1000


def test_a_health_check(proxy: Program) -> None:
    """Who connects and closes, as a check or a scan of ports does, is told nothing, and is a quiet line."""
    with connect(proxy.address) as client:
        assert rest(client) == b""
    record = proxy.ended()
    assert (record["reason"], record["level"], record["state"]) == ("eof", "info", "done")


def test_a_password_is_not_in_the_log(proxy: Program) -> None:
    """What a client says of itself is nobody's business, neither where it works nor where it does not."""
    with connect(proxy.address) as client:
        target = f"127.0.0.1:{free_port()}"
        client.sendall(request(target)[:-2] + b"Proxy-Authorization: Basic secret\r\n\r\n")
        assert rest(client).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    record = proxy.ended()
    assert record["upstream"] == target
    assert "secret" not in str(record)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"]
)
def test_it_is_no_way_in(plain: Program, host: str) -> None:
    """Run as it is, it leads neither to this machine nor into its networks: 403."""
    with connect(plain.address) as client:
        client.sendall(request(f"{host}:80"))
        assert rest(client).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert plain.ended()["level"] == "info"


async def test_a_request_that_never_ends(autojump_clock: trio.testing.MockClock) -> None:
    """A client that sends a byte a second is disconnecteded after ten seconds, with a 400."""
    async with client_of(connection) as client, trio.open_nursery() as nursery:
        nursery.start_soon(trickle, client, request("127.0.0.1:1"))
        assert status(await client.receive_some()) == 400
        assert trio.current_time() == pytest.approx(10)
        nursery.cancel_scope.cancel()


async def test_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    """An upstream that does not answer is a 504, soon."""
    with black_hole() as upstream:
        async with client_of(connection) as client:
            await client.send_all(request(upstream))
            assert status(await client.receive_some()) == 504


def test_drain(proxy: Program) -> None:
    """After SIGTERM a tunnel may go on to its end; the exit code is 0."""
    with greeter(b"hello\n") as upstream, connect(proxy.address) as client:
        client.sendall(request(upstream))
        receive(client, len(OPEN) + 6)
        proxy.terminate()
        client.sendall(b"still here")
        assert rest(client) == b"STILL HERE"
    assert proxy.result()[0] == 0


def request(target: str) -> bytes:
    """Write the head of a request."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def status(response: bytes) -> int:
    """Read the status of a response."""
    return int(response.split()[1])


async def trickle(client: trio.abc.SendStream, data: bytes) -> None:
    """Send a byte a second."""
    for byte in data:
        await client.send_all(bytes([byte]))
        await trio.sleep(1)
