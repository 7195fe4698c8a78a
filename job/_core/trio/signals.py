"""Signals of the process, each heard by all who listen.

`trio.open_signal_receiver` takes a signal from what had it, and gives it back as if blocks ended in reverse order. Two tasks
that reload on the same signal, in jobs that end as they please, are neither; and a job holds its signals for longer than the
task lives that acts on them, so that one which comes in a later finalizer does not kill the process there.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from types import FrameType
from typing import Any, Final, TypeAlias, final

import trio

from ..words.blocks import contextmanager

Caught: TypeAlias = Callable[[int, FrameType | None], None]
"""Is told of a signal in the middle of anything, as a handler of Python's is."""


@final
class SignalSource:
    """One signal, and those who listen to it; the handler it had before is back when the last has left.

    A signal that is ignored stays so: the process was told to live through it. That of a handler which C code has installed
    stays where it is: Python could not put it back.
    """

    __slots__ = ("_before", "_listeners", "_number")

    def __init__(self, number: int) -> None:
        self._number = number
        self._listeners: dict[object, Caught] = {}

    @contextmanager
    def heard_by(self, caught: Caught) -> Iterator[None]:
        """Tell `caught` of the signal while the block runs."""
        if not self._listeners:
            self._take()
        listener = object()
        self._listeners[listener] = caught
        try:
            yield
        finally:
            self._listeners.pop(listener, None)
            if not self._listeners:
                self._give_back()

    def leave(self) -> None:
        """Forget those who listen, and give the signal back: they are in the process that this one was forked from."""
        if self._listeners:
            self._listeners.clear()
            self._give_back()

    @property
    def shared(self) -> bool:
        """Whether more than one listens."""
        return len(self._listeners) > 1

    def _take(self) -> None:
        present = signal.getsignal(self._number)
        if present != self._caught:
            self._before: Any = present
            if present not in (signal.SIG_IGN, None):
                signal.signal(self._number, self._caught)

    def _give_back(self) -> None:
        if signal.getsignal(self._number) == self._caught:  # else it is another's by now
            signal.signal(self._number, self._before)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        for caught in tuple(self._listeners.values()):
            caught(number, frame)
        if not self._listeners:
            self._as_before(number, frame)

    def _as_before(self, number: int, frame: FrameType | None) -> None:
        """Do what the signal did before: another has put our handler back, after all who listened had left."""
        if callable(self._before):
            self._before(number, frame)
        else:
            signal.signal(number, self._before)
            signal.raise_signal(number)


_sources: Final[dict[int, SignalSource]] = {}


def signal_source(number: int) -> SignalSource:
    """Return the line of a signal; there is one in the process."""
    return _sources.setdefault(number, SignalSource(number))


_forking: Final = threading.local()


def _before_fork() -> None:
    # Python drops what comes before the new process is set up; held back, it is obeyed then.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _sources)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _in_forked_process() -> None:
    for each in _sources.values():
        each.leave()
    _after_fork()


with suppress(AttributeError):  # of a system without fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_forked_process)


def in_main_thread() -> bool:
    """Whether signals can be caught here."""
    return threading.current_thread() is threading.main_thread()


def check_main_thread() -> None:
    """Refuse a thread in which Python knows no signals.

    Raises:
        RuntimeError: it is not the main one.
    """
    if not in_main_thread():
        raise RuntimeError("signals can be received in the main thread only")


@contextmanager
def open_signals(caught: Caught, *numbers: int) -> Iterator[None]:
    """Open a block in which `caught` is told of these signals.

    Raises:
        RuntimeError: outside of the main thread.
    """
    check_main_thread()
    with ExitStack() as stack:
        for number in dict.fromkeys(numbers):
            stack.enter_context(signal_source(number).heard_by(caught))
        yield


def in_the_loop(act: Callable[[int], None]) -> Caught:
    """Return a listener that has `act` called by this trio run, between two steps of its tasks; `act` must not raise."""
    token = trio.lowlevel.current_trio_token()

    def caught(number: int, _: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(act, number)

    return caught


def name_of(number: int) -> str:
    """Return `SIGTERM`, say; a real-time signal has no name of its own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def checked_signals(signals: tuple[int, ...]) -> tuple[int, ...]:
    """Return `signals`, each of which must be one that can be caught.

    Raises:
        TypeError: there is none, or one is no signal.
        ValueError: this system does not know one, or lets nobody catch it.
    """
    if not signals:
        raise TypeError("signals must be at least one signal, got none")
    for each in signals:
        if isinstance(each, bool) or not isinstance(each, int):
            raise TypeError(f"signals must be members of signal.Signals, got {each!r}")
        if each not in signal.valid_signals():
            raise ValueError(f"signals must be known to this system, got {each!r}")
        if each in _not_to_be_caught():
            raise ValueError(f"signals must be such as can be caught, got {each!r}")
    return signals


def _not_to_be_caught() -> set[int]:
    return {getattr(signal, name) for name in ("SIGKILL", "SIGSTOP") if hasattr(signal, name)}
