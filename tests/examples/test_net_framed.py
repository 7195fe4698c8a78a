"""The framed service and its client."""

import socket
import struct
from collections.abc import Iterator

import msgspec
import pytest

from examples.framed_messages import SAMPLES, Sample, Summary
from job.net import frames
from tests.examples.programs import Program, ask, connect, free_port, receive, run_here, running


def framed(sample: Sample) -> bytes:
    """Return the frame of a request."""
    return frames.encode(SAMPLES.encode(sample))


@pytest.fixture(scope="module")
def service() -> Iterator[Program]:
    """Give a service that runs."""
    with running("framed_service", "--listen", "127.0.0.1:0") as program:
        yield program


def test_client_and_service(service: Program) -> None:
    """The client prints the answer and exits with 0."""
    with running("framed_client", "--to", service.address, "3", "1", "4", "1", "5") as client:
        code, out, _ = client.result()
    assert (code, out) == (0, "mean 2.8, median 3\n")
    assert service.ended()["code"] == "finished"


def test_two_requests_in_three_pieces(service: Program) -> None:
    """Requests are answered in order, however the bytes were cut on the way."""
    requests = framed(Sample([1, 2])) + framed(Sample([5]))
    with connect(service.address) as client:
        for piece in (requests[:3], requests[3:20], requests[20:]):
            client.sendall(piece)
        assert [reply(client), reply(client)] == [Summary(1.5, 1.5), Summary(5.0, 5.0)]
    service.ended()


@pytest.mark.parametrize(("numbers", "complaint"), [([], "length >= 1"), ([1e308, 1e308], "<= 1e+300")])
def test_a_request_that_is_none(service: Program, numbers: list[float], complaint: str) -> None:
    """Too few numbers, or too large ones, are no sample: the client is disconnecteded, and the line says why."""
    with connect(service.address) as client:
        assert ask(client, framed(Sample(numbers)), 1) == b""
    record = service.ended()
    assert (record["reason"], record["level"]) == ("protocol_error", "info")
    assert complaint in record["error"]


def test_a_frame_that_claims_a_gigabyte(service: Program) -> None:
    """It is refused at its header."""
    with connect(service.address) as client:
        assert ask(client, struct.pack(">I", 2**30), 1) == b""
    assert "max_frame" in service.ended()["error"]


def test_it_stops_at_once_although_a_client_is_there(service: Program) -> None:
    """SIGTERM ends a connection that is between requests; the exit code is 0."""
    with connect(service.address) as client:
        client.sendall(framed(Sample([1])))
        reply(client)
        service.terminate()
        assert receive(client, 1) == b""
    assert service.result()[0] == 0


def test_no_service(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A client without a service exits with 1 and says why in one line."""
    assert run_here(monkeypatch, "framed_client", "--to", f"127.0.0.1:{free_port()}", "1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Connection refused" in line


def reply(client: socket.socket) -> Summary:
    """Return the next reply."""
    (size,) = struct.unpack(">I", receive(client, 4))
    return msgspec.msgpack.decode(receive(client, size), type=Summary)
