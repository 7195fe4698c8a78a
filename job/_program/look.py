"""Show on a signal what a program is doing: the tree of its jobs, and where each of them waits."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final, final

from .._core.job import Job
from .._core.trio.signals import open_signals, signal_source
from ..instrumentation._tree import tree
from ..instrumentation._where import running

_SHOW: Final = getattr(signal, "SIGUSR1", None)  # Some systems do not have it.


@final
class Look:
    """Shows a job from a signal handler, even while one of its steps blocks the loop.

    Args:
        job: the job of the program.
        write: queues a text for stderr; a reader that has stopped must not hold it up.
        below: the code in which the program runs the job; its callers do not belong to the job.
    """

    __slots__ = ("_below", "_job", "_write")

    def __init__(self, job: Job[Any], write: Callable[[str], None], *, below: CodeType) -> None:
        self._job = job
        self._write = write
        self._below = below

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """Write the tree on SIGUSR1 while the block runs, unless the signal already has a handler."""
        if _SHOW is None or signal.getsignal(_SHOW) is not signal.SIG_DFL:
            yield
            return
        with open_signals(self._caught, _SHOW):
            yield

    def tell(self, frame: FrameType | None) -> tuple[str, str]:
        """Return the place in user code that a signal interrupted, and the tree of the job."""
        struck = running(frame, self._below)
        return "" if struck is None else f", in {struck}", tree(jobs=[self._job], where=True)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if signal_source(number).shared:
            return  # A task listens to this signal.
        struck = running(frame, self._below)
        self._write(tree(where=True) + ("\n" if struck is None else f"\nruns just now: {struck}\n"))
