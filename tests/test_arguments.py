"""Wrong arguments are refused at the call, by name and value."""

from collections.abc import Callable
from typing import Any

import pytest

import job
from job import IdleClock, Job
from tests.journal import done

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


def test_fields_are_a_copy() -> None:
    """What is done to a job's fields does not reach the dict that they came from."""
    given = {"site": "A"}
    j = Job[None](fields=given)
    j.fields["site"] = "B"
    assert given == {"site": "A"}


def test_clock_shows_its_limit() -> None:
    """The repr of an idle clock says how long its holders may be silent."""
    assert repr(IdleClock(2.5)) == "<IdleClock 2.5 s>"
