"""Resolve names in threads of their own: a resolver that hangs must not hold up other work in threads."""

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
    """Return the socket addresses of a host, each once, in the resolver's order. A numeric host needs no thread.

    Raises:
        OSError: the host has none (socket.gaierror).
        UnicodeError: the text cannot be a host name.
    """
    await trio.lowlevel.checkpoint()
    with suppress(socket.gaierror):  # not numeric
        return _targets(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags | socket.AI_NUMERICHOST))
    try:
        return _targets(await _resolve(host, port, flags))
    except socket.gaierror:
        _check_descriptors()
        raise


def _check_descriptors() -> None:
    """Raise the shortage that a resolver hides: glibc says EAI_NONAME if it cannot open its files."""
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
    """Return True if only trio can resolve it: a name that needs IDNA 2008, or any name in a run with a custom resolver.

    trio has no getter for a custom resolver, which a test may have set, but it returns the old one when another is set.
    """
    resolver = trio.socket.set_custom_hostname_resolver(None)
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver is not None or not (host or "").isascii()


def _limiter() -> trio.CapacityLimiter:
    """Return the limiter of this trio run. A process-wide one would lose a place to each look-up abandoned in an ended run."""
    try:
        return _threads.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_THREADS)
        _threads.set(limiter)
        return limiter
