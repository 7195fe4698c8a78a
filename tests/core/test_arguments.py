"""Wrong arguments are refused at the call, by name and value."""

import functools
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import job
from job import IdleClock, Job
from job.background import Manager
from job.tasks import Backoff, Retry, cron
from tests.journal import done

HUGE = 10**400
ENDLESS = 10**5000  # Python refuses to write out so many digits

REFUSED = [
    (TypeError, r"timeout .*'soon'", lambda: Job[None](timeout="soon")),  # type: ignore[arg-type]
    (TypeError, r"timeout .*True", lambda: Job[None](timeout=True)),
    (ValueError, r"grace .*-1", lambda: Job[None](grace=-1)),
    (ValueError, r"finalize_timeout .*nan", lambda: Job[None](finalize_timeout=float("nan"))),
    (TypeError, r"stop_timeout .*None", lambda: Job[None](stop_timeout=None)),  # type: ignore[arg-type]
    (TypeError, r"name .*5", lambda: Job[None](name=5)),  # type: ignore[arg-type]
    (ValueError, r"name .*''", lambda: Job[None](name="")),
    (TypeError, r"parent .*5", lambda: Job[None](parent=5)),  # type: ignore[arg-type]
    (TypeError, r"on_shutdown .*5", lambda: Job[None](on_shutdown=5)),  # type: ignore[arg-type]
    (TypeError, r"error_wrapper .*5", lambda: Job[None](error_wrapper=5)),  # type: ignore[arg-type]
    (TypeError, r"quiet .*5", lambda: Job[None](quiet=5)),  # type: ignore[arg-type]
    (TypeError, r"quiet .*'x'", lambda: Job[None](quiet=["x"])),  # type: ignore[list-item]
    (TypeError, r"fields .*5", lambda: Job[None](fields=5)),  # type: ignore[arg-type]
    (TypeError, r"fields .*1", lambda: Job[None](fields={1: 2})),  # type: ignore[dict-item]
    (TypeError, r"observers .*5", lambda: Job[None](observers=[5])),  # type: ignore[list-item]
    (ValueError, r"seconds .*0", lambda: IdleClock(0)),
    (ValueError, r"grace .*-1", lambda: Job[None]().finish(-1)),
    (TypeError, r"observer .*5", lambda: job.register_observer(5)),  # type: ignore[arg-type]
    (TypeError, r"observers must be .*5", lambda: Job[None](observers=5)),  # type: ignore[arg-type]
    (TypeError, r"keep_open must be True or False, got 'no'", lambda: Job[None](keep_open="no")),  # type: ignore[arg-type]
    (TypeError, r"transient must be .*'no'", lambda: Job[None]().add_task(done, transient="no")),  # type: ignore[arg-type]
    (TypeError, r"policy .*'strict'", lambda: Job[None]().add_task(done, policy="strict")),  # type: ignore[arg-type]
    (ValueError, r"idle_timeout .*more than 0.*-1", lambda: Job[None]().add_task(done, idle_timeout=-1)),
    (TypeError, r"idle_timeout .*'2'", lambda: Job[None]().add_task(done, idle_timeout="2")),  # type: ignore[arg-type]
    (TypeError, r"a task must be .*5", lambda: Job[None]().add_task(5)),
    (TypeError, r"a task must be .*None", lambda: Job[None]().add_oneshot_task(None)),
    (TypeError, r"index must be an int, got '1'", lambda: Job[None]().get_task("1")),  # type: ignore[arg-type]
    (TypeError, r"logger .*5", lambda: Job[None]().register_logger(5)),
    (ValueError, r"logger .*{}", lambda: Job[None]().register_logger({})),
    (TypeError, r"level .*'1'", lambda: Job[None]().register_logger({0: print}, level="1")),  # type: ignore[arg-type]
    (TypeError, r"level must be an int, got 'event'", lambda: Job[None]().log("event", "1")),  # type: ignore[arg-type]
    (TypeError, r"job .*5", lambda: job.run(5)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSED, ids=range(len(REFUSED)))
def test_refused(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    """Each names the argument and the value."""
    with pytest.raises(error, match=message):
        call()


SECONDS: dict[str, Callable[[Any], object]] = {
    "timeout": lambda value: Job(timeout=value),
    "grace": lambda value: Job().finish(value),
    "finalize_timeout": lambda value: Job(finalize_timeout=value),
    "stop_timeout": lambda value: Job(stop_timeout=value),
    "idle_timeout": lambda value: Job().add_task(done, idle_timeout=value),
    "seconds": lambda value: setattr(IdleClock(1), "seconds", value),
    "stalled_after": lambda value: Manager(stalled_after=value),
    "pause": lambda value: Manager().loop(print, pause=value),
    "wait": lambda value: Retry(2, wait=value),
    "initial": lambda value: Backoff(value, 1),
    "maximum": lambda value: Backoff(1, value),
    "factor": lambda value: Backoff(1, 2, factor=value),
    "jitter": lambda value: Backoff(1, 2, jitter=value),
}
NO_SECONDS = [HUGE, ENDLESS, -1, float("nan"), True, "1", Decimal(1), Fraction(1), 1j, [1]]


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", NO_SECONDS, ids=range(len(NO_SECONDS)))
def test_what_is_no_number_of_seconds(name: str, value: object) -> None:
    """Whatever takes seconds, or a number, refuses by name what it cannot reckon with."""
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must "):
        SECONDS[name](value)


@pytest.mark.parametrize("name", SECONDS)
def test_subclass_of_a_number(name: str) -> None:
    """What is a float or an int, numpy's float64 say, is taken as such."""

    class Float64(float):
        pass

    SECONDS[name](Float64(1.0))


ASYNC_HOOKS: dict[str, Callable[[Any], object]] = {
    "error_wrapper": lambda hook: Job(error_wrapper=hook),
    "observers": lambda hook: Job(observers=[observing(hook)]),
    "on_event of observer": lambda hook: job.register_observer(observing(hook)),
    "logger": lambda hook: Job().register_logger({0: hook}),
    "the handler of level 1 of logger": lambda hook: job.register_default_logger({0: print, 1: hook}),
    r"info\(\) of logger": lambda hook: job.register_default_logger(logging_by(hook)),
    "now": lambda hook: cron("@hourly", done, now=hook),
}


def observing(hook: Any) -> Any:
    """Return an observer with that hook."""
    return type("Observer", (), {"on_event": staticmethod(hook)})()


def logging_by(hook: Any) -> Any:
    """Return a logger one of whose methods is that hook."""
    return type("Log", (), {"bind": lambda self, **fields: self, "info": staticmethod(hook)})()


async def hook(*args: object) -> None:
    """Stand for a hook that nobody awaits."""


async def yielding(*args: object) -> Any:
    """Stand for one that nobody iterates over."""
    yield args


class Hook:
    """An object with hooks of two kinds."""

    async def __call__(self, *args: object) -> None:
        """Be an async callable."""

    async def method(self, *args: object) -> None:
        """Be an async method."""


@pytest.mark.parametrize("name", ASYNC_HOOKS)
@pytest.mark.parametrize(
    "never_awaited",
    [
        hook,
        yielding,
        functools.partial(hook, 1),
        functools.partial(functools.partial(hook, 1), 2),
        Hook(),
        functools.partial(Hook(), 1),
        Hook().method,
        functools.partial(Hook().method, 1),
    ],
    ids=range(8),
)
def test_async_hook(name: str, never_awaited: object) -> None:
    """Where nothing can be awaited an async function is refused, in whatever it is wrapped."""
    with pytest.raises(TypeError, match=rf"{name} .*be a plain function, as it is never awaited, got"):
        ASYNC_HOOKS[name](never_awaited)


def test_fields_are_a_copy() -> None:
    """What is done to a job's fields does not reach the dict that they came from."""
    given = {"site": "A"}
    j = Job[None](fields=given)
    j.fields["site"] = "B"
    assert given == {"site": "A"}


def test_clock_shows_its_limit() -> None:
    """The repr of an idle clock says how long its holders may be silent."""
    assert repr(IdleClock(2.5)) == "<IdleClock 2.5 s>"
