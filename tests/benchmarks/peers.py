"""Who else is here to be measured. A peer that is not here is said to be missing, and the rest goes on."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

NOT_HERE = "not here"


def has_module(name: str) -> bool:
    """Whether a Python package can be imported."""
    return find_spec(name) is not None


def program(name: str) -> str | None:
    """Return the path of a program, also where only an administrator's PATH has it."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
