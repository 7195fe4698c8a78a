"""Let pending events reach their tasks before a timer judges that nothing has happened."""

from __future__ import annotations

from typing import Final

from trio.lowlevel import checkpoint

ROUNDS: Final = 8


async def let_all_catch_up() -> None:
    """Let every runnable trio task run, including those whose sockets are ready but which trio has not woken yet.

    A process that was stopped, or whose loop was blocked, resumes with timers due and data waiting. The poll it was in returns
    without looking at the sockets; trio polls again in the next round, and the tasks woken by that poll have run by the end of
    the round after it. The remaining rounds are for data passed between tasks: a read_task, for example, hands it to another
    task and ticks only when that task has given it back.
    """
    for _ in range(ROUNDS):
        await checkpoint()
