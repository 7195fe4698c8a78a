"""The echo server as its clients meet it."""

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.examples.programs import Program, ask, connect, receive, rest, run_here, running


@pytest.fixture(scope="module")
def echo() -> Iterator[Program]:
    """Give an echo server that runs."""
    with running("echo_server", "--listen", "127.0.0.1:0") as program:
        yield program


def test_echo(echo: Program) -> None:
    """What goes in comes back, and the end of it is answered with the end."""
    with connect(echo.address) as client:
        assert ask(client, b"hello", 5) == b"hello"
        client.sendall(b"x" * 100_000)
        assert rest(client) == b"x" * 100_000
    assert echo.ended()["bytes_up"] == 100_005


def test_a_reset_is_one_quiet_line(echo: Program) -> None:
    """A client that resets its connection harms nobody else, and leaves a line without a traceback."""
    with connect(echo.address) as other:
        with connect(echo.address) as client:
            assert ask(client, b"x", 1) == b"x"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        record = echo.ended()
        assert (record["reason"], record["level"]) == ("reset", "info")
        assert "exception" not in record
        assert ask(other, b"y", 1) == b"y"
    echo.ended()


def test_it_stops_at_once_although_a_client_is_there(echo: Program) -> None:
    """SIGTERM ends a connection on which nothing is under way; the client sees its end, and the exit code is 0."""
    with connect(echo.address) as client:
        assert ask(client, b"x", 1) == b"x"
        echo.terminate()
        assert receive(client, 1) == b""
    assert echo.result()[0] == 0


def test_a_port_in_use(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who cannot listen says why in one line and exits with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run_here(monkeypatch, "echo_server", "--listen", address) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Address already in use" in line


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong address is wrong usage."""
    assert run_here(monkeypatch, "echo_server", "--listen", "nowhere") == 2
    assert "argument --listen: invalid Endpoint value: 'nowhere'" in capsys.readouterr().err
