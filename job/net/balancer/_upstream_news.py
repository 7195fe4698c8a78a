"""What is told of an upstream when its health changes: an event, and a line in the log."""

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
    """An upstream went out or came in again: `old` and `new` are what `Upstream.healthy` was and is.

    `error` is what was reported last where that put it out; None where it came in, by good reports or by time. `at` is on
    trio's clock, in seconds; None outside of a trio run.

    Observers hear of it that are registered for all jobs, or with the job in which the report was made or one above it;
    for reports made outside of all jobs, with the job of the balancer's `check_task`.
    """

    upstream: Upstream
    old: bool
    new: bool
    error: BaseException | None
    at: float | None


def tell_change(upstream: Upstream, healthy: bool, error: BaseException | None, checker: Task | None) -> None:
    """Tell that the upstream's health is now this. What observers and log handlers raise past their guards comes out."""
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
