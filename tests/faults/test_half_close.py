"""Scenarios 2 and 3: an EOF is not an end. What is left of a connection lives as long as bytes move, and no longer."""

from pathlib import Path
from typing import Any

import pytest
import trio

from job import net
from tests.faults.networks import NETWORKS
from tests.faults.proxies import be_cut, forwarding, read_all, read_exactly

REPLY = bytes(range(256)) * 4096
PAUSE = 0.3

half_closing = pytest.mark.parametrize("name", ["tcp", "unix"])


@half_closing
async def test_reply_after_eof(name: str, tmp_path: Path) -> None:
    """A client that ends its direction after the request gets the whole reply, however late it comes."""
    network = NETWORKS[name](tmp_path)

    async def reply_later(stream: Any) -> None:
        assert await read_all(stream) == b"request"
        await trio.sleep(PAUSE)
        await stream.send_all(REPLY)

    async with forwarding(network, reply_later) as proxy, await network.connect(proxy.address) as client:
        await client.send_all(b"request")
        await client.send_eof()
        assert await read_all(client) == REPLY
    [record] = proxy.ended
    assert (record["reason"], record["closed_by"]) == ("eof", "client")
    assert (record["bytes_up"], record["bytes_down"]) == (7, len(REPLY))


@half_closing
async def test_request_after_eof(name: str, tmp_path: Path) -> None:
    """The other way round: an upstream that has said all hears the rest of the client."""
    network = NETWORKS[name](tmp_path)
    heard = bytearray()

    async def greet_and_listen(stream: Any) -> None:
        await stream.send_all(b"hello")
        await stream.send_eof()
        heard.extend(await read_all(stream))

    async with forwarding(network, greet_and_listen) as proxy, await network.connect(proxy.address) as client:
        assert await read_all(client) == b"hello"
        await trio.sleep(PAUSE)
        await client.send_all(REPLY)
        await client.aclose()
    assert heard == REPLY
    assert [(record["reason"], record["closed_by"]) for record in proxy.ended] == [("eof", "upstream")]


async def test_eof_of_an_upstream_over_tls(tmp_path: Path) -> None:
    """Over TLS the reply ends with close_notify, which the client hears; its own ends the connection in good order."""
    network = NETWORKS["tls"](tmp_path)

    async def reply(stream: Any) -> None:
        await read_exactly(stream, 7)
        await trio.sleep(PAUSE)
        await stream.send_all(REPLY)

    async with forwarding(network, reply) as proxy, await network.connect(proxy.address) as client:
        await client.send_all(b"request")
        assert await read_exactly(client, len(REPLY)) == REPLY
    assert proxy.count("reason") == {"eof": 1}


async def test_eof_of_a_client_over_tls(tmp_path: Path) -> None:
    """A client that has ended its direction, by close_notify, still gets what the upstream sends after that."""
    network = NETWORKS["tls"](tmp_path)

    async def go_on(stream: Any) -> None:
        await read_exactly(stream, 7)
        for _ in range(4):
            await trio.sleep(0.1)
            await stream.send_all(b"reply")
        assert await read_all(stream) == b""

    async with forwarding(network, go_on, close_timeout=0.3) as proxy, await network.connect(proxy.address) as client:
        await client.send_all(b"request")
        with trio.move_on_after(0.1):
            await client.unwrap()  # says close_notify, and would wait for the answer
        await read_all(client.transport_stream)
    [record] = proxy.ended
    assert (record["reason"], record["closed_by"], record["bytes_down"]) == ("eof", "client", 20)


@half_closing
async def test_half_open_for_ever(name: str, tmp_path: Path) -> None:
    """A direction that stays open without a byte is cut at the half-close timeout, and the client sees that it was cut."""
    network = NETWORKS[name](tmp_path)

    async with (
        forwarding(network, never_end, relay=impatient, close_timeout=0.1) as proxy,
        await network.connect(proxy.address) as client,
    ):
        await client.send_eof()
        await be_cut(network, client)
    assert [(record["reason"], record["closed_by"]) for record in proxy.ended] == [("timeout_half_close", "proxy")]


@half_closing
async def test_trickle(name: str, tmp_path: Path) -> None:
    """One in which a byte comes now and then lives on, for many times the timeout."""
    network = NETWORKS[name](tmp_path)

    async def trickle(stream: Any) -> None:
        for _ in range(10):
            await trio.sleep(0.05)
            await stream.send_all(b".")

    async with (
        forwarding(network, trickle, relay=impatient) as proxy,
        await network.connect(proxy.address) as client,
    ):
        await client.send_eof()
        assert await read_all(client) == b"." * 10
    assert proxy.count("reason") == {"eof": 1}


async def never_end(stream: Any) -> None:
    """Be an upstream that hears the EOF and keeps its own direction open, for longer than anybody waits."""
    await read_all(stream)
    await trio.sleep(0.6)


def impatient(client: net.Stream) -> Any:
    """Relay with a short half-close timeout."""
    return net.relay_task(client, half_close_timeout=0.2)
