"""Idle connections that wait to be reused."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, final

import trio

from .._streams.stream_wire import close_now
from .._streams.wire import Wire

_ROUNDS: Final = 4


@dataclass(frozen=True, slots=True)
class _Kept:
    """A wire, and the time, on trio's clock, until which it may be reused."""

    address: str
    wire: Wire
    until: float


@final
class Pool:
    """At most `size` wires. The last one in is the first one out: it is the likeliest to be alive.

    A wire older than `age` seconds no longer counts. It is closed when the pool is next used: no task runs here that could
    close it in time. A pool that is dropped closes what is in it.
    """

    __slots__ = ("__weakref__", "_age", "_idle", "_size")

    def __init__(self, size: int, age: float) -> None:
        self._size = size
        self._age = age
        self._idle: list[_Kept] = []
        weakref.finalize(self, _abandon_all, self._idle)

    def __bool__(self) -> bool:
        return bool(self._idle)  # including those that are too old: they must be closed

    def __len__(self) -> int:
        return sum(not _is_over(kept) for kept in self._idle)

    def put(self, address: str, wire: Wire) -> bool:
        """Keep a wire to `address`; return False if there is no room."""
        if len(self._idle) >= self._size:
            return False
        self._idle.append(_Kept(address, wire, trio.current_time() + self._age))
        return True

    async def get(self, address: str) -> Wire | None:
        """Take out a wire to `address` on which the peer has sent nothing since, not even EOF; close any others it meets."""
        await self.close_old()
        while (wire := self._pop(lambda kept: kept.address == address)) is not None:
            try:
                if await _is_silent(wire):
                    return wire
            except BaseException:
                await close_now(wire)
                raise
            await close_now(wire)
        return None

    async def close_old(self) -> None:
        """Close the wires that are too old."""
        while (wire := self._pop(_is_over)) is not None:
            await close_now(wire)

    def _pop(self, wanted: Callable[[_Kept], bool]) -> Wire | None:
        for index in range(len(self._idle) - 1, -1, -1):
            if wanted(self._idle[index]):
                return self._idle.pop(index).wire
        return None


def _is_over(kept: _Kept) -> bool:
    # Outside of trio there is no clock: statistics may be read after the run.
    return trio.lowlevel.in_trio_run() and trio.current_time() >= kept.until


async def _is_silent(wire: Wire) -> bool:
    """Return True if neither bytes nor EOF have come.

    A trio stream can only be asked by receiving from it. What is there arrives within a few rounds of the scheduler; the first
    round asks the kernel.
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


def _abandon_all(idle: list[_Kept]) -> None:
    for kept in idle:
        kept.wire.abandon()
