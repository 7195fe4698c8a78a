"""The guarantees of a job, by hand, for one kind of job: what a careful author writes who needs them, in two styles.

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


class Yardstick:
    """What the two styles have in common: the record of what goes wrong, and a finalizer within its time."""

    def __init__(self, works: Sequence[Work], finalize_timeout: float = 10) -> None:
        self._works = works
        self._finalize_timeout = finalize_timeout
        self._sealed = False  # finalizers have begun
        self._nursery: trio.Nursery
        self.cause: BaseException | None = None
        self.errors: list[Failure] = []

    @enable_ki_protection
    async def run(self) -> None:
        """Run it to its end, and raise what came first."""
        try:
            async with trio.open_nursery() as self._nursery:
                await self._live_all()
        except BaseExceptionGroup as group:
            for error in group.exceptions:
                self._failed(0, "end", error)
        if self.cause is not None:
            raise self.cause

    async def _live_all(self) -> None:
        raise NotImplementedError

    async def _finalize(self, task: int, finalize: Callable[[], Awaitable[None]], guard: trio.CancelScope) -> None:
        guard.deadline = trio.current_time() + self._finalize_timeout
        try:
            await user(finalize)
        except BaseException as exc:
            if not isinstance(exc, trio.Cancelled):
                self._failed(task, "finalize", exc)
        if guard.cancel_called:
            self._failed(task, "finalize", TimeoutError(f"finalizer of task {task} took too long"))

    def _failed(self, task: int, phase: str, error: BaseException) -> None:
        if self.cause is None:
            self.cause = error
        elif isinstance(error, trio.Cancelled):
            return
        self.errors.append(Failure(task, phase, error))
        if not self._sealed:
            self._nursery.cancel_scope.cancel()


@final
class Tight(Yardstick):
    """The host runs the first task; whoever ends a stage starts the next, as in a job."""

    def __init__(self, works: Sequence[Work], finalize_timeout: float = 10) -> None:
        super().__init__(works, finalize_timeout)
        self._looping = 0  # tasks whose loop has not exited
        self._gate = trio.Event()
        self._turns: list[trio.Event] = []  # to finalize, the last one first

    async def _live_all(self) -> None:
        self._looping = 1
        await self._live(0)

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

    def _start(self, task: int) -> None:
        if self.cause is None and task < len(self._works):
            self._looping += 1
            self._nursery.start_soon(self._live, task)
        else:
            self._gate.set()


@final
class Plain(Yardstick):
    """Three tasks in a nursery, and an Event for each thing that one of them waits for: the style of `raw.typical`."""

    def __init__(self, works: Sequence[Work], finalize_timeout: float = 10) -> None:
        super().__init__(works, finalize_timeout)
        self._looping = len(works)
        self._passed = [trio.Event() for _ in works]  # init and, of the first task, the loop
        self._stopped = trio.Event()  # all loops have exited
        self._cleaned = [trio.Event() for _ in works]

    async def _live_all(self) -> None:
        for task in range(len(self._works)):
            self._nursery.start_soon(self._live, task)

    @enable_ki_protection
    async def _live(self, task: int) -> None:
        init, run, finalize = self._works[task]
        phase = ""
        with trio.CancelScope() as guard:
            try:
                if task > 0:
                    await self._passed[task - 1].wait()
                phase = "init"
                await user(init)
                if task > 0:
                    self._passed[task].set()
                    if not self._passed[-1].is_set():
                        await self._passed[-1].wait()
                phase = "run"
                while await user(run):
                    pass
                self._passed[task].set()
            except BaseException as exc:
                self._failed(task, phase, exc)
            self._looping -= 1
            if self._looping == 0:
                self._sealed = True
                self._stopped.set()
            guard.shield = True
            await self._stopped.wait()
            if task + 1 < len(self._works):
                await self._cleaned[task + 1].wait()
            if phase:
                await self._finalize(task, finalize, guard)
            self._cleaned[task].set()


@disable_ki_protection
async def user(routine: Callable[[], Awaitable[bool | None]]) -> bool | None:
    """Call what may be interrupted."""
    return await routine()


async def tight(run: Step = done) -> None:
    """Run one of three tasks, in a job's layout."""
    await Tight([Work(nothing, run, nothing)] * 3).run()


async def plain(run: Step = done) -> None:
    """Run one of three tasks, each in a trio task of its own."""
    await Plain([Work(nothing, run, nothing)] * 3).run()
