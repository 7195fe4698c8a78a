"""The yardsticks: the same work in trio, by hand.

`minimal` is the least that can be called a job: a oneshot, two loops that stand or fall together, a clean-up that nobody
cancels. `typical` is what a careful user writes. `Full` has all of what a job promises about order and finalizers, in a job's
layout of trio tasks, and none of the rest (causes, records, states, timeouts of its own, tasks added later).
"""

from __future__ import annotations

from typing import final

import trio

from .routines import Step, done, nothing


async def minimal(run: Step = done, oneshot: Step = done) -> None:
    """Run a oneshot, then two loops, then one shielded clean-up."""
    await loop(oneshot)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(loop, run)
            nursery.start_soon(loop, run)
    finally:
        with trio.CancelScope(shield=True):
            await nothing()


async def loop(run: Step) -> None:
    """Call a run until it is done."""
    while await run():
        pass


async def typical() -> None:
    """Run three tasks, two of them behind an Event, each with a shielded clean-up."""
    ready = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_typical_oneshot, ready)
        nursery.start_soon(_typical_member, ready)
        nursery.start_soon(_typical_member, ready)


async def _typical_oneshot(ready: trio.Event) -> None:
    try:
        await loop(done)
        ready.set()
    finally:
        with trio.CancelScope(shield=True):
            await nothing()


async def _typical_member(ready: trio.Event) -> None:
    try:
        await ready.wait()
        await loop(done)
    finally:
        with trio.CancelScope(shield=True):
            await nothing()


@final
class Full:
    """Init, run and finalizer for each task: inits in order, then all loops, then finalizers in reverse order, each guarded.

    The oneshot lives in the caller's trio task, each other task in one of its own. Whoever ends a stage starts the next.
    """

    __slots__ = ("_gate", "_looping", "_members", "_nursery", "_run", "_turns")

    def __init__(self, run: Step, members: int = 2) -> None:
        self._run = run
        self._members = members  # that have not been started yet
        self._looping = 0  # members whose loop has not exited
        self._gate = trio.Event()
        self._turns: list[trio.Event] = []  # to finalize, the last one first
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Run it to its end."""
        async with trio.open_nursery() as self._nursery:
            self._looping += 1
            await self._live(gate=None)

    async def _live(self, gate: trio.Event | None) -> None:
        turn = trio.Event()
        with trio.CancelScope() as guard:
            self._turns.append(turn)
            try:
                await nothing()
                if gate is not None:
                    self._start_next()
                    if not gate.is_set():
                        await gate.wait()
                await loop(self._run)
                if gate is None:
                    self._start_next()
            finally:
                self._looping -= 1
                if not self._looping:
                    self._turns.pop().set()
                guard.shield = True
                if not turn.is_set():
                    await turn.wait()
                guard.deadline = trio.current_time() + 10
                await nothing()
                if self._turns:
                    self._turns.pop().set()

    def _start_next(self) -> None:
        if self._members:
            self._members -= 1
            self._looping += 1
            self._nursery.start_soon(self._live, self._gate)
        else:
            self._gate.set()


async def full(run: Step = done) -> None:
    """Run one with all guarantees."""
    await Full(run).run()
