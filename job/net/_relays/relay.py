"""The relay: bytes both ways between a client and an upstream, until both have said all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import trio

from ..._core import check
from ..._core.forms import Factory, Routines
from ..._core.words.states import Phase
from .._connection_fields import ConnectionFields
from .._reason import EndReason, Side
from .leg import Leg
from .limits import Limits, checked_limits
from .session import RelaySession

if TYPE_CHECKING:
    from ..._core.job import Job
    from ..._core.task import Task


@dataclass(frozen=True, slots=True)
class RelayResult:
    """How a relay ended.

    Attributes:
        reason: why it ended.
        closed_by: who ended it; at EOF the side whose EOF came first.
        bytes_up: how many bytes the upstream has taken.
        bytes_down: how many bytes the client has taken.
        seconds: how long it took.
        error: the peer's fault, or our own, that ended it.
    """

    reason: EndReason
    closed_by: Side
    bytes_up: int
    bytes_down: int
    seconds: float
    error: BaseException | None = None


async def relay(
    client: trio.abc.Stream,
    upstream: trio.abc.Stream,
    *,
    idle_timeout: float = 600,
    half_close_timeout: float = 30,
    drain_idle: float | None = None,
) -> RelayResult:
    """Relay bytes both ways between two streams, of any kind, until both have said all.

    An EOF is data: it is passed on, and the other direction goes on. Each direction holds one chunk at most, so that a slow
    reader slows its writer down. Each chunk is a heartbeat of the task that this runs in.

    An EOF is never invented. Where the relay ends in any other way, nothing more is taken, what was taken is delivered,
    within `close_timeout`, and then both streams are aborted: neither peer takes a part for the whole, and the one that is
    still there is told at once. A cancellation delivers nothing, but the end of a job's grace does, from which on
    `close_timeout` counts. Where it ends well it closes neither stream: they are the caller's.

    Args:
        client: who asked.
        upstream: who answers.
        idle_timeout: seconds without a byte in either direction that end the relay; infinity for none.
        half_close_timeout: the same once one direction has ended. Where the receiver of that EOF cannot learn of it (a
            stream without `send_eof`), the `close_timeout` of its endpoint ends the relay sooner.
        drain_idle: seconds without a byte in either direction after which the relay ends well when the job that it runs in
            is asked to stop, with an EOF to both: nothing is in the middle of anything. None for never. Where one
            direction has ended, somebody waits for the other: that one is left to the other timeouts and the grace.

    Returns:
        Why it ended, who ended it, and what it moved. A peer's fault is a reason, not an exception.

    Raises:
        trio.Cancelled: it was cancelled.
        trio.ClosedResourceError, BaseException: a fault of our own.
        TypeError, ValueError: a stream or a timeout is none.
    """
    limits = checked_limits(idle_timeout, half_close_timeout, drain_idle)
    check.stream("client", client)
    check.stream("upstream", upstream)
    session = _prepare(client, upstream, limits)
    await session.run()
    return _result(session, EndReason.CANCELLED)


def relay_task(
    client: trio.abc.Stream,
    upstream: trio.abc.Stream | None = None,
    *,
    idle_timeout: float = 600,
    half_close_timeout: float = 30,
    drain_idle: float | None = None,
) -> Factory:
    """Return the factory of a task that relays between `client` and `upstream`, by default the job's value.

    Its `result` is a `RelayResult`, there from its init on: while it relays, and wherever the end of the job cuts it, with
    the figures of the moment and the reason that the cut has or would have. `DRAINED` is a cut by `finish`, `CANCELLED` any
    other. At the end the figures are in the job's `fields`, too.

    Args, errors: those of `relay`.
    """
    limits = checked_limits(idle_timeout, half_close_timeout, drain_idle)
    check.stream("client", client)
    if upstream is not None:
        check.stream("upstream", upstream)

    def relay_task(j: Job[Any]) -> Routines:
        record = _Record(j)

        async def init(task: Task) -> None:
            task.result = _Live(record)

        async def run(task: Task) -> None:
            record.begun = True
            other = upstream
            if other is None:
                other = j.value
                check.stream("the job's value", other)
            record.session = _prepare(client, other, limits)
            try:
                await record.session.run()
            finally:
                result = record.put_into_fields()
            task.done(result)

        async def finalize(task: Task) -> None:
            # Only now it is settled whether it was a finish that cut the relay: a timeout or a cancel within its grace would
            # have taken its place.
            if isinstance(task.result, _Live):
                task.result = record.put_into_fields()

        return Routines(init, run, finalize)

    return relay_task


@final
class _Record:
    """The figures of a job's relay at any time."""

    __slots__ = ("_connection_fields", "_job", "begun", "session")

    def __init__(self, j: Job[Any]) -> None:
        self._job = j
        self._connection_fields = ConnectionFields(j)
        self.begun = False
        self.session: RelaySession | None = None

    def snapshot(self) -> RelayResult:
        """Return the figures of this moment."""
        if self.session is not None and self.session.reason is not None:
            return _result(self.session, self.session.reason)
        cut = EndReason.DRAINED if _ends_well(self._job) else EndReason.CANCELLED
        if self.session is not None:
            return _result(self.session, cut)
        # One that was begun and is not there has been refused what it was to relay.
        return RelayResult(EndReason.PROXY_ERROR if self.begun else cut, Side.PROXY, 0, 0, 0.0)

    def put_into_fields(self) -> RelayResult:
        """Let the job's log have the figures of this moment, and return them."""
        now = self.snapshot()
        self._connection_fields.fill(
            reason=now.reason.value,
            closed_by=now.closed_by.value,
            bytes_up=now.bytes_up,
            bytes_down=now.bytes_down,
            relay_seconds=round(now.seconds, 6),
        )
        return now


class _Live(RelayResult):
    """A result that is looked up in a record each time."""

    __slots__ = ("_record",)

    _record: _Record

    def __init__(self, record: _Record) -> None:
        object.__setattr__(self, "_record", record)  # the other way is closed: it is frozen

    @property
    def reason(self) -> EndReason:
        """What has ended the relay, or would if it were cut now."""
        return self._record.snapshot().reason

    @property
    def closed_by(self) -> Side:
        """The side that did."""
        return self._record.snapshot().closed_by

    @property
    def bytes_up(self) -> int:
        """What the upstream has taken."""
        return self._record.snapshot().bytes_up

    @property
    def bytes_down(self) -> int:
        """What the client has taken."""
        return self._record.snapshot().bytes_down

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return self._record.snapshot().seconds

    @property
    def error(self) -> BaseException | None:
        """The fault that ended it."""
        return self._record.snapshot().error


def _prepare(client: trio.abc.Stream, upstream: trio.abc.Stream, limits: Limits) -> RelaySession:
    return RelaySession(Leg(Side.CLIENT, client), Leg(Side.UPSTREAM, upstream), limits)


def _result(session: RelaySession, cut: EndReason) -> RelayResult:
    """Sum up; `cut` is the reason of a relay that has none of its own."""
    return RelayResult(
        session.reason or cut,
        session.closed_by,
        session.bytes_up,
        session.bytes_down,
        session.seconds,
        session.error,
    )


def _ends_well(j: Job[Any]) -> bool:
    """Return True if the job was asked to finish, and nothing interrupted it but a finalizer, which came after the cut."""
    error = j.interrupted_by[1]
    interrupted = (failure for failure in j.errors if failure.error is error and failure.phase is not Phase.FINALIZE)
    return j.stopping and (error is None or not any(interrupted))
