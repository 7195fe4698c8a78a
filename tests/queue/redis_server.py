"""A real redis-server, Debian's package, on a unix socket; `python -m tests.queue.redis_server` sets the package up."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = "redis-server"


def require() -> str:
    """Return the program; skip the test by name where it is missing, but never where REQUIRE_REDIS is set, as it is in CI."""
    found = shutil.which(PROGRAM)
    if found is None:
        (pytest.fail if os.environ.get("REQUIRE_REDIS") else pytest.skip)(
            f"{PROGRAM} is not installed (Debian's package redis-server)"
        )
    return str(found)


class RedisServer:
    """One server, in a folder of its own: it may be killed, and started again on what it has kept."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self._command = [
            require(), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(folder), "--save", "",
            "--loglevel", "warning", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"{PROGRAM} ended with {self._process.returncode}")
            if self.socket.exists() and self.cli("PING").strip() == "PONG":
                return
            time.sleep(0.02)
        raise RuntimeError(f"{PROGRAM} does not answer")

    def cli(self, *arguments: str) -> str:
        """Run one command of redis-cli, and return what it prints."""
        command = ["redis-cli", "-s", str(self.socket), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout

    def kill(self) -> None:
        """Kill it: what it has not written is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it, where it runs."""
        self._end(signal.SIGTERM)

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(10)


def install() -> None:
    """Set the package up where it is missing and may be installed."""
    if shutil.which(PROGRAM) is not None or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    sys.stdout.write("set-up: redis-server, for the tests of the queue (once)\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "-y", "redis-server"]):
        with suppress(subprocess.TimeoutExpired):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(command, check=False, env=environment, timeout=120, **quiet)


if __name__ == "__main__":
    install()
    sys.exit(0)
