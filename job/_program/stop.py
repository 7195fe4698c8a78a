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

_HANGUP: Final = getattr(signal, "SIGHUP", None)  # Some systems do not have it.

CODE_BASE: Final = 128
"""A shell adds this to the number of a signal to make an exit code."""

_LAST: Final = 3

Tell: TypeAlias = Callable[[FrameType | None], tuple[str, str]]
"""Returns the place in user code that a signal interrupted (`, in run at app.py:3`), and the tree of what hangs."""


def stopping_signals() -> tuple[int, ...]:
    """Return the signals that stop a program: SIGINT, SIGTERM, and SIGHUP unless the program has a handler for it."""
    if _HANGUP is None or signal.getsignal(_HANGUP) is not signal.SIG_DFL:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, _HANGUP


@final
class ProgramStop:
    """Counts signals in their handler, and makes the trio run obey the first two.

    Args:
        job: the job to stop.
        last_words: writes a text to stderr in bounded time, even if the loop is blocked and the log's reader has stopped.
        tell: describes the job, and the frame that a signal interrupted.
    """

    __slots__ = ("_job", "_last_words", "_numbers", "_obeyed", "_tell", "_token", "cut_by")

    def __init__(self, job: Job[Any], last_words: Callable[[str], None], tell: Tell) -> None:
        self._job = job
        self._last_words = last_words
        self._tell = tell
        self._numbers: list[int] = []
        self._obeyed = 0
        self._token: trio.lowlevel.TrioToken | None = None
        self.cut_by: int | None = None  # The second signal, unless it came too late to cut anything.

    def begin(self) -> None:
        """Obey the signals that came before, and those from now on."""
        self._token = trio.lowlevel.current_trio_token()
        self._obey()

    def caught(self, number: int, frame: FrameType | None) -> None:
        """Count a signal; act on the third here and not in the loop, which may be what hangs."""
        if number == _HANGUP and signal_source(number).shared:
            return  # A task listens to this signal.
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
            except BaseException as error:  # A logger, for example, raised it, and trio would bring the whole run down.
                obey(self._job, error)

    def _finish(self, number: int) -> None:
        job = self._job
        grace, children = limits_of(job).grace, job.statistics().children
        job.log.info("program.stopping", signal=name_of(number), grace=grace, children=children)
        finish_by_signal(job)

    def _cut(self, number: int) -> None:
        error_before = self._job.interrupted_by[1]
        self._job.cancel(f"cut by a second signal, {name_of(number)}")
        if self._job.interrupted_by[1] is not error_before:  # Otherwise it came too late: the finalizers had begun.
            self.cut_by = number
