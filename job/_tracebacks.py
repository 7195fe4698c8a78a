"""Where a traceback begins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PACKAGE: Final = f"{Path(__file__).parent}{os.sep}"


def begin_with_user_code(error: BaseException) -> None:
    """Cut the frames of this package off the front of a traceback: how the engine came to call a routine tells nobody anything.

    What follows the first frame of the user's stays, ours included; so does an error that is all our own.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        traceback = traceback.tb_next
    if traceback is not None:
        error.with_traceback(traceback)  # and no assignment, which a frozen dataclass refuses
