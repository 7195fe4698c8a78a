"""The errors of the network toolkit, and which of them are a peer's fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import trio

from .._core import check
from .._core.words.exceptions import JobError


class ProtocolError(JobError):
    """The peer sent something that its protocol does not allow.

    Raised if a peer's bytes cannot be what was agreed: a handshake that is too long or ends early, an EOF inside a frame, a
    payload that does not decode. Close the connection: it is not known where its next message would begin.
    """


@final
class FrameError(ProtocolError):
    """A frame is longer than `max_frame`, or its end is missing.

    Raised when receiving, before anything is allocated for the frame: close the connection. Raised when sending, before
    anything is written: send less, or set a larger `max_frame` on both sides.
    """


@final
class ConnectTimeoutError(JobError, TimeoutError):
    """A connection was not up, TLS handshake included, within its time.

    Check whether the address is reachable, try another one, or allow more time. It is also an `OSError`, as every
    `TimeoutError` is.
    """


@final
class NoUpstreamError(JobError):
    """The balancer has no upstream to offer: all are ejected or at their limit, or there are none.

    Raised at once by `lease` and `connect_task`, and by `acquire` after its timeout. Tell the client to come back later; add
    upstreams, raise their limits, or wait longer.
    """


@final
class Reject(JobError):  # noqa: N818 - it is an answer more than an error
    """A client is rejected: return or raise this in the `build_job` of `serve`.

    The client is closed, and the log gets one quiet `client.rejected` with the reason.

    Args:
        reason: why, for the log: `"acl"`, say.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(check.str_("reason", reason))
        self.reason = reason


PEER_FAULTS: Final[tuple[type[Exception], ...]] = (
    OSError,
    trio.BrokenResourceError,
    ProtocolError,
    ConnectTimeoutError,
)
"""Errors caused by a peer, or the network: worth a quiet line, never a traceback. For `quiet=` and `except`."""


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its chain of causes, each once: a program may make the chain a ring."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        yield each
        seen.add(id(each))
        each = each.__cause__
