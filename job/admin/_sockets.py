"""Directories for unix sockets that are for this user alone."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def check_private(directory: Path) -> None:
    """Refuse a directory that others may write to, or look into, or have put there.

    Raises:
        PermissionError: it is another user's, a link, or open to others.
        OSError: there is none.
    """
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{directory} must be a directory, and no link")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        raise PermissionError(f"{directory} must be for its user alone (0700), it is {stat.S_IMODE(found.st_mode):04o}")


def inspector_directory() -> Path:
    """Return where the programs of this user have their inspectors."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "job") if runtime else Path(f"/tmp/job-{os.getuid()}")


def make_inspector_directory() -> Path:
    """Return the same, made where it is missing.

    Raises:
        PermissionError: it is there, and not ours alone.
        OSError: it cannot be made.
    """
    directory = inspector_directory()
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    check_private(directory)
    return directory
