"""Signals of the process, each delivered to any number of listeners.

`trio.open_signal_receiver` replaces the handler of a signal and restores the old one, which is right only if blocks end in
reverse order. Two tasks that reload on the same signal, in jobs that end in any order, need more. So does a job that holds its
signals beyond the life of the task that acts on them, so that a signal during a later finalizer does not kill the process.
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
"""Called with a signal between any two bytecodes, as a Python signal handler is."""


@final
class SignalSource:
    """One signal and its listeners; the former handler is restored when the last listener has left.

    An ignored signal stays ignored, because the process was told to survive it. A handler installed by C code stays in place,
    because Python could not restore it.
    """

    __slots__ = ("_before", "_listeners", "_number")

    def __init__(self, number: int) -> None:
        self._number = number
        self._listeners: dict[object, Caught] = {}

    @contextmanager
    def heard_by(self, caught: Caught) -> Iterator[None]:
        """Call `caught` on each signal while the block runs."""
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
        """Forget the listeners and restore the handler: in a forked process, the listeners belong to the parent process."""
        if self._listeners:
            self._listeners.clear()
            self._give_back()

    @property
    def shared(self) -> bool:
        """True if there is more than one listener."""
        return len(self._listeners) > 1

    def _take(self) -> None:
        present = signal.getsignal(self._number)
        if present != self._caught:
            self._before: Any = present
            if present not in (signal.SIG_IGN, None):
                signal.signal(self._number, self._caught)

    def _give_back(self) -> None:
        if signal.getsignal(self._number) == self._caught:  # Otherwise other code has replaced it.
            signal.signal(self._number, self._before)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        for caught in tuple(self._listeners.values()):
            caught(number, frame)
        if not self._listeners:
            self._as_before(number, frame)

    def _as_before(self, number: int, frame: FrameType | None) -> None:
        """Do what the signal did before: other code restored our handler after the last listener had left."""
        if callable(self._before):
            self._before(number, frame)
        else:
            signal.signal(number, self._before)
            signal.raise_signal(number)


_sources: Final[dict[int, SignalSource]] = {}


def signal_source(number: int) -> SignalSource:
    """Return the source of a signal; there is one per process."""
    return _sources.setdefault(number, SignalSource(number))


_forking: Final = threading.local()


def _before_fork() -> None:
    # Python drops signals that arrive before the new process is set up; blocked signals are delivered after that.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _sources)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _in_forked_process() -> None:
    for each in _sources.values():
        each.leave()
    _after_fork()


with suppress(AttributeError):  # Systems without fork have no register_at_fork.
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_forked_process)


def in_main_thread() -> bool:
    """Return True in the main thread, the only one that can catch signals."""
    return threading.current_thread() is threading.main_thread()


def check_main_thread() -> None:
    """Refuse to go on in a thread that cannot catch signals.

    Raises:
        RuntimeError: this is not the main thread.
    """
    if not in_main_thread():
        raise RuntimeError("signals can be received in the main thread only")


@contextmanager
def open_signals(caught: Caught, *numbers: int) -> Iterator[None]:
    """Open a block in which these signals are passed to `caught`.

    Raises:
        RuntimeError: outside of the main thread.
    """
    check_main_thread()
    with ExitStack() as stack:
        for number in dict.fromkeys(numbers):
            stack.enter_context(signal_source(number).heard_by(caught))
        yield


def in_the_loop(act: Callable[[int], None]) -> Caught:
    """Return a listener that makes this trio run call `act` between two steps of its tasks; `act` must not raise."""
    token = trio.lowlevel.current_trio_token()

    def caught(number: int, _: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(act, number)

    return caught


def name_of(number: int) -> str:
    """Return the name of a signal, such as `SIGTERM`; real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def checked_signals(signals: tuple[int, ...]) -> tuple[int, ...]:
    """Return `signals` if each of them is a signal that can be caught.

    Raises:
        TypeError: there are none, or one is not a signal.
        ValueError: one is unknown to this system, or cannot be caught.
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
