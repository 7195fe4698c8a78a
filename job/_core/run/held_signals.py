"""The signals that a job holds from before its first init until after its last finalizer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, final

from ..trio.signals import in_main_thread, in_the_loop, open_signals

if TYPE_CHECKING:
    from ..job import Job

Act: TypeAlias = "Callable[[Job[Any], int], None]"
"""What is done about a signal, in the trio run of the job."""


@final
class HeldSignals:
    """The signals of one job, as its tasks have asked for them when they were added."""

    __slots__ = ("_asked", "_open")

    def __init__(self) -> None:
        self._asked: dict[tuple[tuple[int, ...], Act], None] = {}
        self._open: ExitStack | None = None

    def ask(self, job: Job[Any], numbers: tuple[int, ...], act: Act) -> None:
        """Hold these signals, too; at once where the job runs."""
        if (numbers, act) not in self._asked:
            self._asked[numbers, act] = None
            if self._open is not None:
                self._hold(self._open, job, numbers, act)

    def open(self, job: Job[Any]) -> None:
        """The job begins. Outside of the main thread nothing can be held: the init of the task that asked says so."""
        if in_main_thread():
            self._open = ExitStack()
            for numbers, act in self._asked:
                self._hold(self._open, job, numbers, act)

    def close(self) -> None:
        """The job has ended."""
        if self._open is not None:
            self._open.close()

    def _hold(self, stack: ExitStack, job: Job[Any], numbers: tuple[int, ...], act: Act) -> None:
        stack.enter_context(open_signals(in_the_loop(partial(_obey, job, act)), *numbers))


def _obey(job: Job[Any], act: Act, number: int) -> None:
    try:
        act(job, number)
    except BaseException as error:  # trio would take the whole run down
        job._obey(error)


def hold_signals(job: Job[Any], numbers: tuple[int, ...], act: Act) -> None:
    """Hold signals while the job runs, its finalizers included; `act` is told of each."""
    if job._signals is None:
        job._signals = HeldSignals()
        if job._run is not None:
            job._signals.open(job)
    job._signals.ask(job, numbers, act)


def ignore(job: Job[Any], number: int) -> None:
    """Do nothing about a signal but to hold it: the task that it is for listens by itself."""
