"""A name for each stream that no other open stream of the process has."""

from __future__ import annotations

import threading
from itertools import count
from typing import Final, Protocol
from weakref import WeakValueDictionary


class Keyed(Protocol):
    """What has a key: a stream."""

    @property
    def local(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def closed(self) -> bool: ...


_numbers: Final = count(2)
_owners: Final[WeakValueDictionary[str, Keyed]] = WeakValueDictionary()
_lock: Final = threading.Lock()  # trio may run in several threads


def claim_key(stream: Keyed) -> str:
    """Return a key for a stream: its two addresses, with a number if another open stream has the same two.

    A pair of TCP addresses belongs to one connection. The clients of a unix socket have no address at all, and two
    transports may use the same names.
    """
    addresses = key = f"{stream.peer} -> {stream.local}"
    with _lock:
        while (owner := _owners.get(key)) is not None and not owner.closed:
            key = f"{addresses} #{next(_numbers)}"
        _owners[key] = stream
    return key
