"""Wrong options are refused at the call, by name and value."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from job import tasks


async def work(task: Any) -> None:
    """Stand for any task."""


REFUSED: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (ValueError, "interval .*inf", lambda: tasks.every(math.inf, work)),
    (ValueError, "interval .*-1", lambda: tasks.every(-1, work)),
    (TypeError, "max_restarts .*'x'", lambda: tasks.restart(work, max_restarts="x")),  # type: ignore[arg-type]
    (ValueError, "max_restarts .*-1", lambda: tasks.restart(work, max_restarts=-1)),
    (TypeError, "immediate .*'no'", lambda: tasks.every(1, work, immediate="no")),  # type: ignore[arg-type]
    (TypeError, "t must be a factory.* 5", lambda: tasks.every(1, 5)),
    (TypeError, "t must be a factory.*coroutine", lambda: tasks.every(1, work(None))),
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSED, ids=range(len(REFUSED)))
def test_refused(error: type[Exception], message: str, call: Callable[[], Any]) -> None:
    """Each error names the argument and what it was."""
    with pytest.raises(error, match=message):
        call()
