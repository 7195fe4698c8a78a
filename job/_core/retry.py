"""How often to retry, and how long to wait before: arithmetic only, the caller does the waiting."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from . import check
from .words.groups import holds_for


@final
@dataclass(frozen=True, slots=True)
class Backoff:
    """A wait that grows with each consecutive failure: `initial * factor ** n`, at most `maximum`.

    For a constant wait, give plain seconds instead.

    Args:
        initial: seconds after the first failure.
        maximum: the longest wait in seconds; infinity means no maximum.
        factor: the ratio of each wait to the one before it, 1 or more.
        jitter: the fraction of each wait, 0 to 1, from which a random part is taken off, so that tasks that failed together
            do not retry together.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """

    initial: float
    maximum: float
    factor: float = 2.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        check.positive_seconds("initial", self.initial)
        if check.seconds("maximum", self.maximum) < self.initial:
            raise ValueError(f"maximum must be initial ({self.initial!r}) or more, got {self.maximum!r}")
        if not 1 <= check.number("factor", self.factor) < math.inf:
            raise ValueError(f"factor must be 1 or more, got {self.factor!r}")
        if not 0 <= check.number("jitter", self.jitter) <= 1:
            raise ValueError(f"jitter must be a fraction from 0 to 1, got {self.jitter!r}")

    def after(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait after this many consecutive failures (1 for the first); `chance` returns 0 to 1."""
        try:
            full = min(self.maximum, self.initial * float(self.factor) ** (failures - 1))
        except OverflowError:
            full = self.maximum
        return full * (1 - self.jitter * chance()) if self.jitter else full


@final
@dataclass(frozen=True, slots=True)
class Retry:
    """When to repeat a call that failed.

    Args:
        attempts: the number of calls, the first one included; `math.inf` for no limit.
        wait: seconds between two calls, or a `Backoff`.
        on: the exception type to retry on, or several of them; kept as a tuple. A group is retried if all of its errors are
            of these types.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.
    """

    attempts: float
    wait: float | Backoff = 0.0
    on: type[Exception] | tuple[type[Exception], ...] = Exception

    def __post_init__(self) -> None:
        check.times("attempts", self.attempts)
        check_wait("wait", self.wait)
        object.__setattr__(self, "on", _retryable("on", self.on))

    def next_delay(
        self, failures: int, error: BaseException, chance: Callable[[], float] = random.random
    ) -> float | None:
        """Return the seconds until the next attempt after this many failures, the last being `error`; None to give up."""
        if failures >= self.attempts or not holds_for(self.on, error):
            return None
        return wait_after(self.wait, failures, chance)


def wait_after(wait: float | Backoff, failures: int, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait after this many consecutive failures, for `wait` as seconds or a `Backoff`."""
    return wait.after(failures, chance) if isinstance(wait, Backoff) else wait


def check_wait(name: str, wait: object) -> None:
    """Refuse anything but seconds and a `Backoff`."""
    if isinstance(wait, Backoff):
        return
    if isinstance(wait, bool) or not isinstance(wait, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or a Backoff, got {wait!r}")
    check.seconds(name, wait)


def _retryable(name: str, value: object) -> tuple[type[BaseException], ...]:
    types = check.exception_types(name, value)
    for each in types:
        if not issubclass(each, Exception):
            # A cancellation or a KeyboardInterrupt must never be retried.
            raise TypeError(f"{name} must hold subclasses of Exception, got {each!r}")
    return types
