"""Every server among the examples, where its port is taken; and every one of them among clients that vanish."""

import json
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from tests.examples.programs import connect, free_port, running

NOWHERE = "127.0.0.1:1"
SERVERS = {
    "balancer": ["--upstream", NOWHERE],
    "connect_proxy": [],
    "echo_server": [],
    "forwarder": ["--to", NOWHERE],
    "framed_service": [],
    "socks5_proxy": [],
}
LINGER_NONE = struct.pack("ii", 1, 0)

every_server = pytest.mark.parametrize("name", SERVERS)


def test_every_server_is_here() -> None:
    """A program that takes `--listen` is one."""
    programs = Path(__file__).parents[2].joinpath("examples").glob("*.py")
    assert {path.stem for path in programs if "--listen" in path.read_text()} - {"reach"} == set(SERVERS)


@every_server
def test_a_taken_port(name: str) -> None:
    """It is an error, in one line that names the port, and the exit code is 1: whatever is quiet among its clients."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running(name, "--listen", address, *SERVERS[name]) as program:
            code, out, err = program.result()
    assert (code, out) == (1, "")
    (line,) = (record for record in map(json.loads, err.splitlines()) if record["level"] in ("warning", "error"))
    assert address in str(line)
    assert "Traceback" not in err


@every_server
def test_clients_that_vanish(name: str) -> None:
    """They reset before, in and after the first bytes: no line of it is louder than info, and the next one is let in."""
    with running(name, "--listen", f"127.0.0.1:{free_port()}", *SERVERS[name]) as program:
        for data in (
            b"",
            b"\5",
            b"\5\1\0",
            b"\0\0\0\5ab",
            b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n",
            bytes(100_000),
        ):
            # A server that reaches no upstream cuts its client, and may be quicker than the client's own calls.
            with suppress(ConnectionResetError, BrokenPipeError), connect(program.address) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
                client.sendall(data)
        with suppress(ConnectionResetError):
            connect(program.address).close()
        program.terminate()
        code, _, err = program.result()
    assert code == 0
    assert {record["level"] for record in map(json.loads, err.splitlines()) if record["event"] != "upstream.down"} == {
        "info"
    }
