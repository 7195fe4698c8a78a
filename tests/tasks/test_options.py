"""Wrong options are refused at the call, by name and value."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable
from decimal import Decimal

import pytest

from job.tasks import cron, every, force_stop, once, recurrent, reload_on_signal, restart, retry, signal_listener
from tests.journal import done

WRONG: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: every(-1, done), ValueError, "interval must be more than 0 seconds, got -1"),
    (lambda: every(0, done), ValueError, "interval must be more than 0 seconds, got 0"),
    (lambda: every(math.inf, done), ValueError, "interval must be finite, got inf"),
    (lambda: every(math.nan, done), ValueError, "interval must be more than 0 seconds, got nan"),
    (lambda: every("1", done), TypeError, "interval must be a number of seconds, got '1'"),  # type: ignore[arg-type]
    (lambda: retry(done, attempts=0), ValueError, "attempts must be 1 or more, got 0"),
    (lambda: retry(done, attempts=1.5), TypeError, "attempts must be a whole number or math.inf, got 1.5"),
    (lambda: retry(done, attempts=2, wait=-1), ValueError, "wait must be 0 or more seconds, got -1"),
    (lambda: retry(done, attempts=2, on=BaseException), TypeError, "on must hold subclasses of Exception"),  # type: ignore[arg-type]
    (lambda: retry(done, attempts=2, on="OSError"), TypeError, "on must hold exception types"),  # type: ignore[arg-type]
    (lambda: restart(done, wait=-1), ValueError, "wait must be 0 or more seconds, got -1"),
    (lambda: restart(done, wait=None), TypeError, "wait must be a number of seconds or a Backoff, got None"),  # type: ignore[arg-type]
    (lambda: restart(done, max_restarts=-1), ValueError, "max_restarts must be 0 or more, got -1"),
    (lambda: restart(done, max_restarts=2.5), TypeError, "max_restarts must be a whole number or math.inf, got 2.5"),
    (lambda: restart(done, max_restarts=True), TypeError, "max_restarts must be a whole number or math.inf, got True"),
    (lambda: restart(done, within=0), ValueError, "within must be more than 0 seconds, got 0"),
    (lambda: force_stop(done, -1), ValueError, "after must be 0 or more seconds, got -1"),
    (lambda: force_stop(done, None), TypeError, "after must be a number of seconds, got None"),  # type: ignore[arg-type]
    (
        lambda: every(10**400, done),
        ValueError,
        "interval must be a number of seconds that a float can hold, got an int of",
    ),
    (lambda: every(True, done), TypeError, "interval must be a number of seconds, got True"),
    (lambda: force_stop(done, 10**400), ValueError, "after must be a number of seconds that a float can hold"),
    (lambda: restart(done, within=10**400), ValueError, "within must be a number of seconds that a float can hold"),
    (lambda: restart(done, wait=10**400), ValueError, "wait must be a number of seconds that a float can hold"),
    (lambda: restart(done, max_restarts=-(10**5000)), ValueError, "max_restarts must be 0 or more, got an int of"),
    (lambda: retry(done, attempts=Decimal("Infinity")), TypeError, "attempts must be a whole number or math.inf"),  # type: ignore[arg-type]
    (lambda: retry(done, attempts=math.nan), TypeError, "attempts must be a whole number or math.inf, got nan"),
    (lambda: retry(done, attempts=True), TypeError, "attempts must be a whole number or math.inf, got True"),
    (signal_listener, TypeError, "signals must be at least one signal, got none"),
    (lambda: reload_on_signal(done), TypeError, "signals must be at least one signal, got none"),
    (lambda: signal_listener(4711), ValueError, "signals must be known to this system, got 4711"),
    (lambda: signal_listener("SIGTERM"), TypeError, "signals must be members of signal.Signals, got 'SIGTERM'"),  # type: ignore[arg-type]
    (lambda: signal_listener(True), TypeError, "signals must be members of signal.Signals, got True"),
    (lambda: reload_on_signal(done, signal.SIGKILL), ValueError, "signals must be such as can be caught, got "),
    (lambda: reload_on_signal(done, signal.SIGSTOP), ValueError, "signals must be such as can be caught, got "),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=map(str, range(len(WRONG))))
def test_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    """The message says what was expected."""
    with pytest.raises(error, match=re.escape(message)):
        call()


FORMS: dict[str, Callable[[object], object]] = {
    "once": once,
    "recurrent": recurrent,
    "every": lambda t: every(1, t),
    "cron": lambda t: cron("@hourly", t),
    "retry": lambda t: retry(t, attempts=2),
    "restart": restart,
    "force_stop": lambda t: force_stop(t, 1),
    "reload_on_signal": lambda t: reload_on_signal(t, signal.SIGHUP),
}


@pytest.mark.parametrize("wrap", FORMS.values(), ids=FORMS)
def test_what_is_no_task(wrap: Callable[[object], object]) -> None:
    """A task that is none is refused, too."""
    with pytest.raises(TypeError, match=r"(t|fn) must be a factory, a coroutine function .* got 42"):
        wrap(42)


@pytest.mark.parametrize("wrap", FORMS.values(), ids=FORMS)
def test_coroutine(wrap: Callable[[object], object]) -> None:
    """A function that was called already is the usual slip; its coroutine is closed."""

    async def fetch() -> None: ...

    with pytest.raises(TypeError, match="must be a factory, a coroutine function"):
        wrap(fetch())
