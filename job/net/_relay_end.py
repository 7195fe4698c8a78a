"""One of the two ends of a relay: a stream, and what the relay must know of it."""

from __future__ import annotations

import socket
from typing import Any, Final, Protocol, final

import trio

from ._reason import Side

CLOSE_TIMEOUT: Final = 5.0
"""The `close_timeout`, in seconds, of a stream that has no endpoint; the default of those that have."""


class Relayed(Protocol):
    """What the relay asks of `job.net.Stream`, so that bytes may go past it."""

    @property
    def close_timeout(self) -> float: ...
    @property
    def half_closes(self) -> bool: ...
    @property
    def plain(self) -> trio.SocketStream | None: ...
    def count(self, received: int, sent: int) -> None: ...
    def unread(self, data: bytes) -> None: ...
