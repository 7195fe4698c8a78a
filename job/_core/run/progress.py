"""How far the run of a job has come, and whether it stops: two states, a table of legal moves and one writer for each.

Users see neither. `JobState` is what they see of both: it moves to STOPPING with the first stop, whatever the progress is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, NoReturn

from ..words.states import illegal_move


class _Moves(dict[Any, Any]):
    """The states that may follow one, each under itself: `state.moves[new]` is `new`, or an error that names both."""

    def __init__(self, old: Enum, allowed: Iterable[Enum]) -> None:
        super().__init__({new: new for new in allowed})
        self._old = old

    def __missing__(self, new: Enum) -> NoReturn:
        raise illegal_move(self._old, new)


class _Step(Enum):
    moves: _Moves  # what the tables below have for it; a look-up, and no call, as each job makes four moves

    # Identity is as good as a name for members, and several times faster in the tables below.
    __hash__ = object.__hash__


class Progress(_Step):
    """How far the run of a job has come. Written by `JobRun` alone."""

    STARTING = "starting"
    """The oneshot runs, then the inits of the start: no recurrent loop has begun."""
    RUNNING = "running"
    """All inits of the start have passed: the loops run, and a task that is added is initialised at once."""
    WINDING_UP = "winding up"
    """All run loops have exited: children end and `on_shutdown` is called."""
    FINALIZING = "finalizing"
    """The finalizers run. The cause of the end stands: nothing can interrupt the job any more."""
    OVER = "over"
    """The last finalizer has ended."""


class StopMode(_Step):
    """How far the job has been told to stop. Written by `Stop` alone."""

    NONE = "none"
    FINISHING = "finishing"
    """Each task stops at its next step; the grace has not ended."""
    CANCELLED = "cancelled"
    """All run loops are cancelled, for whatever reason: no routine but a finalizer is entered any more."""


# Looking a member up in its Enum takes twenty times as long until Python 3.12; the engine asks for these in each job.
STARTING: Final = Progress.STARTING
RUNNING: Final = Progress.RUNNING
WINDING_UP: Final = Progress.WINDING_UP
FINALIZING: Final = Progress.FINALIZING
OVER: Final = Progress.OVER
NO_STOP: Final = StopMode.NONE
FINISHING: Final = StopMode.FINISHING
CANCELLED: Final = StopMode.CANCELLED

PROGRESS_MOVES: Final[Mapping[Progress, frozenset[Progress]]] = MappingProxyType(
    {
        STARTING: frozenset({RUNNING, WINDING_UP}),
        RUNNING: frozenset({WINDING_UP}),
        WINDING_UP: frozenset({FINALIZING}),
        FINALIZING: frozenset({OVER}),
        OVER: frozenset(),
    }
)

STOP_MOVES: Final[Mapping[StopMode, frozenset[StopMode]]] = MappingProxyType(
    {
        NO_STOP: frozenset({FINISHING, CANCELLED}),
        FINISHING: frozenset({CANCELLED}),
        CANCELLED: frozenset(),
    }
)

for _moves in (PROGRESS_MOVES, STOP_MOVES):
    for _state, _allowed in _moves.items():
        _state.moves = _Moves(_state, _allowed)
