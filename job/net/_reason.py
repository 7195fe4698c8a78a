"""Why a connection ended, and which side ended it: two words for every log line and every metric.

Tables, and functions that read an error, a verdict or a relay's result through them.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

import trio

from .._core.job import Job
from .._core.words.exceptions import JobStateError
from .._core.words.groups import holds_for, leaves
from .._core.words.records import Cause, CauseKind, Verdict
from .._core.words.states import JobState, TaskState
from ._errors import ConnectTimeoutError, NoUpstreamError, ProtocolError, with_causes
from ._shortages import is_shortage


class EndReason(StrEnum):
    """Why a connection ended. HAProxy's termination state is the model."""

    EOF = "eof"
    """Both sides have sent everything."""
    RESET = "reset"
    """A side broke the connection."""
    TLS_TRUNCATED = "tls_truncated"
    """A side ended its TLS connection without a close_notify: bytes may be missing."""
    CONNECT_FAILED = "connect_failed"
    """The upstream could not be reached."""
    TIMEOUT_CONNECT = "timeout_connect"
    """The upstream could not be reached in time."""
    TIMEOUT_IDLE = "timeout_idle"
    """No byte moved, in either direction, for too long."""
    TIMEOUT_HALF_CLOSE = "timeout_half_close"
    """One direction had ended and in the other no byte moved for too long."""
    PROTOCOL_ERROR = "protocol_error"
    """A side sent what its protocol does not allow."""
    DRAINED = "drained"
    """The proxy was stopped gracefully, and the connection was ended or cut for that."""
    CANCELLED = "cancelled"
    """The proxy cancelled the connection for any other cause."""
    LIMIT = "limit"
    """There was no place for the connection."""
    NO_UPSTREAM = "no_upstream"
    """There was no upstream to connect to."""
    PROXY_ERROR = "proxy_error"
    """A fault of our own."""


class Side(StrEnum):
    """The side that ended a connection."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    PROXY = "proxy"


# The side that ends a connection for each of these reasons. For the others it may be either peer.
_SIDES: Final[Mapping[EndReason, Side]] = MappingProxyType(
    {
        EndReason.CONNECT_FAILED: Side.UPSTREAM,
        EndReason.TIMEOUT_CONNECT: Side.PROXY,
        EndReason.TIMEOUT_IDLE: Side.PROXY,
        EndReason.TIMEOUT_HALF_CLOSE: Side.PROXY,
        EndReason.DRAINED: Side.PROXY,
        EndReason.CANCELLED: Side.PROXY,
        EndReason.LIMIT: Side.PROXY,
        EndReason.NO_UPSTREAM: Side.PROXY,
        EndReason.PROXY_ERROR: Side.PROXY,
    }
)

# The first row that matches an error, or anything it was raised from, has the reason. Subclasses come before their bases:
# SSLEOFError is an SSLError, and that is an OSError.
_REASONS: Final[tuple[tuple[type[BaseException], EndReason], ...]] = (
    (ConnectTimeoutError, EndReason.TIMEOUT_CONNECT),
    (NoUpstreamError, EndReason.NO_UPSTREAM),
    (ProtocolError, EndReason.PROTOCOL_ERROR),
    (ssl.SSLEOFError, EndReason.TLS_TRUNCATED),
    (ssl.SSLError, EndReason.PROTOCOL_ERROR),
    (OSError, EndReason.RESET),
    (trio.BrokenResourceError, EndReason.RESET),
    (trio.EndOfChannel, EndReason.EOF),
)

# An error of any other type is a fault of our own, whatever it was raised from.
_TOLD: Final = tuple(kind for kind, _ in _REASONS)

# In a oneshot, which connects, a peer that breaks the connection could not be reached.
_BREAKS: Final = frozenset({EndReason.RESET, EndReason.TLS_TRUNCATED})

# Kinds of cause for which the error does not matter; the second table is for jobs that ended well.
_INTERRUPTED: Final[Mapping[CauseKind, EndReason]] = MappingProxyType(
    {
        CauseKind.IDLE: EndReason.TIMEOUT_IDLE,
        CauseKind.TIMEOUT: EndReason.CANCELLED,
        CauseKind.CANCEL: EndReason.CANCELLED,
        CauseKind.PARENT: EndReason.CANCELLED,
        CauseKind.SIGNAL: EndReason.CANCELLED,
        CauseKind.UNEXPECTED_STOP: EndReason.PROXY_ERROR,
        CauseKind.FINALIZE: EndReason.PROXY_ERROR,
    }
)
_ENDED_WELL: Final[Mapping[CauseKind, EndReason]] = MappingProxyType(
    {
        CauseKind.FINISHED: EndReason.EOF,
        CauseKind.PARENT: EndReason.DRAINED,
        CauseKind.SIGNAL: EndReason.DRAINED,
    }
)


def end_reason(j: Job[Any]) -> EndReason:
    """Return why the connection of an ended job ended: its relay's reason if it had a relay, else by its verdict.

    Raises:
        JobStateError: the job has not ended, and has no relay that has.
        TypeError: `j` is not a Job.
    """
    if not isinstance(j, Job):
        raise TypeError(f"j must be a Job, got {j!r}")
    for task in j.tasks:
        reason = _told(task.result)
        if reason is not None:
            return reason
    if j.verdict is None:
        raise JobStateError(f"job {j.name!r} has no reason for its end yet, it is {j.state.value}")
    return reason_of_verdict(j.verdict, connected=_is_connected(j))


def _told(result: object) -> EndReason | None:
    """Return the reason in a relay's result; None for a result of the program's own, which may raise anything when asked."""
    with suppress(Exception):
        reason = getattr(result, "reason", None)
        return reason if isinstance(reason, EndReason) else None
    return None


def side_of(reason: EndReason) -> Side | None:
    """Return the side that ends a connection for this reason; None if the reason does not tell."""
    return _SIDES.get(reason)


def reason_of_verdict(verdict: Verdict, *, connected: bool) -> EndReason:
    """Return the reason by a verdict; `connected`: the oneshot, which connects, was done."""
    cause = verdict.cause
    if verdict.state is JobState.DONE:
        return EndReason.DRAINED if verdict.cut else _ENDED_WELL[cause.kind]
    if cause.kind is CauseKind.TIMEOUT and not connected:
        return EndReason.TIMEOUT_CONNECT
    return _INTERRUPTED.get(cause.kind) or _reason_of_cause(cause)


def reason_of_fault(error: BaseException) -> EndReason:
    """Return the reason by an error: the row of a peer's fault, PROXY_ERROR for any other."""
    if not holds_for(_TOLD, error):
        return EndReason.PROXY_ERROR
    found = [each for leaf in leaves(error) for each in with_causes(leaf)]
    return next(reason for kind, reason in _REASONS if any(isinstance(each, kind) for each in found))


def _reason_of_cause(cause: Cause) -> EndReason:
    assert cause.error is not None
    if is_shortage(cause.error):
        return EndReason.PROXY_ERROR
    reason = reason_of_fault(cause.error)
    connecting = cause.task is not None and cause.task.index == 0
    return EndReason.CONNECT_FAILED if connecting and reason in _BREAKS else reason


def _is_connected(j: Job[Any]) -> bool:
    oneshot = j.get_task(0)
    return oneshot is None or oneshot.state is TaskState.FINISHED
