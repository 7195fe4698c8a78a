"""The forwarder between a client and a server."""

import ast
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.examples.programs import ROOT, Program, ask, connect, free_port, greeter, receive, rest, running


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """Give the address of a server to forward to."""
    with greeter(b"hello\n") as address:
        yield address


@pytest.fixture(scope="module")
def forwarder(upstream: str) -> Iterator[Program]:
    """Give a forwarder that runs."""
    with running("forwarder", "--listen", "127.0.0.1:0", "--to", upstream) as program:
        yield program


def test_a_conversation(forwarder: Program, upstream: str) -> None:
    """Bytes go both ways, an end is passed on while the answer still comes, and one line tells all of it."""
    with connect(forwarder.address) as client:
        assert receive(client, 6) == b"hello\n"
        client.sendall(b"goodbye")
        assert rest(client) == b"GOODBYE"
    record = forwarder.ended()
    expected = {"upstream": upstream, "reason": "eof", "closed_by": "client", "bytes_up": 7, "bytes_down": 13}
    assert expected.items() <= record.items()


def test_every_byte_arrives(forwarder: Program) -> None:
    """A megabyte each way at the same time comes out as it went in."""
    data = os.urandom(2**19).hex().encode()
    with connect(forwarder.address) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert receive(client, 6 + len(data)) == b"hello\n" + data.upper()
        sender.join()
    assert forwarder.ended()["bytes_up"] == len(data)


def test_drain(forwarder: Program) -> None:
    """After SIGTERM nobody new is let in, and who is there may go on; the exit code is 0."""
    with connect(forwarder.address) as client:
        receive(client, 6)
        forwarder.terminate()
        wait_until_refused(forwarder.address)
        assert ask(client, b"still here", 10) == b"STILL HERE"
    assert forwarder.record("job.ended", bytes_up=10)["reason"] == "eof"
    assert forwarder.result()[0] == 0


def test_client_at_rest(upstream: str) -> None:
    """After SIGTERM a client that asks for nothing sees a clean end, long before the grace of 20 seconds is over."""
    with running("forwarder", "--listen", "127.0.0.1:0", "--to", upstream) as forwarder:
        with connect(forwarder.address) as client:
            receive(client, 6)
            forwarder.terminate()
            assert client.recv(1) == b""
        record = forwarder.ended()
        assert (record["reason"], record["closed_by"]) == ("drained", "proxy")
        assert record["relay_seconds"] < 15
        assert forwarder.result()[0] == 0


def test_cut_at_the_end_of_the_grace(upstream: str) -> None:
    """A connection that does not end is cut after `--grace` seconds and is `drained`; the exit code is 0 all the same."""
    with running("forwarder", "--listen", "127.0.0.1:0", "--to", upstream, "--grace", "0") as forwarder:
        with connect(forwarder.address) as client:
            receive(client, 6)
            forwarder.terminate()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert forwarder.ended()["reason"] == "drained"
        assert forwarder.result()[0] == 0


def test_nobody_to_forward_to() -> None:
    """The client is cut at once, and the line says why."""
    with running("forwarder", "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{free_port()}") as forwarder:
        with connect(forwarder.address) as client, pytest.raises(ConnectionResetError):
            client.recv(1)
        record = forwarder.ended()
        assert (record["reason"], record["closed_by"], record["level"]) == ("connect_failed", "upstream", "info")
        assert forwarder.stop() == 0


def test_the_tutorial_builds_it() -> None:
    """Each function of the program stands in the tutorial, word by word."""
    source = (ROOT / "examples/forwarder.py").read_text()
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    tutorial = (ROOT / "docs/tutorial/forwarder.md").read_text()
    assert [each.name for each in functions if str(ast.get_source_segment(source, each)) not in tutorial] == []


def wait_until_refused(address: str) -> None:
    """Connect until that fails; not in a flood, which would fill queues that have a life of their own."""
    with suppress(ConnectionError):
        while True:
            connect(address).close()
            time.sleep(0.01)
