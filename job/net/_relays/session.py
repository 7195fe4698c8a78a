"""One relay from start to end: two pumps under one clock, and why they ended.

Theory. The session decides, the pumps move. It runs in the caller's trio task, which sleeps on a timer while bytes flow, and
wakes for three things: the deadline, a change in a pump (`changed`), and a cancellation from outside. What happens next is a
matter of these few facts:

    `reason`       why the relay ends; the first one stands, later ones are consequences of it
    `_fault`       an error that is not a peer's: it is raised at the end, whatever the reason
    `_give_up_at`  None while the relay flows; set once when it is being ended: until then what was received may be delivered
    `eof`, `running`, `holding` of the two pumps

An EOF of one side is passed on and ends only its direction. It is a reason only when both directions have had theirs.

Where it ends any other way, three rules hold. (1) Nothing more is received. (2) What was received is delivered, until
`_give_up_at`; a cancellation delivers nothing, but the end of a finish's grace does. (3) Then both streams are aborted, since
an orderly close would tell each peer that it has the whole. Only `_WHOLE` reasons are exempt: there each peer has everything.

The deadline is not moved with each chunk: `moved` notes the time, and the watch looks at it when it wakes. Before it calls a
timeout it lets every task catch up and the pumps look once more (`_look_again`): a program that was stopped for a while must
not time out connections whose bytes are waiting in the kernel.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final, final

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from ..._core.border import idle_clock_of
from ..._core.context import current_task
from ..._core.ending import calling_on_stop, is_cut_by_finish
from ..._core.idle_clock import touch_at
from ..._core.trio.rounds import let_all_catch_up
from ..._core.words.groups import holds_for
from .._errors import PEER_FAULTS
from .._reason import EndReason, Side, reason_of_fault
from .._streams.patience import give_up_at, patience
from .engine import AVAILABLE
from .engine_pump import Driven, EnginePump
from .leg import Leg
from .limits import Limits
from .pump import Pump
from .task_pumps import SocketPump, StreamPump, TaskPump
from .timers import ScopeTimer, SharedTimer, Timer
from .tls_pump import TlsPump

_WHOLE: Final = frozenset({EndReason.EOF, EndReason.DRAINED})
"""Reasons for which each peer has received everything, so that it may be told of an end."""


@final
class RelaySession:
    """Moves bytes both ways between two streams until both have ended, or the relay is ended.

    Attributes:
        reason: why it ended; None before that, and if it was cancelled.
        closed_by: the side that ended it.
        error: the fault that ended it, a peer's or our own.
    """

    __slots__ = (
        "_busy_at",
        "_down",
        "_ended_at",
        "_eof_is_one",
        "_fault",
        "_first_eof",
        "_give_up_at",
        "_job",
        "_limits",
        "_moved_at",
        "_started_at",
        "_task_clock",
        "_timer",
        "_up",
        "closed_by",
        "error",
        "reason",
    )

    def __init__(self, client: Leg, upstream: Leg, limits: Limits) -> None:
        kind = _kind_of_pump(client, upstream)
        self._up = kind(client, upstream, self)
        self._down = kind(upstream, client, self)
        self._limits = limits
        self._first_eof: Pump | None = None
        self._eof_is_one = True  # False after a reset: the kernel then reports an EOF that never came
        self._fault: BaseException | None = None
        self._give_up_at: float | None = None  # set when it is being ended: what is not delivered by then is lost
        self._timer: Timer
        self._started_at = self._moved_at = self._busy_at = trio.current_time()
        self._ended_at: float | None = None
        # Each chunk is a heartbeat of the task. Not by tick(), which is also a step: a run that forgets its own step after
        # the relay would be called again for ever instead of failing.
        task = current_task()
        self._task_clock = None if task is None else idle_clock_of(task)
        self._job = None if task is None else task.job
        self.reason: EndReason | None = None
        self.closed_by = Side.PROXY
        self.error: BaseException | None = None

    @enable_ki_protection
    async def run(self) -> None:
        """Relay until the end.

        Raises:
            trio.Cancelled: the relay was cancelled.
            BaseException: a fault of our own.
        """
        interruption: BaseException | None = None
        try:
            await checkpoint_if_cancelled()
            try:
                interruption = await self._move()
            finally:
                await self._abort_unless_whole()
        finally:
            self._ended_at = trio.current_time()
            self._forget()
        try:
            if (fault := self._fault or interruption) is not None:
                raise fault
        finally:
            fault = interruption = None

    async def _abort_unless_whole(self) -> None:
        # A stream that is in use elsewhere, by another relay say, is not this one's to cut.
        if self.reason not in _WHOLE and not isinstance(self._fault, trio.BusyResourceError):
            await self._up.source.abort()
            await self._down.source.abort()

    def _forget(self) -> None:
        """Break the cycles with the pumps and the job, so that refcounting can free this."""
        self._up.forget_control()
        self._down.forget_control()
        self._job = None

    def _move(self) -> Awaitable[BaseException | None]:
        """Start the pumps and watch over them."""
        up, down = self._up, self._down
        if isinstance(up, EnginePump) and isinstance(down, EnginePump):
            driven = Driven(up, down)
            self._timer = SharedTimer(driven.engine.timers)
            return self._guard(driven)
        assert isinstance(up, TaskPump)
        assert isinstance(down, TaskPump)
        self._timer = ScopeTimer()
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

    def moved(self, now: float) -> None:
        """Put off the relay's timeout and the task's idle timeout. Called for each chunk."""
        self._moved_at = now
        if self._task_clock is not None:
            touch_at(self._task_clock, now)

    def changed(self) -> None:
        """Wake the watch if both pumps have ended, else move its deadline."""
        if self._running:
            self._timer.move(self._deadline)
        else:
            self._timer.wake()

    def ended(self, pump: Pump) -> bool:
        """Continue with the other direction alone; return True if the pump is to pass the EOF on."""
        if not self._eof_is_one:
            return False
        self._first_eof = self._first_eof or pump
        self.moved(trio.current_time())
        return True

    def failed(self, pump: Pump, error: BaseException) -> None:
        """End the relay: a peer's fault is a reason, a fault of our own is raised."""
        if not holds_for(PEER_FAULTS, error):
            self._fault = self._fault or error
            self._conclude(EndReason.PROXY_ERROR, Side.PROXY, self._fault)
            self._wind_up()
        elif self.reason is None and not (self._up.eof and self._down.eof):
            faulty = pump.sink if pump.sending else pump.source
            self._conclude(reason_of_fault(error), faulty.side, error)
            self._lose(faulty, error)

    def _lose(self, gone: Leg, error: BaseException) -> None:
        """Stop sending to a side that is gone. What it sent before that is still delivered to the other side."""
        cause = error.__cause__
        # EPIPE is the kernel's answer to a send after the peer had ended in good order.
        self._eof_is_one = not (isinstance(cause, OSError) and cause.errno != errno.EPIPE)
        self._set_give_up()
        (self._up if self._up.sink is gone else self._down).cut()

    async def _guard(self, driven: AbstractContextManager[None]) -> BaseException | None:
        """Watch over the pumps; return the cancellation or interrupt that came meanwhile."""
        with driven:
            try:
                with self._hearing_of_a_stop():
                    await self._see_through()
            except BaseException as interruption:
                if isinstance(interruption, trio.Cancelled):
                    await self._drain()
                return interruption
            finally:
                if self.reason is None and not self._running and self._up.eof and self._down.eof:
                    self._conclude_eof()
                self._up.cut()
                self._down.cut()
        return None

    async def _see_through(self) -> None:
        """Wait until the pumps have ended and, if the relay is cut, until what they sent has arrived."""
        while self._running:
            await self._timer.sleep(self._deadline)
            if self._is_late:
                await self._look_again()
                if self._is_late:
                    self._expire()
        if self._give_up_at is not None and self.reason is not EndReason.EOF:
            with trio.CancelScope(deadline=self._give_up_at):
                await (self._say_eof() if self.reason is EndReason.DRAINED else self._wait_delivered())

    async def _drain(self) -> None:
        """Deliver what was received, if the cancellation is the end of a finish's grace."""
        j = self._job
        if j is not None and is_cut_by_finish(j):
            self._wind_up()
            assert self._give_up_at is not None
            with patience(j, self._give_up_at):
                await self._see_through()

    async def _look_again(self) -> None:
        """Let the pumps check for bytes that came just before the deadline, or before this task woke, late."""
        await let_all_catch_up()
        self._up.look_again()
        self._down.look_again()
        while self._up.recheck_pending or self._down.recheck_pending:
            await self._timer.sleep(math.inf)

    def _hearing_of_a_stop(self) -> AbstractContextManager[object]:
        """Recompute the deadline when the job is asked to stop, if `drain_idle` may shorten it."""
        j = self._job
        if j is None or self._limits.drain_idle == math.inf:
            return nullcontext()
        return calling_on_stop(j, self.changed)

    @property
    def _running(self) -> bool:
        return self._up.running or self._down.running

    @property
    def _is_late(self) -> bool:
        return self._running and trio.current_time() >= self._deadline

    @property
    def _deadline(self) -> float:
        if self._give_up_at is not None:
            return self._give_up_at
        seconds, reason = self._limit
        return seconds + (max(self._busy_at, self._moved_at) if reason is EndReason.DRAINED else self._moved_at)

    @property
    def _limit(self) -> tuple[float, EndReason]:
        draining = self._job is not None and self._job.stopping
        return self._limits.of(self._up, self._down, draining=draining)

    def _expire(self) -> None:
        if self._give_up_at is not None:
            self._up.cut()
            self._down.cut()
            return
        reason, holding = self._limit[1], self._up.holding or self._down.holding
        if reason is EndReason.DRAINED and holding:
            self._busy_at = trio.current_time()  # not at rest: its reader is slow
            return
        if reason is EndReason.EOF and not holding:
            self._conclude_eof()
        else:
            self._conclude(EndReason.TIMEOUT_HALF_CLOSE if reason is EndReason.EOF else reason, Side.PROXY, None)
        self._wind_up()

    def _wind_up(self) -> None:
        """Receive nothing more; what was received is delivered until `_give_up_at`."""
        self._set_give_up()
        self._up.stop()
        self._down.stop()

    def _set_give_up(self) -> None:
        if self._give_up_at is None:
            seconds = max(self._up.source.close_timeout, self._down.source.close_timeout)
            self._give_up_at = give_up_at(self._job, seconds)
            self.changed()

    async def _wait_delivered(self) -> None:
        """Wait until both peers have what was sent: an abort would discard what has not arrived."""
        await self._up.sink.wait_delivered()
        await self._down.sink.wait_delivered()

    async def _say_eof(self) -> None:
        """End a relay that is at rest in good order, with an EOF to both."""
        for sink in (self._up.sink, self._down.sink):
            with suppress(*PEER_FAULTS):
                await sink.send_eof()

    def _conclude_eof(self) -> None:
        assert self._first_eof is not None
        self._conclude(EndReason.EOF, self._first_eof.source.side, None)

    def _conclude(self, reason: EndReason, closed_by: Side, error: BaseException | None) -> None:
        self.reason = reason
        self.closed_by = closed_by
        self.error = error


def _kind_of_pump(client: Leg, upstream: Leg) -> type[EnginePump | SocketPump | StreamPump]:
    driven = AVAILABLE and _is_ours(client) and _is_ours(upstream)
    if client.plain is None or upstream.plain is None:
        return TlsPump if driven else StreamPump
    return EnginePump if driven else SocketPump


def _is_ours(end: Leg) -> bool:
    """Return True if the engine can drive this leg: a stream of ours on a socket, which reports when it is closed."""
    return end.link is not None and (end.plain or end.secured) is not None
