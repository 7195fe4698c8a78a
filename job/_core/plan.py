"""The times that bound a job."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from . import check

NEVER: Final = math.inf
NO_GRACE: Final = 0.0
FINALIZE_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The arguments of `Job` with the same names, in seconds."""

    timeout: float = NEVER
    grace: float = NO_GRACE
    finalize_timeout: float = FINALIZE_TIMEOUT
    stop_timeout: float = NEVER


_USUAL: Final = Limits()


def checked_limits(timeout: object, grace: object, finalize_timeout: object, stop_timeout: object) -> Limits:
    """Return the limits of a job; jobs with the defaults share one record.

    Raises:
        TypeError, ValueError: a limit is not a number of seconds.
    """
    # Compared by identity, because False equals 0.0 and must be refused.
    if timeout is NEVER and grace is NO_GRACE and finalize_timeout is FINALIZE_TIMEOUT and stop_timeout is NEVER:
        return _USUAL
    return Limits(
        check.seconds("timeout", timeout),
        check.seconds("grace", grace),
        check.seconds("finalize_timeout", finalize_timeout),
        check.seconds("stop_timeout", stop_timeout),
    )
