"""Call a user's routine, and tell a user's error from a cancellation in what it raises."""

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
    """Call a routine with KeyboardInterrupt enabled: user code can be interrupted, the engine around it is protected."""
    return await routine(task)


def without_cancelled(error: BaseException) -> BaseException | None:
    """Return what a user raised: the error, the group without its Cancelled, or None if there is nothing but Cancelled."""
    if isinstance(error, trio.Cancelled):
        return None
    if not isinstance(error, BaseExceptionGroup):
        return error
    rest = [leaf for leaf in leaves(error) if not isinstance(leaf, trio.Cancelled)]
    if not rest:
        return None
    return error if len(rest) == sum(1 for _ in leaves(error)) else _split(error, rest)


def _split(error: BaseExceptionGroup[BaseException], rest: list[BaseException]) -> BaseException:
    """Return the group without its Cancelled, or a plain flat group if a subclass of the user's cannot be split."""
    try:
        return error.split(trio.Cancelled)[1] or error
    except Exception as fault:
        plain = BaseExceptionGroup(error.message, rest)
        add_note(plain, f"was a {type(error).__name__}, which cannot be split: {shown(fault)}")
        return plain
    except BaseException as order:  # A SystemExit, for example, makes this a group that is never contained.
        return BaseExceptionGroup(error.message, [*rest, order])
