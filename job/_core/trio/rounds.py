"""Time for what has happened already to be seen: a timer that judges silence asks for it before it judges."""

from __future__ import annotations

from typing import Final

from trio.lowlevel import checkpoint

ROUNDS: Final = 8


async def let_all_catch_up() -> None:
    """Let every trio task that can go on do so, those included whom trio has not told yet that their sockets are ready.

    A process that was stopped, or whose loop was blocked, wakes up when timers are due and data has arrived. Its poll has ended
    by the time, and looks at no socket: trio asks again in the next round, and who is woken by that has run at the end of the
    one after it. The others are for data that goes from hand to hand: a read_task gives it to the one who ticks, say, and ticks
    itself when it has it back.
    """
    for _ in range(ROUNDS):
        await checkpoint()
