"""The queue for a place on an upstream: first come, first served, nothing lost on cancellation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from ._upstream import Lease


@dataclass(eq=False, slots=True)
class _Waiter:
    """A waiting call. `settled` is set once it has a `lease` or an `error`; by then it has left the queue."""

    key: object
    deadline: float
    scope: trio.CancelScope
    settled: trio.Event = field(default_factory=trio.Event)
    lease: Lease | None = None
    error: BaseException | None = None


class WaitQueue:
    """Waiters in the order they came.

    A place is handed to the first waiter before that runs. So no call that comes in between can take it, and a waiter that is
    cancelled with a lease in hand gives it to the next.

    Args:
        offer: returns a lease for a key; None if there is no place.
        next_return: returns when, on trio's clock, a place may come back by time alone; infinity for never.
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
        """Hand out places while there are any. Call this after everything that may have freed one.

        `offer` runs user code, which may cause another call of this. The first waiter is being served at that moment, so the
        inner call returns at once, and the outer one does its work.
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
        self._set_deadline()

    async def wait(self, key: object, deadline: float) -> Lease | None:
        """Wait for a place; return None if there was none by `deadline`.

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
                # It may have been the first, whose scope is the one that wakes up by time.
                self.serve()
        if waiter.error is not None:
            raise waiter.error
        return waiter.lease

    async def _settle(self, waiter: _Waiter) -> None:
        self.serve()
        while True:
            with waiter.scope:
                await waiter.settled.wait()
            # The scope ends at the waiter's deadline or, for the first waiter, at `next_return`. A scope can be used once.
            waiter.scope = trio.CancelScope(deadline=waiter.deadline)
            self.serve()
            if waiter.settled.is_set() or trio.current_time() >= waiter.deadline:
                return

    def _serve(self, waiter: _Waiter) -> bool:
        """Serve the first waiter; return False if there is no place."""
        try:
            waiter.lease = self._offer(waiter.key)
        except BaseException as error:
            # The error belongs to the waiter, not to the call that is just giving a place back.
            waiter.error = error
        if waiter.lease is None and waiter.error is None:
            return False
        del self._waiters[waiter]
        waiter.settled.set()
        return True

    def _set_deadline(self) -> None:
        # Only the first waiter wakes up by time: a herd would find the same few places.
        if self._waiters:
            first = next(iter(self._waiters))
            first.scope.deadline = min(first.deadline, self._next_return())
