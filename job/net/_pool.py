"""Connections that wait to be used again."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Final, final

import trio

from ._foreign_wire import close_now
from ._wire import Wire

_ROUNDS: Final = 4


@final
class Pool:
    """At most `size` wires, the last one in is the first one out: it is the likeliest to be alive.

    What is in it when it goes is closed.
    """

    __slots__ = ("__weakref__", "_idle", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._idle: list[tuple[str, Wire]] = []
        weakref.finalize(self, _abandon_all, self._idle)

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, address: str, wire: Wire) -> bool:
        """Keep a wire to `address`; return whether there was room."""
        if len(self._idle) >= self._size:
            return False
        self._idle.append((address, wire))
        return True

    async def get(self, address: str) -> Wire | None:
        """Take out a wire to `address` on which its peer has said nothing since, not even EOF; the others go."""
        while (wire := self._pop(address)) is not None:
            try:
                if await _is_silent(wire):
                    return wire
            except BaseException:
                await close_now(wire)
                raise
            await close_now(wire)
        return None

    def _pop(self, address: str) -> Wire | None:
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index][0] == address:
                return self._idle.pop(index)[1]
        return None


async def _is_silent(wire: Wire) -> bool:
    """Look for bytes or EOF.

    A trio stream can only be asked by receiving from it. What is there comes within a few rounds of the scheduler, the
    first of which asks the kernel.
    """
    heard = False

    async def listen() -> None:
        nonlocal heard
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            await wire.receive_some(1)
        heard = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for _ in range(_ROUNDS):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    return not heard


def _abandon_all(idle: list[tuple[str, Wire]]) -> None:
    for _, wire in idle:
        wire.abandon()
