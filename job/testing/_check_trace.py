"""The judge: a trace, held against the guarantees of the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ._check_cause import wrong_causes
from ._check_finalize import strayed_routines, unbalanced_finalizers, unfinished_routines
from ._check_order import broken_order, disturbed_finalizers
from ._check_states import illegal_moves
from ._trace import Trace

_GUARANTEES: Final[dict[str, Callable[[Trace], Iterator[str]]]] = {
    "G1 order": broken_order,
    "G2 finalize": unbalanced_finalizers,
    "G3 quiet finalizers": disturbed_finalizers,
    "G4 one task, one trio task": strayed_routines,
    "G5 first cause wins": wrong_causes,
    "G6 no leftovers": unfinished_routines,
    "G8 states": illegal_moves,
}


class BrokenGuaranteeError(AssertionError):
    """A job did what its contract rules out; the message names each guarantee that it broke, and shows the trace."""


def complaints(trace: Trace) -> list[str]:
    """Return one line for each way in which a trace breaks a guarantee, beginning with the guarantee's name."""
    return [f"{name}: {complaint}" for name, check in _GUARANTEES.items() for complaint in check(trace)]


def check_trace(trace: Trace) -> None:
    """Hold a trace against the guarantees of order, finalizers, causes and states.

    Raises:
        BrokenGuaranteeError: it breaks one, or several.
    """
    found = complaints(trace)
    if found:
        raise BrokenGuaranteeError("\n".join([*found, "in this run:", str(trace)]))
