"""Traffic through TLS: a tunnel whose one end encrypts and whose other end decrypts, both in one process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trustme

from ..effort import Effort
from ..peers import program
from ..results import Row, Section, Target
from ..rounds import Figure
from .designs import CONNECTIONS, HAPROXY, JOBS, Command, Design, free_port
from .speed import BULK, ECHO, SHORT, compare, row_of

STUNNEL: Final = "stunnel"
IDLE_TARGET: Final = Target("<=", 64, "kB")


def measure(effort: Effort, names: Sequence[str] = ()) -> Section:
    """Compare tunnels: all of them, or those that are named."""
    with TemporaryDirectory(prefix="job-bench-") as folder:
        found, tables = compare(_tunnels(Path(folder)), effort, names)
    rows = [row_of(found, traffic, other, None) for other in (HAPROXY, STUNNEL) for traffic in (ECHO, SHORT, BULK)]
    return Section("Relay through TLS", [*rows, _idle_row(found[JOBS].idle)], tables)


def _idle_row(idle: list[float]) -> Row:
    # A connection through the tunnel is two relays, each with TLS on one side.
    figure = Figure.of(each / 2 for each in idle)
    return Row("memory of an idle connection, TLS", figure, IDLE_TARGET, unit="kB", note="resident memory")


def _tunnels(folder: Path) -> list[Design]:
    certificate = _certificate(folder)
    haproxy, stunnel = program("haproxy"), program("stunnel")
    module = f"{__package__}.proxies.tls"

    def with_haproxy(backend: int) -> Command:
        near, far = free_port(), free_port()
        names = {"connections": CONNECTIONS, "near": near, "far": far, "backend": backend, "certificate": certificate}
        return Command((str(haproxy), "-db", "-q", "-f", "/dev/stdin"), near, HAPROXY_CONFIG.format(**names))

    def with_stunnel(backend: int) -> Command:
        near, far = free_port(), free_port()
        names = {"near": near, "far": far, "backend": backend, "certificate": certificate}
        return Command((str(stunnel), "-fd", "0"), near, STUNNEL_CONFIG.format(**names))

    return [
        Design(JOBS, lambda backend: Command((sys.executable, "-m", module, str(backend), str(certificate)))),
        Design(HAPROXY, with_haproxy, haproxy is not None, compiled=True, note="its own buffers"),
        Design(STUNNEL, with_stunnel, stunnel is not None, compiled=True, note="no timeouts; a thread a connection"),
    ]


def _certificate(folder: Path) -> Path:
    """Write a file with a key, its certificate, and that of who signed it."""
    authority = trustme.CA()
    mine = authority.issue_cert("localhost")
    blobs = [mine.private_key_pem, *mine.cert_chain_pems, authority.cert_pem]
    path = folder / "certificate.pem"
    path.write_bytes(b"".join(blob.bytes() for blob in blobs))
    return path


HAPROXY_CONFIG: Final = """\
global
    nbthread 1
    maxconn {connections}
defaults
    mode tcp
    timeout connect 4s
    timeout client 600s
    timeout server 600s
    timeout client-fin 30s
    timeout server-fin 30s
listen encrypting
    bind 127.0.0.1:{near}
    server far 127.0.0.1:{far} ssl verify none
listen decrypting
    bind 127.0.0.1:{far} ssl crt {certificate}
    server backend 127.0.0.1:{backend}
"""

STUNNEL_CONFIG: Final = """\
foreground = yes
pid =
debug = 0
[encrypting]
client = yes
accept = 127.0.0.1:{near}
connect = 127.0.0.1:{far}
[decrypting]
accept = 127.0.0.1:{far}
connect = 127.0.0.1:{backend}
cert = {certificate}
"""
