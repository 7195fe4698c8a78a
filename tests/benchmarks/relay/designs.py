"""The proxies that are measured: how each is started, and what is to be known of it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from ..peers import descriptors, has_module, program

BUFFER: Final = 262_144
"""Bytes that haproxy is given for a buffer: what the raw designs and asyncio's protocols read at most."""

CONNECTIONS: Final = min(3000, descriptors() // 8)
"""That haproxy takes at once; it wants up to seven descriptors for each in advance, pipes included."""

JOBS, NAIVE = "job per connection", "naive trio"
STREAMS, PROTOCOL = "asyncio streams", "asyncio Protocol"
UVLOOP_STREAMS, UVLOOP_PROTOCOL = "uvloop streams", "uvloop Protocol"
PPROXY, HAPROXY, HAPROXY_SPLICE = "pproxy", "haproxy", "haproxy, splice"


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a proxy, and what it reads: one that is given its port, or (port None) one that prints it."""

    words: tuple[str, ...]
    port: int | None = None
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class Design:
    """One way to build a proxy.

    Attributes:
        name: in all tables.
        command: gives the command for a backend's port.
        here: whether it can be started on this machine.
        compiled: whether its data path is not Python's.
        note: what it does not do, and what else a reader should know.
    """

    name: str
    command: Callable[[int], Command]
    here: bool = True
    compiled: bool = False
    note: str = ""


def designs() -> list[Design]:
    """Return all designs, ours first."""
    uvloop = has_module("uvloop")
    haproxy = program("haproxy") is not None
    return [
        Design(JOBS, _ours("jobs")),
        Design(NAIVE, _ours("naive"), note="no timeouts"),
        Design(STREAMS, _ours("streams"), note="no timeouts"),
        Design(PROTOCOL, _ours("protocol"), note="no timeouts"),
        Design(UVLOOP_STREAMS, _ours("streams", "uvloop"), uvloop, note="no timeouts"),
        Design(UVLOOP_PROTOCOL, _ours("protocol", "uvloop"), uvloop, compiled=True, note="no timeouts"),
        Design(PPROXY, _pproxy, has_module("pproxy")),
        Design(HAPROXY, _haproxy, haproxy, compiled=True, note=f"buffers of {BUFFER // 1024} KiB"),
        Design(HAPROXY_SPLICE, _haproxy_splice, haproxy, compiled=True, note="the same, splice forced"),
    ]


def _ours(name: str, *options: str) -> Callable[[int], Command]:
    module = f"{__package__}.proxies.{name}"
    return lambda backend: Command((sys.executable, "-m", module, str(backend), *options))


def _pproxy(backend: int) -> Command:
    port = free_port()
    listen = f"tunnel{{127.0.0.1:{backend}}}://127.0.0.1:{port}"
    return Command((sys.executable, "-m", f"{__package__}.proxies.of_pproxy", "-l", listen), port)


def _haproxy(backend: int) -> Command:
    return _haproxy_with(backend, "")


def _haproxy_splice(backend: int) -> Command:
    return _haproxy_with(backend, "    option splice-request\n    option splice-response\n")


def _haproxy_with(backend: int, options: str) -> Command:
    port, path = free_port(), program("haproxy")
    assert path is not None
    config = HAPROXY_CONFIG.format(connections=CONNECTIONS, buffer=BUFFER, port=port, backend=backend, options=options)
    return Command((path, "-db", "-q", "-f", "/dev/stdin"), port, config)


def free_port() -> int:
    """Return a port that is free now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


HAPROXY_CONFIG: Final = """\
global
    nbthread 1
    maxconn {connections}
    tune.bufsize {buffer}
defaults
    mode tcp
    timeout connect 4s
    timeout client 600s
    timeout server 600s
    timeout client-fin 30s
    timeout server-fin 30s
{options}listen relay
    bind 127.0.0.1:{port}
    server backend 127.0.0.1:{backend}
"""
