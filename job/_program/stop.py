"""The signals that stop a program: the first finishes its job, the second cancels it, the third ends the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, Final, TypeAlias, final

import trio

from .._core.border import finish_by_signal, limits_of, obey
from .._core.job import Job
from .._core.trio.signals import name_of, signal_source

_HANGUP: Final = getattr(signal, "SIGHUP", None)  # not on every system

CODE_BASE: Final = 128
"""What a shell adds to the number of a signal to make an exit code."""

_LAST: Final = 3

Tell: TypeAlias = Callable[[FrameType | None], tuple[str, str]]
"""Says where in the user's code a signal has struck, `, in run at app.py:3` say, and what hangs."""


def stopping_signals() -> tuple[int, ...]:
    """Return the signals that stop a program: SIGINT, SIGTERM, and SIGHUP where the program has no handler for it."""
    if _HANGUP is None or signal.getsignal(_HANGUP) is not signal.SIG_DFL:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, _HANGUP


@final
class ProgramStop:
    """Counts the signals, where they are caught, and has the trio run obey the first two.

    Args:
        job: what they stop.
        last_words: writes a text to stderr within a bound, also where the loop is blocked and the log's reader has stopped.
        tell: what there is to say of that job and of the frame that a signal strikes.
    """

    __slots__ = ("_job", "_last_words", "_numbers", "_obeyed", "_tell", "_token", "cut_by")

    def __init__(self, job: Job[Any], last_words: Callable[[str], None], tell: Tell) -> None:
        self._job = job
        self._last_words = last_words
        self._tell = tell
        self._numbers: list[int] = []
        self._obeyed = 0
        self._token: trio.lowlevel.TrioToken | None = None
        self.cut_by: int | None = None  # the second, unless it came too late to cut anything

    def begin(self) -> None:
        """Obey from now on, and what has come before."""
        self._token = trio.lowlevel.current_trio_token()
        self._obey()

    def caught(self, number: int, frame: FrameType | None) -> None:
        """Count a signal; the third is not left to the loop, which may be what hangs."""
        if number == _HANGUP and signal_source(number).shared:
            return  # a task listens to it
        self._numbers.append(number)
        if len(self._numbers) >= _LAST:
            self._end_process(number, frame)
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._obey)

    def _end_process(self, number: int, frame: FrameType | None) -> None:
        try:
            where, tree = self._tell(frame)
            self._last_words(f"job: {name_of(number)}, the third signal, ends the process{where}\n{tree}\n")
        finally:
            os._exit(CODE_BASE + self._numbers[1])

    def _obey(self) -> None:
        for number in self._numbers[self._obeyed :]:
            self._obeyed += 1
            try:
                (self._finish if self._obeyed == 1 else self._cut)(number)
            except BaseException as error:  # of a logger, say; trio would take the whole run down
                obey(self._job, error)

    def _finish(self, number: int) -> None:
        job = self._job
        grace, children = limits_of(job).grace, job.statistics().children
        job.log.info("program.stopping", signal=name_of(number), grace=grace, children=children)
        finish_by_signal(job)

    def _cut(self, number: int) -> None:
        error_before = self._job.interrupted_by[1]
        self._job.cancel(f"cut by a second signal, {name_of(number)}")
        if self._job.interrupted_by[1] is not error_before:  # else it came too late: the finalizers had begun
            self.cut_by = number
