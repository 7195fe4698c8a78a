"""One trio task waits until another wakes it: the smallest rendezvous, for the engine's own waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from trio.lowlevel import Abort, current_task, reschedule, wait_task_rescheduled
from trio.lowlevel import Task as TrioTask


class Wakeup:
    """A place for one waiter. A wake-up that comes first is kept.

    A trio.Event would do the same for a little more memory and time; there is one of these for each task with a finalizer.
    """

    __slots__ = ("_waiter", "woken")

    def __init__(self) -> None:
        self.woken = False
        self._waiter: TrioTask | None = None

    @property
    def waiting(self) -> bool:
        """Whether somebody waits here now."""
        return self._waiter is not None

    def wake(self) -> None:
        """Let the waiter go on, now or when it comes."""
        self.woken = True
        if self._waiter is not None:
            reschedule(self._waiter)
            self._waiter = None

    def wait(self, ignore_cancel: Callable[[], bool]) -> Awaitable[None]:
        """Wait for `wake`, which has not come yet: see `woken`.

        A cancellation or KeyboardInterrupt ends the wait, unless `ignore_cancel()` is true when it strikes: then it is left
        pending, as in a shielded scope, at no cost of a scope. (Opening a scope here could misnest with one that a routine
        left open for its finalizer.)
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
