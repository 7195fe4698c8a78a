"""Which signals a program can catch."""

from __future__ import annotations

import signal


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
