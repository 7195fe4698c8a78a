"""What this machine may lack, and how it says so: no fault of a peer's."""

from __future__ import annotations

import errno
from typing import Final

from .._core.context import current_job
from .._core.report import report_loudly
from .._core.words.groups import leaves
from ._errors import with_causes

CAPACITY_ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""No descriptors or no memory. It passes; until then every attempt fails, whoever the peer is."""

DIAL_CAPACITY_ERRNOS: Final = CAPACITY_ERRNOS | {errno.EADDRNOTAVAIL}
"""For a dial also no port of ours towards this peer, or no address in the peer's family: to another one it may go well."""


def is_shortage(error: BaseException, numbers: frozenset[int] = DIAL_CAPACITY_ERRNOS) -> bool:
    """Return whether an error comes from a shortage of our own.

    A transport may hide the errors of its attempts behind one OSError, as a group that is its cause: trio does. All of them
    must have met one.
    """
    return any(all(_is_one_of(numbers, leaf) for leaf in leaves(each)) for each in with_causes(error))


def _is_one_of(numbers: frozenset[int], error: BaseException) -> bool:
    # A program may make an OSError of anything, a list for its errno included.
    return isinstance(error, OSError) and isinstance(error.errno, int) and error.errno in numbers


def tell_shortage(error: BaseException) -> None:
    """See to it that the log of the job that meets a shortage does not pass over it as the fault of a peer."""
    j = current_job()
    if j is not None and is_shortage(error):
        report_loudly(j, error)
