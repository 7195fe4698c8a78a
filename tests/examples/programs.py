"""The examples of the network toolkit as processes, and what their tests talk to them with."""

import json
import runpy
import select
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0


class Program:
    """An example that was started. Its log is read in the order written."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"examples.{name}", *arguments],
            bufsize=0,  # so that no line hides from select
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._address = ""

    @property
    def address(self) -> str:
        """Where it listens, which its log tells."""
        self._address = self._address or self.record("listening")["addresses"][0]
        return self._address

    def record(self, event: str, **fields: object) -> dict[str, Any]:
        """Return the next record of an event, with these fields, and pass over those before it."""
        while True:
            record = json.loads(self._line())
            if record["event"] == event and fields.items() <= record.items():
                return record

    def _line(self) -> bytes:
        assert self.process.stderr is not None
        assert select.select([self.process.stderr], [], [], PATIENCE)[0], "the program says nothing"
        line = self.process.stderr.readline()
        assert line, "the program has ended"
        return line

    def ended(self) -> dict[str, Any]:
        """Return the record of the next connection that ended."""
        return self.record("job.ended")

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def result(self) -> tuple[int, str, str]:
        """Wait for its end, and return the exit code and what it has still to say on stdout and stderr."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.decode(), err.decode()

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.terminate()
        return self.result()[0]


@contextmanager
def running(name: str, *arguments: str) -> Iterator[Program]:
    """Run an example for the length of the block, at most."""
    program = Program(name, *arguments)
    try:
        yield program
    finally:
        program.process.kill()
        if program.process.stdout is not None and not program.process.stdout.closed:
            program.process.communicate(timeout=PATIENCE)


def run_here(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> object:
    """Run an example that soon ends in this process, which starts faster, and return the exit code."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_module(f"examples.{name}", run_name="__main__")
    return exit_info.value.code


@contextmanager
def greeter(greeting: bytes, address: str = "127.0.0.1:0") -> Iterator[str]:
    """Run a server that greets, sends back in capitals what comes, and says no more when that has ended."""

    class Greet(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(greeting)
            while data := self.request.recv(65536):
                self.request.sendall(data.upper())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 100

    host, _, port = address.rpartition(":")
    with Server((host, int(port)), Greet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"{host}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def connect(address: str) -> socket.socket:
    """Return a connection."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def ask(client: socket.socket, request: bytes, size: int) -> bytes:
    """Send a request and return a reply of so many bytes."""
    client.sendall(request)
    return receive(client, size)


def receive(client: socket.socket, size: int) -> bytes:
    """Return so many bytes, or fewer where the other side ends first, or cuts the connection."""
    reply = bytearray()
    with suppress(ConnectionResetError):
        while len(reply) < size and (data := client.recv(min(size - len(reply), 65536))):
            reply += data
    return bytes(reply)


def rest(client: socket.socket) -> bytes:
    """Say that there is no more to come, and return all that still comes."""
    client.shutdown(socket.SHUT_WR)
    return receive(client, sys.maxsize)


def reset(stream: socket.socket) -> None:
    """Close a connection so that the other side sees that it was cut."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
