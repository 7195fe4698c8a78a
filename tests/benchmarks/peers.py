"""What is here: the peers, and room for them. A peer that is not here is said to be missing, and the rest goes on."""

from __future__ import annotations

import resource
import shutil
from importlib.util import find_spec

NOT_HERE = "not here"
MOST_DESCRIPTORS = 1 << 17


def has_module(name: str) -> bool:
    """Whether a Python package can be imported."""
    return find_spec(name) is not None


def program(name: str) -> str | None:
    """Return the path of a program, also where only an administrator's PATH has it."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def descriptors() -> int:
    """Return how many descriptors a process may have here, and let this one and those that it starts have them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
