"""The public calls: relay bytes both ways between a client and an upstream, until both have ended."""

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
        closed_by: the side that ended it; at EOF the one that sent its EOF first.
        bytes_up: bytes that the upstream has taken.
        bytes_down: bytes that the client has taken.
        seconds: how long it took.
        error: the fault that ended it, a peer's or our own; None if there was none.
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
    """Relay bytes both ways between two streams, of any kind, until both have ended.

    An EOF is data: it is passed on, and the other direction continues. Each direction holds at most one chunk, so that a slow
    reader slows its writer down. Each chunk is a heartbeat of the task that runs this.

    An EOF is never invented. If the relay ends in any other way, nothing more is received, what was received is delivered
    within `close_timeout`, and then both streams are aborted: neither peer can take a part for the whole, and a peer that is
    still there learns of it at once. A cancellation delivers nothing. The end of a job's grace does, and `close_timeout` counts
    from there. If the relay ends well it closes neither stream: they are the caller's.

    Args:
        client: the side that asks.
        upstream: the side that answers.
        idle_timeout: seconds without a byte in either direction that end the relay; infinity for none.
        half_close_timeout: the same once one direction has ended. If the receiver of that EOF cannot learn of it (a stream
            without `send_eof`), the `close_timeout` of its endpoint ends the relay sooner.
        drain_idle: seconds without a byte in either direction after which the relay ends well, with an EOF to both, when the
            job that it runs in is asked to stop: nothing is in transit. None for never. If one direction has ended, a peer is
            waiting for the other, and only the other timeouts and the grace end it.

    Returns:
        Why the relay ended, which side ended it, and what it moved. A peer's fault is a reason, not an exception.

    Raises:
        trio.Cancelled: the relay was cancelled.
        trio.ClosedResourceError, BaseException: a fault of our own.
        TypeError, ValueError: an argument is not a stream, or not a timeout.
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

    Its `result` is a `RelayResult` from its init on. While the task relays, and if the job's end cuts it, the result has the
    current figures and the reason that the cut has or would have: `DRAINED` for a cut by `finish`, `CANCELLED` for any other.
    At the end the figures are also in the job's `fields`.

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
            # Only now is it certain whether a finish cut the relay: a timeout or a cancel within its grace would have taken
            # its place.
            if isinstance(task.result, _Live):
                task.result = record.put_into_fields()

        return Routines(init, run, finalize)

    return relay_task


@final
class _Record:
    """The figures of a job's relay, at any time."""

    __slots__ = ("_connection_fields", "_job", "begun", "session")

    def __init__(self, j: Job[Any]) -> None:
        self._job = j
        self._connection_fields = ConnectionFields(j)
        self.begun = False
        self.session: RelaySession | None = None

    def snapshot(self) -> RelayResult:
        """Return the current figures."""
        if self.session is not None and self.session.reason is not None:
            return _result(self.session, self.session.reason)
        cut = EndReason.DRAINED if _ends_well(self._job) else EndReason.CANCELLED
        if self.session is not None:
            return _result(self.session, cut)
        # A run that began without a session was given something that is not a stream.
        return RelayResult(EndReason.PROXY_ERROR if self.begun else cut, Side.PROXY, 0, 0, 0.0)

    def put_into_fields(self) -> RelayResult:
        """Put the current figures into the job's fields, and return them."""
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
    """A result that reads its record each time it is asked."""

    __slots__ = ("_record",)

    _record: _Record

    def __init__(self, record: _Record) -> None:
        object.__setattr__(self, "_record", record)  # plain assignment is refused: the class is frozen

    @property
    def reason(self) -> EndReason:
        """Why the relay ended, or would end if it were cut now."""
        return self._record.snapshot().reason

    @property
    def closed_by(self) -> Side:
        """The side that ended it."""
        return self._record.snapshot().closed_by

    @property
    def bytes_up(self) -> int:
        """Bytes that the upstream has taken."""
        return self._record.snapshot().bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes that the client has taken."""
        return self._record.snapshot().bytes_down

    @property
    def seconds(self) -> float:
        """How long it took, in seconds, or has taken so far."""
        return self._record.snapshot().seconds

    @property
    def error(self) -> BaseException | None:
        """The fault that ended it."""
        return self._record.snapshot().error


def _prepare(client: trio.abc.Stream, upstream: trio.abc.Stream, limits: Limits) -> RelaySession:
    return RelaySession(Leg(Side.CLIENT, client), Leg(Side.UPSTREAM, upstream), limits)


def _result(session: RelaySession, cut: EndReason) -> RelayResult:
    """Return the result of a session; `cut`: the reason if it has none of its own."""
    return RelayResult(
        session.reason or cut,
        session.closed_by,
        session.bytes_up,
        session.bytes_down,
        session.seconds,
        session.error,
    )


def _ends_well(j: Job[Any]) -> bool:
    """Return True if the job was asked to finish and nothing else interrupted it, except a finalizer after the cut."""
    error = j.interrupted_by[1]
    interrupted = (failure for failure in j.errors if failure.error is error and failure.phase is not Phase.FINALIZE)
    return j.stopping and (error is None or not any(interrupted))
