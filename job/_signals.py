"""Signals of the process, each heard by all who listen.

`trio.open_signal_receiver` takes a signal from whoever had it, and gives it back as if blocks ended in reverse order. Two tasks
that reload on the same signal, in jobs that end as they please, are neither.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from typing import final

import trio
from trio.lowlevel import RunVar


@final
class Line:
    """One signal, and those who listen to it; the handler it had before is back when the last has left."""

    __slots__ = ("_before", "_listeners", "_number", "_token")

    def __init__(self, number: int) -> None:
        self._number = number
        self._listeners: dict[trio.MemorySendChannel[int], None] = {}
        self._token = trio.lowlevel.current_trio_token()

    @contextmanager
    def heard_by(self, listener: trio.MemorySendChannel[int]) -> Iterator[None]:
        """Tell a listener of the signal while the block runs."""
        if not self._listeners:
            self._before = signal.signal(self._number, self._caught)
        self._listeners[listener] = None
        try:
            yield
        finally:
            del self._listeners[listener]
            if not self._listeners:
                signal.signal(self._number, self._before)

    def _caught(self, *_: object) -> None:
        # In the middle of anything: no more than this is safe here.
        self._token.run_sync_soon(self._tell, idempotent=True)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener.send_nowait(self._number)


_lines: RunVar[dict[int, Line]] = RunVar("job signals")


@contextmanager
def open_signals(*numbers: int) -> Iterator[AsyncIterator[int]]:
    """Open a block that gives the numbers of the signals that come while it runs.

    Raises:
        RuntimeError: outside of the main thread, where Python knows no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("signals can be received in the main thread only")
    send, receive = trio.open_memory_channel[int](math.inf)
    with ExitStack() as stack:
        for number in dict.fromkeys(numbers):
            stack.enter_context(_line(number).heard_by(send))
        yield receive


def _line(number: int) -> Line:
    try:
        lines = _lines.get()
    except LookupError:
        lines = {}
        _lines.set(lines)
    return lines.setdefault(number, Line(number))
