"""The errors of the network toolkit, and which of them are the peer's doing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import trio

from .._core import check
from .._core.words.exceptions import JobError


class ProtocolError(JobError):
    """The peer sent what its protocol does not allow.

    Raised where a peer's bytes cannot be what was agreed: a handshake that is too long or ends early, an EOF inside a
    frame, a payload that does not decode. Close the connection: where its next message would begin is not known.
    """


@final
class FrameError(ProtocolError):
    """A frame is longer than `max_frame`, or its end is missing.

    Raised on receiving, before anything is allocated for it (close the connection), and on sending, before anything is
    written (send less, or agree on a larger `max_frame` with the peer: both sides must have it).
    """


@final
class ConnectTimeoutError(JobError, TimeoutError):
    """A connection was not up, TLS handshake included, within its time.

    Look whether the address is reachable, try another one, or give it more time. It is an `OSError` as well, as all
    `TimeoutError`s are.
    """


@final
class NoUpstreamError(JobError):
    """The balancer has no upstream to offer: all are ejected or at their limit, or it has none at all.

    Raised at once by `lease` and `connect_task`, and by `acquire` when its timeout has passed. Tell the client to come
    back later; add upstreams, raise their limits, or wait longer.
    """


@final
class Reject(JobError):  # noqa: N818 - it is an answer more than an error
    """A client is turned away: returned or raised by the `build_job` of `serve`.

    The client is closed, and the log gets one quiet `client.rejected` with the reason. It is no fault of anything.

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
"""What a peer, or the way to it, can do to us: worth a quiet line, never a traceback. For `quiet=` and `except`."""


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it was raised from, each once: a program may tie its causes into a ring."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        yield each
        seen.add(id(each))
        each = each.__cause__
