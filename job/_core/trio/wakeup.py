"""One trio task waits until another wakes it: the smallest rendezvous, for the engine's own waits.

Theory: trio delivers a cancellation to a suspended task by calling its abort function. The function either lets the Cancelled
in (`SUCCEEDED`) or declines it (`FAILED`), and then the cancellation stays pending until the next checkpoint. Declining has the
effect of a shielded scope around the wait without opening a scope. That matters twice: a scope costs memory and time for each
task that waits, and a scope opened here might not nest with one that a routine left open for its finalizer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled
from trio.lowlevel import Task as TrioTask


class Wakeup:
    """A place for one waiter; a wake-up that comes before the waiter is kept.

    A trio.Event would do the same for a little more memory and time, and each task with a finalizer has one of these.
    """

    __slots__ = ("_waiter", "woken")

    def __init__(self) -> None:
        self.woken = False
        self._waiter: TrioTask | None = None

    @property
    def waiting(self) -> bool:
        """True while a trio task waits here."""
        return self._waiter is not None

    def wake(self) -> None:
        """Wake the waiter, now or as soon as it comes."""
        self.woken = True
        if self._waiter is not None:
            reschedule(self._waiter)
            self._waiter = None

    def wait(self, ignore_cancel: Callable[[], bool]) -> Awaitable[None]:
        """Wait for `wake`; call this only while `woken` is False.

        A cancellation or KeyboardInterrupt ends the wait, unless `ignore_cancel()` returns True when it is delivered: it then
        stays pending, as it would in a shielded scope.
        """

        def abort(_raise_cancel: object) -> Abort:
            if ignore_cancel():
                return Abort.FAILED
            self._waiter = None
            return Abort.SUCCEEDED

        self._waiter = current_task()
        return wait_task_rescheduled(abort)  # noqa: ASYNC105 - returned to a caller that awaits it


def shielded() -> bool:
    """Ignore cancellation for the whole wait."""
    return True


def unshielded() -> bool:
    """Let every cancellation end the wait."""
    return False
