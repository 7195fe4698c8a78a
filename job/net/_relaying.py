"""The course of one relay: two pumps under one clock, and what has come to their end so far."""

from __future__ import annotations

import math
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext
from typing import final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, enable_ki_protection

from .._context import current_task
from .._groups import holds_for
from .._rounds import let_all_catch_up
from ._alarm import Alarm, ScopeAlarm, SharedAlarm
from ._engine import AVAILABLE
from ._engine_pump import Driven, EnginePump
from ._errors import PEER_FAULTS
from ._pump import Pump, StreamPump, TaskPump
from ._reason import EndReason, Side, reason_of_fault
from ._relay_end import End
from ._socket_pump import SocketPump
from ._tls_pump import TlsPump


@final
class Relaying:
    """Moves bytes both ways between two streams until there is no more, or the relay is ended.

    The pumps are shielded; the caller's trio task, with which they live, stands watch over them: for the timeouts, for what
    they tell, and for a cancellation from outside.

    Attributes:
        reason: why it ended, once it has; None also where it was cancelled.
        closed_by: the side that ended it.
        error: what a peer did wrong, or we.
        stopping: take no further chunk.
    """

    __slots__ = (
        "_alarm",
        "_down",
        "_ended_at",
        "_fault",
        "_first_eof",
        "_half_close_timeout",
        "_idle_timeout",
        "_moved_at",
        "_started_at",
        "_task_clock",
        "_up",
        "closed_by",
        "error",
        "reason",
        "stopping",
    )

    def __init__(self, client: End, upstream: End, *, idle_timeout: float, half_close_timeout: float) -> None:
        kind = _kind_of_pump(client, upstream)
        self._up = kind(client, upstream, self)
        self._down = kind(upstream, client, self)
        self._idle_timeout = idle_timeout
        self._half_close_timeout = half_close_timeout
        self._first_eof: Pump | None = None
        self._fault: BaseException | None = None
        self._alarm: Alarm
        self._started_at = self._moved_at = trio.current_time()
        self._ended_at: float | None = None
        # Each chunk is a heartbeat of the task. Not by tick(), which would also be a step: a run that forgets to take one
        # after its relay would be called again, for ever.
        task = current_task()
        self._task_clock = None if task is None else task._idle
        self.reason: EndReason | None = None
        self.closed_by = Side.PROXY
        self.error: BaseException | None = None
        self.stopping = False

    @enable_ki_protection
    async def run(self) -> None:
        """Relay until the end.

        Raises:
            trio.Cancelled: the relay was cancelled.
            BaseException: a fault of our own.
        """
        try:
            await checkpoint_if_cancelled()
            struck = await self._move()
        finally:
            self._ended_at = trio.current_time()
            self._up.forget_course()
            self._down.forget_course()
        try:
            if (fault := self._fault or struck) is not None:
                raise fault
        finally:
            fault = struck = None
        if self.reason is None:
            self._conclude_at_eof()

    def _move(self) -> Awaitable[BaseException | None]:
        """Set the pumps going, and stand watch over them."""
        up, down = self._up, self._down
        if isinstance(up, EnginePump) and isinstance(down, EnginePump):
            driven = Driven(up, down)
            self._alarm = SharedAlarm(driven.engine.alarms)
            return self._guard(driven)
        assert isinstance(up, TaskPump)
        assert isinstance(down, TaskPump)
        self._alarm = ScopeAlarm()
        return self._move_in_tasks(up, down)

    async def _move_in_tasks(self, up: TaskPump, down: TaskPump) -> BaseException | None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(up.run)
            nursery.start_soon(down.run)
            return await self._guard(nullcontext())

    @property
    def bytes_up(self) -> int:
        """Bytes that the upstream has taken."""
        return self._up.bytes

    @property
    def bytes_down(self) -> int:
        """Bytes that the client has taken."""
        return self._down.bytes

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return (trio.current_time() if self._ended_at is None else self._ended_at) - self._started_at

    # -- as the pumps tell

    def moved(self, now: float) -> None:
        """Put off both timeouts."""
        self._moved_at = now
        if self._task_clock is not None:
            self._task_clock.touched = now

    def changed(self) -> None:
        """Wake the watch, or have it wake up at another time where that will do."""
        if self._running:
            self._alarm.move(self._deadline)
        else:
            self._alarm.wake()

    def ended(self, pump: Pump) -> None:
        """Go on with the other direction alone."""
        self._first_eof = self._first_eof or pump
        self.moved(trio.current_time())

    def failed(self, pump: Pump, error: BaseException) -> None:
        """Tell a peer's fault, which is a reason, from our own, which is raised."""
        if not holds_for(PEER_FAULTS, error):
            self._fault = self._fault or error
            self._conclude(EndReason.PROXY_ERROR, Side.PROXY, self._fault)
            self._end()
        elif not self.stopping and not (self._up.eof and self._down.eof):
            self._peer_failed(pump, error)

    def _peer_failed(self, pump: Pump, error: BaseException) -> None:
        faulty = pump.sink if pump.sending else pump.source
        if self.reason is None:
            self._conclude(reason_of_fault(error), faulty.side, error)
        if not pump.sending:
            self._end()
        # Else its last words may have come before it broke, the reply to a request that it did not care to read in full:
        # the other pump goes on, as after an EOF.

    # -- the watch

    async def _guard(self, driven: AbstractContextManager[None]) -> BaseException | None:
        """Stand watch; return the cancellation, or the interrupt, that struck meanwhile."""
        with driven:
            try:
                while self._running:
                    await self._alarm.sleep(self._deadline)
                    if self._is_late:
                        await self._look_again()
                        if self._is_late:
                            self._expire()
            except BaseException as struck:
                self.stopping = True
                await self._let_go()
                return struck
        return None

    async def _look_again(self) -> None:
        """Let the pumps see whether something came in the very moment that the time was up, or before this woke up, late."""
        await let_all_catch_up()
        self._poke()
        while self._up.poked or self._down.poked:
            await self._alarm.sleep(math.inf)

    async def _let_go(self) -> None:
        """End the pumps; a chunk that was taken may be given, if the sink takes it at once."""
        self._poke()
        for _ in range(self._up.last_turns):
            await cancel_shielded_checkpoint()
        self._end()

    def _poke(self) -> None:
        self._up.look_again()
        self._down.look_again()

    def _end(self) -> None:
        self.stopping = True
        self._up.cut()
        self._down.cut()

    @property
    def _running(self) -> bool:
        return self._up.running or self._down.running

    @property
    def _is_late(self) -> bool:
        return self._running and trio.current_time() >= self._deadline

    @property
    def _deadline(self) -> float:
        return math.inf if self.stopping else self._moved_at + self._limit[0]

    @property
    def _limit(self) -> tuple[float, EndReason]:
        """How many seconds may pass without a byte, and the reason for the end if they do."""
        idle = self._idle_timeout, EndReason.TIMEOUT_IDLE
        up, down = self._up, self._down
        ended = up if up.eof or not up.running else down
        if ended.running and not ended.eof:
            return idle
        quiet = self._half_close_timeout, EndReason.TIMEOUT_HALF_CLOSE
        if not (ended.eof and ended.sink.half_closes):
            # The receiver does not know that nothing more will come, or it is broken: it has less time.
            quiet = min((ended.sink.close_timeout, EndReason.EOF), quiet, key=_seconds)
        return min(quiet, idle, key=_seconds)

    # -- the end

    def _expire(self) -> None:
        reason = self._limit[1]
        if self.reason is None and reason is not EndReason.EOF:
            self._conclude(reason, Side.PROXY, None)
        self._end()

    def _conclude_at_eof(self) -> None:
        assert self._first_eof is not None
        self._conclude(EndReason.EOF, self._first_eof.source.side, None)

    def _conclude(self, reason: EndReason, closed_by: Side, error: BaseException | None) -> None:
        self.reason = reason
        self.closed_by = closed_by
        self.error = error


def _kind_of_pump(client: End, upstream: End) -> type[EnginePump | SocketPump | StreamPump]:
    driven = AVAILABLE and _is_ours(client) and _is_ours(upstream)
    if client.plain is None or upstream.plain is None:
        return TlsPump if driven else StreamPump
    return EnginePump if driven else SocketPump


def _is_ours(end: End) -> bool:
    """Whether the engine can have the end: it is one of our streams, on a socket, so that we hear of its close."""
    return end.link is not None and (end.plain or end.secured) is not None


def _seconds(limit: tuple[float, EndReason]) -> float:
    return limit[0]
