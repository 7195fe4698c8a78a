"""Trim tracebacks so that they begin with user code."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from ..words.exceptions import JobError

_PACKAGE: Final = f"{Path(__file__).parents[2]}{os.sep}"


def begin_with_user_code(error: BaseException) -> None:
    """Cut the frames of this package off the front of a traceback: how the engine came to call a routine is noise.

    Everything from the first frame of user code on stays, our own frames included. A fault that is all ours stays whole.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        traceback = traceback.tb_next
    if traceback is None and isinstance(error, JobError):
        traceback = _last_place(error)
    if traceback is not None:
        BaseException.with_traceback(error, traceback)  # An assignment would fail for a frozen dataclass.


def _last_place(error: JobError) -> TracebackType | None:
    """Return where the engine raised an error of its own, with the frame cleared: it holds the job, which holds the error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is not None:
        with suppress(RuntimeError):  # A running frame cannot be cleared.
            traceback.tb_frame.clear()
    return traceback
