"""Look names up, in threads of their own: names that hang must not keep other work from getting on."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any, Final

import trio

from .._allow import Target

_THREADS: Final = 64
_threads: Final = trio.lowlevel.RunVar[trio.CapacityLimiter]("job.net look-ups")


async def look_up(host: str | None, port: int, *, flags: int = 0) -> list[Target]:
    """Return the socket addresses of a host, each once, the resolver's favourite first. A number needs no thread.

    Raises:
        OSError: it has none (socket.gaierror).
        UnicodeError: it can be no name of a host.
    """
    await trio.lowlevel.checkpoint()
    with suppress(socket.gaierror):  # it is no number
        return _targets(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags | socket.AI_NUMERICHOST))
    try:
        return _targets(await _resolve(host, port, flags))
    except socket.gaierror:
        _check_descriptors()
        raise


def _check_descriptors() -> None:
    """Raise what a resolver hides: it knows no name where it cannot open its files (glibc: EAI_NONAME)."""
    os.close(os.open(os.devnull, os.O_RDONLY))


def _targets(infos: list[Any]) -> list[Target]:
    return list(dict.fromkeys((int(info[0]), info[4]) for info in infos))


async def _resolve(host: str | None, port: int, flags: int) -> Any:
    if _is_for_trio(host):
        return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return await trio.to_thread.run_sync(
        socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM, 0, flags, abandon_on_cancel=True, limiter=_limiter()
    )


def _is_for_trio(host: str | None) -> bool:
    """Return True if only trio can look it up: a name in need of IDNA 2008, or any in a run with a resolver of its own.

    Such a resolver, as a test may have, is only told when another takes its place.
    """
    resolver = trio.socket.set_custom_hostname_resolver(None)
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver is not None or not (host or "").isascii()


def _limiter() -> trio.CapacityLimiter:
    """Return the limiter of this run: a look-up that was abandoned in an ended one would hold its place for ever."""
    try:
        return _threads.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_THREADS)
        _threads.set(limiter)
        return limiter
