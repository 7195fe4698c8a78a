"""Handshakes that fail: the peer is told why, gets its time to hear it, and holds up nobody."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

import job
from job import net, tasks
from job.net._streams.tls import Tls
from job.testing import MemoryTransport
from tests.net.certificates import AUTHORITY, client_context, server_context


def build(stream: net.Stream) -> job.Job[net.Stream]:
    """Return a job that stays until its peer has ended."""
    j = job.Job(stream)
    j.add_task(net.read_task)
    return j


@asynccontextmanager
async def serving(context: ssl.SSLContext, **options: Any) -> AsyncIterator[tuple[net.Endpoint, list[dict[str, Any]]]]:
    """Serve on a socket; give the endpoint, and the lines of handshakes that failed."""
    lines: list[dict[str, Any]] = []
    endpoint = net.Endpoint("127.0.0.1:0", ssl_context=context, **{"close_timeout": 1, **options})
    server = job.Job[None]()
    server.register_logger({1: lambda event, fields: event == "handshake.failed" and lines.append(fields)}, level=1)
    server.add_task(net.serve(endpoint, build))
    async with server:
        yield endpoint, lines


async def first_of(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first line, when it is there."""
    with trio.fail_after(5):
        while not lines:
            await trio.lowlevel.checkpoint()
    return lines[0]


def shake_hands(address: str, context: ssl.SSLContext) -> object:
    """Return what the ssl module's own sockets get for a "hello"."""
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as inside,
        ):
            inside.sendall(b"hello")
            return inside.recv(5)
    except OSError as error:
        return error


async def test_client_of_an_old_version_is_told() -> None:
    """A client whose version is too old gets the alert that says so."""
    new, old = server_context.__wrapped__(), client_context.__wrapped__()
    new.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
    async with serving(new) as (endpoint, lines):
        seen = await trio.to_thread.run_sync(shake_hands, endpoint.addresses[0], old)
    assert getattr(seen, "reason", None) == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert [line["reason"] for line in lines] == ["protocol_error"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_client_without_a_certificate_is_told(version: ssl.TLSVersion) -> None:
    """A client that has sent bytes after its handshake hears of the refusal, and is not reset."""
    strict, client = server_context.__wrapped__(), client_context.__wrapped__()
    strict.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(strict)
    client.maximum_version = version
    async with serving(strict) as (endpoint, _):
        seen = await trio.to_thread.run_sync(shake_hands, endpoint.addresses[0], client)
    assert "ALERT" in str(getattr(seen, "reason", None)), seen


async def test_server_that_is_not_trusted_is_told() -> None:
    """A dial that fails tells the server why."""
    async with serving(server_context()) as (endpoint, lines):
        upstream = net.Endpoint(
            endpoint.addresses[0], ssl_context=client_context(trusting=False), server_hostname="localhost"
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            await upstream.dial()
        assert "TLSV1_ALERT_UNKNOWN_CA" in (await first_of(lines))["error"]


async def test_client_that_does_not_listen_has_its_time() -> None:
    """A client that stays after its handshake has failed is closed after `close_timeout`."""
    async with serving(server_context(), close_timeout=0.05) as (endpoint, lines):
        host, _, port = endpoint.addresses[0].rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as client:
            await client.send_all(b"GET / HTTP/1.0\r\n\r\n")
            assert "HTTP_REQUEST" in (await first_of(lines))["error"]
            while await client.receive_some():
                pass


async def test_time_runs_out_in_the_farewell(autojump_clock: MockClock) -> None:
    """Where the peer does not even take the alert, the failure is still what it was, and not the timeout."""
    near, far = memory_stream_pair()

    async def stall() -> None:
        await trio.sleep_forever()

    class Transport:
        async def dial(self, address: str) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return near

        async def listen(self, address: str) -> Any:
            raise AssertionError(address)

    context = client_context(trusting=False)
    upstream = net.Endpoint("localhost:1", transport=Transport(), ssl_context=context, connect_timeout=4)
    server = Tls(server_context(), server_side=True)

    async def dial() -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await upstream.dial()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        server.feed(await far.receive_some())
        server.shake_hands()
        near.send_stream.send_all_hook = stall
        await far.send_all(server.out.take())
    assert trio.current_time() == 4


async def test_cut_by_the_drain(autojump_clock: MockClock) -> None:
    """A handshake that a stop cuts leaves its line, like any other end."""
    lines: list[dict[str, Any]] = []
    network = MemoryTransport()
    endpoint = net.Endpoint("server:1", transport=network, ssl_context=server_context())
    for stop, reason in ((lambda j: j.finish(3), "drained"), (lambda j: j.cancel(), "cancelled")):
        server = job.Job[None]()
        server.register_logger({1: lambda event, fields: event == "handshake.failed" and lines.append(fields)}, level=1)
        server.add_task(net.serve(endpoint, build))
        async with trio.open_nursery() as nursery:
            await server.run_in_background(nursery)
            silent = await network.dial("server:1")
            await wait_all_tasks_blocked()
            stop(server)
        assert await silent.receive_some() == b""
        assert lines.pop()["reason"] == reason
        assert not lines


async def test_failure_gives_the_place_back(autojump_clock: MockClock) -> None:
    """Under `retry` an `accept_task` whose client fails has its place for the next one."""
    network = MemoryTransport()
    endpoint = net.Endpoint("localhost:1", transport=network, ssl_context=server_context(), limit=1)
    j = job.Job[net.Stream](keep_open=True)
    j.add_oneshot_task(tasks.retry(endpoint.accept_task, attempts=5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run_in_background, nursery)
        await wait_all_tasks_blocked()
        for _ in range(3):
            scanner = await network.dial("localhost:1")
            await scanner.send_all(b"GET / HTTP/1.0\r\n\r\n")
            while await scanner.receive_some():
                pass
        async with await net.Endpoint("localhost:1", transport=network, ssl_context=client_context()).dial():
            await wait_all_tasks_blocked()
            assert endpoint._slots.taken == 1
            assert endpoint.statistics().inbound == 1
            j.finish()
    assert endpoint._slots.taken == 0
    assert endpoint.statistics().inbound == 0
