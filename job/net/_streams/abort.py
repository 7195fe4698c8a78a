"""Cut any trio stream so that its peer sees it. trio's forceful close sends FIN on a socket, which looks like an end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from .delivery import reset, wait_delivered


async def abort(stream: trio.abc.AsyncResource) -> None:
    """Close a stream at once, so that its peer sees a cut if the stream has a way to say so. Shielded."""
    way = _way_to_abort(stream)
    if way is not None:
        way()
        return
    # An error here would hide the reason for the cut, and there is nothing left to do about it.
    with trio.CancelScope(shield=True), suppress(Exception):
        await trio.aclose_forcefully(stream)


def abort_soon(stream: trio.abc.AsyncResource) -> None:
    """Like `abort`, but from a plain function: a system task does what must be awaited."""
    way = _way_to_abort(stream)
    if way is None:
        trio.lowlevel.spawn_system_task(abort, stream)
    else:
        way()


async def wait_stream_delivered(stream: trio.abc.AsyncResource) -> None:
    """Wait until what was sent has reached the peer, as far as the stream can tell."""
    below = _bottom(stream)
    wait: Any = getattr(below, "wait_delivered", None)
    if isinstance(below, trio.SocketStream):
        await wait_delivered(below.socket)
    elif wait is not None:
        await wait()
    else:
        await trio.lowlevel.checkpoint()


def _way_to_abort(stream: trio.abc.AsyncResource) -> Callable[[], object] | None:
    """Return the plain function that cuts the stream, or what is below its TLS; None if there is none."""
    below = _bottom(stream)
    if isinstance(below, trio.SocketStream):
        return partial(reset, below.socket)
    way = getattr(below, "abort", None)
    return way if callable(way) else None


def _bottom(stream: trio.abc.AsyncResource) -> trio.abc.AsyncResource:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream
