"""What the end of one task means for its job."""

from __future__ import annotations

from enum import Enum
from typing import Final


class StopPolicy(Enum):
    """What a job does when a task with this policy ends.

    A listener or a cron task, which never ends by itself, does not hold up a job whose real work is a `STOP_GROUP`.
    """

    ERROR = "error"
    """An error cancels the job; done is fine."""
    STRICT = "strict"
    """As ERROR, and a done before the job is stopping is an error too (`UnexpectedStopError`)."""
    STOP_GROUP = "stop group"
    """As ERROR, and when all tasks of the group are done the job finishes."""
    CONTAIN = "contain"
    """An error is recorded and reported; nobody else is stopped, and the job's end is not changed by it."""


# Asked for in each task: why these are not looked up in their Enum, `_states` says.
ERROR: Final = StopPolicy.ERROR
STRICT: Final = StopPolicy.STRICT
STOP_GROUP: Final = StopPolicy.STOP_GROUP
