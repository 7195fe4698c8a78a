"""What is announced when the health of an upstream changes: an event, and a line in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from ..._core.announce import announce, log_here
from ..._core.words.user_code import shown

if TYPE_CHECKING:
    from ..._core.task import Task
    from ._upstream import Upstream


@dataclass(frozen=True, slots=True)
class UpstreamChanged:
    """An upstream was ejected or came back: `old` and `new` are what `Upstream.healthy` was and is.

    `error` is the report that ejected it; None if it came back, by good reports or by time. `at` is in seconds on trio's clock;
    None outside of a trio run.

    It goes to observers registered for all jobs, and to those of the job in which the report was made and the jobs above it;
    for a report made outside of all jobs, to those of the job of the balancer's `check_task`.
    """

    upstream: Upstream
    old: bool
    new: bool
    error: BaseException | None
    at: float | None


def tell_change(upstream: Upstream, healthy: bool, error: BaseException | None, checker: Task | None) -> None:
    """Announce the upstream's health. An exception that observers or log handlers raise past their guards comes out."""
    at = trio.current_time() if trio.lowlevel.in_trio_run() else None
    try:
        announce(UpstreamChanged(upstream, not healthy, healthy, error, at), checker)
    finally:
        log = log_here(checker)
        if healthy:
            log(0, "upstream.up", upstream=upstream.address)
        else:
            why: dict[str, Any] = {} if error is None else {"error": shown(error)}
            log.warning("upstream.down", upstream=upstream.address, **why)
