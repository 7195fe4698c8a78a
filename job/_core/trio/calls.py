"""How the engine calls a user's routine, and how it reads what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.lowlevel import disable_ki_protection

from ..words.groups import leaves
from ..words.user_code import add_note, shown

if TYPE_CHECKING:
    from ..forms import AsyncRoutine
    from ..task import Task


@disable_ki_protection
async def call(routine: AsyncRoutine, task: Task) -> object:
    """Call a routine. User code is open to KeyboardInterrupt; what it is called from decides."""
    return await routine(task)


def without_cancelled(error: BaseException) -> BaseException | None:
    """Return what a user raised: the error, a group without the Cancelled in it, or None where nothing else is left."""
    if isinstance(error, trio.Cancelled):
        return None
    if not isinstance(error, BaseExceptionGroup):
        return error
    rest = [leaf for leaf in leaves(error) if not isinstance(leaf, trio.Cancelled)]
    if not rest:
        return None
    return error if len(rest) == sum(1 for _ in leaves(error)) else _split(error, rest)


def _split(error: BaseExceptionGroup[BaseException], rest: list[BaseException]) -> BaseException:
    """Return a group without the Cancelled in it; where a class of the user's cannot be split, a plain and flat one."""
    try:
        return error.split(trio.Cancelled)[1] or error
    except Exception as fault:
        plain = BaseExceptionGroup(error.message, rest)
        add_note(plain, f"was a {type(error).__name__}, which cannot be split: {shown(fault)}")
        return plain
    except BaseException as order:  # SystemExit, say: it makes the group one that is never contained
        return BaseExceptionGroup(error.message, [*rest, order])
