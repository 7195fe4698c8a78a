"""The queue for a place on an upstream: first come, first served, nothing lost on cancellation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from ._upstream import Lease


@dataclass(eq=False, slots=True)
class _Waiter:
    """A call that waits. `settled` is set once `lease` or `error` is there, and then it is no longer in line."""

    key: object
    deadline: float
    scope: trio.CancelScope
    settled: trio.Event = field(default_factory=trio.Event)
    lease: Lease | None = None
    error: BaseException | None = None


class WaitQueue:
    """Waiters in the order they came.

    A place goes straight into the hands of the first, who need not run for it: so no call that comes in between can
    snatch it, and what a cancelled waiter already has in hand goes to the next.

    Args:
        offer: gives a lease for a key, or None where there is no place.
        next_return: when, on trio's clock, a place may come back by the mere passing of time; inf for never.
    """

    __slots__ = ("_called_back", "_next_return", "_offer", "_serving", "_waiters")

    def __init__(self, offer: Callable[[object], Lease | None], next_return: Callable[[], float]) -> None:
        self._offer = offer
        self._next_return = next_return
        # Not a dict: to take the first out of one again and again is quadratic.
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._serving = False
        self._called_back = False

    def __len__(self) -> int:
        return len(self._waiters)

    def serve(self) -> None:
        """Hand out places as long as there are any. To be called after everything that may have made one.

        `offer` asks code of the user's, which may do something that calls this again. Then the first waiter is just being
        served, and the outer call goes on with what the inner one would have handed out.
        """
        self._called_back = True
        if self._serving:
            return
        self._serving = True
        try:
            while self._called_back:
                self._called_back = False
                while self._waiters and self._serve(next(iter(self._waiters))):
                    pass
        finally:
            self._serving = False
        self._set_alarm()

    async def wait(self, key: object, deadline: float) -> Lease | None:
        """Wait for a place; return None where there was none until `deadline`.

        Raises:
            BaseException: what `offer` raised for this key.
        """
        waiter = _Waiter(key, deadline, trio.CancelScope(deadline=deadline))
        self._waiters[waiter] = None
        try:
            await self._settle(waiter)
        except BaseException:
            if waiter.lease is not None:
                waiter.lease.release()
            raise
        finally:
            if waiter in self._waiters:
                del self._waiters[waiter]
                # It may have been the first, which has the alarm.
                self.serve()
        if waiter.error is not None:
            raise waiter.error
        return waiter.lease

    async def _settle(self, waiter: _Waiter) -> None:
        self.serve()
        while True:
            with waiter.scope:
                await waiter.settled.wait()
            # The scope ends at the waiter's deadline or, in the first one, at an alarm. It is good for one use.
            waiter.scope = trio.CancelScope(deadline=waiter.deadline)
            self.serve()
            if waiter.settled.is_set() or trio.current_time() >= waiter.deadline:
                return

    def _serve(self, waiter: _Waiter) -> bool:
        """Serve this one, the first; return False where there is no place."""
        try:
            waiter.lease = self._offer(waiter.key)
        except BaseException as error:
            # It belongs to the waiter; the call that is just giving a place back has nothing to do with it.
            waiter.error = error
        if waiter.lease is None and waiter.error is None:
            return False
        del self._waiters[waiter]
        waiter.settled.set()
        return True

    def _set_alarm(self) -> None:
        # Only the first gets one: a herd that wakes at once would find the same few places.
        if self._waiters:
            first = next(iter(self._waiters))
            first.scope.deadline = min(first.deadline, self._next_return())
