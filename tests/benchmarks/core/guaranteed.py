"""The guarantees of a job, by hand, for one kind of job: what a careful author writes who needs them.

It has their order (G1), finalizers on every way out (G2), shielded and each within its time (G3), a trio task for each task
(G4), the first cause and all errors (G5), and start, stop and clean-up protected from KeyboardInterrupt. It has none of the
rest: states, events, logs, policies, idle timeouts, contexts kept apart, children, tasks added later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, final

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from .routines import Step, done, nothing


class Work(NamedTuple):
    """What one task does."""

    init: Callable[[], Awaitable[None]]
    run: Step
    finalize: Callable[[], Awaitable[None]]


class Failure(NamedTuple):
    """What went wrong in which task, and in which of its routines."""

    task: int
    phase: str
    error: BaseException


@final
class Guaranteed:
    """Runs the first task, then all others at once; then finalizes all, the last one first."""

    __slots__ = ("_finalize_timeout", "_gate", "_looping", "_nursery", "_sealed", "_turns", "_works", "cause", "errors")

    def __init__(self, works: Sequence[Work], finalize_timeout: float = 10) -> None:
        self._works = works
        self._finalize_timeout = finalize_timeout
        self._looping = 0  # tasks whose loop has not exited
        self._gate = trio.Event()
        self._turns: list[trio.Event] = []  # to finalize, the last one first
        self._sealed = False  # finalizers have begun
        self._nursery: trio.Nursery
        self.cause: BaseException | None = None
        self.errors: list[Failure] = []

    @enable_ki_protection
    async def run(self) -> None:
        """Run it to its end, and raise what came first."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._looping = 1
                await self._live(0)
        except BaseExceptionGroup as group:
            for error in group.exceptions:
                self._failed(0, "end", error)
        if self.cause is not None:
            raise self.cause

    @enable_ki_protection
    async def _live(self, task: int) -> None:
        init, run, finalize = self._works[task]
        turn = trio.Event()
        phase = "init"
        with trio.CancelScope() as guard:
            self._turns.append(turn)
            try:
                await user(init)
                if task > 0:
                    self._start(task + 1)
                    if not self._gate.is_set():
                        await self._gate.wait()
                phase = "run"
                while await user(run):
                    pass
                if task == 0:
                    self._start(1)
            except BaseException as exc:
                self._failed(task, phase, exc)
            self._looping -= 1
            if self._looping == 0:
                self._sealed = True
                self._turns.pop().set()
            guard.shield = True
            if not turn.is_set():
                await turn.wait()
            await self._finalize(task, finalize, guard)
            if self._turns:
                self._turns.pop().set()

    async def _finalize(self, task: int, finalize: Callable[[], Awaitable[None]], guard: trio.CancelScope) -> None:
        guard.deadline = trio.current_time() + self._finalize_timeout
        try:
            await user(finalize)
        except BaseException as exc:
            if not isinstance(exc, trio.Cancelled):
                self._failed(task, "finalize", exc)
        if guard.cancel_called:
            self._failed(task, "finalize", TimeoutError(f"finalizer of task {task} took too long"))

    def _start(self, task: int) -> None:
        if self.cause is None and task < len(self._works):
            self._looping += 1
            self._nursery.start_soon(self._live, task)
        else:
            self._gate.set()

    def _failed(self, task: int, phase: str, error: BaseException) -> None:
        if self.cause is None:
            self.cause = error
        elif isinstance(error, trio.Cancelled):
            return
        self.errors.append(Failure(task, phase, error))
        if not self._sealed:
            self._nursery.cancel_scope.cancel()


@disable_ki_protection
async def user(routine: Callable[[], Awaitable[bool | None]]) -> bool | None:
    """Call what may be interrupted."""
    return await routine()


async def guaranteed(run: Step = done) -> None:
    """Run one of three tasks."""
    await Guaranteed([Work(nothing, run, nothing)] * 3).run()
