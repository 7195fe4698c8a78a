"""Shortages of this machine, which are no fault of a peer's."""

from __future__ import annotations

import errno
from typing import Final

from .._core.context import current_job
from .._core.report import report_loudly
from .._core.words.groups import leaves
from ._errors import with_causes

CAPACITY_ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""No descriptors or no memory. It passes; until then every attempt fails, for any peer."""

DIAL_CAPACITY_ERRNOS: Final = CAPACITY_ERRNOS | {errno.EADDRNOTAVAIL}
"""For a dial also: no local port towards this peer, or no address in its family. Another peer may be reachable."""


def is_shortage(error: BaseException, numbers: frozenset[int] = DIAL_CAPACITY_ERRNOS) -> bool:
    """Return True if an error comes from a shortage of this machine.

    A transport may hide the errors of its attempts behind one OSError, in a group that is its cause: trio does. Then all of
    them must be shortages.
    """
    return any(all(_is_one_of(numbers, leaf) for leaf in leaves(each)) for each in with_causes(error))


def _is_one_of(numbers: frozenset[int], error: BaseException) -> bool:
    # A program may construct an OSError from anything, with a list for its errno, say.
    return isinstance(error, OSError) and isinstance(error.errno, int) and error.errno in numbers


def tell_shortage(error: BaseException) -> None:
    """Have a shortage logged in full by the job that meets it, even if it is quiet about errors of that type."""
    j = current_job()
    if j is not None and is_shortage(error):
        report_loudly(j, error)
