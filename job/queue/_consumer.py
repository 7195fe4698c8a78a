"""One run of `consume`: take messages, run a job for each, and settle them as the jobs end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, final

import trio

from .._core.border import run_contained
from .._core.trio.calls import without_cancelled
from .._core.words.user_code import shown
from ._arguments import error_text
from ._child import BuildJob, build_child
from ._errors import Discard, Reject, UnavailableError
from ._figures import LOOK_UP_EVERY, figures_of
from ._held import Held
from ._leases import Leases
from ._news import tell_dead
from ._outage import BACKOFF, Outage
from ._settlement import UNCOUNTED, Ack, Bury, Rules, Settlement

if TYPE_CHECKING:
    from .._core.task import Task
    from ._message import Message
    from ._source import Source

_SETTLE_FOR: Final = 3.0
"""Seconds that settling may take once the consumer was cut: with what closing takes, a stop is over within grace + 5 s."""


_ONE_ATTEMPT: Final = 1.0
"""Seconds for settling what has outlived its lease, and may be ours all the same."""


@final
class Consumer:
    """Consumes until its job is asked to stop. Only Cancelled goes through its nurseries: of an error they make a group."""

    __slots__ = (
        "_build_job",
        "_changed",
        "_deliveries",
        "_failure",
        "_figures",
        "_held",
        "_helpers",
        "_leases",
        "_limit",
        "_log",
        "_outage",
        "_places",
        "_rules",
        "_running",
        "_settle_by",
        "_source",
        "_task",
        "_waiting",
    )

    _deliveries: trio.Nursery
    _helpers: trio.Nursery

    def __init__(
        self, source: Source[Any], build_job: BuildJob, task: Task, rules: Rules, *, limit: int, places: int
    ) -> None:
        self._source = source
        self._build_job = build_job
        self._task = task
        self._log = task.log
        self._rules = rules
        self._limit = limit
        self._places = places
        self._figures = figures_of(source.name)
        self._outage = Outage(source, task.log)
        self._leases = Leases(source, self._outage, self._figures, self._lose)
        self._held: set[Held] = set()
        self._waiting: deque[Held] = deque()  # held, and not begun
        self._running = 0
        self._changed = trio.Event()  # of what is held
        self._settle_by = math.inf
        self._failure: BaseException | None = None

    async def run(self, away: UnavailableError | None) -> None:
        """Consume; `away`: the source was out of reach when it was opened.

        Raises:
            BaseException: what came out of the source, an order out of a job, or out of a handler of the log.
        """
        async with trio.open_nursery() as self._helpers:
            async with trio.open_nursery() as self._deliveries:
                self._beside(self._leases.run, self._beside)
                self._beside(self._look_up)
                await self._guarded(self._consume, away)
            self._helpers.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    def _beside(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run it until all is settled."""
        self._helpers.start_soon(self._guarded, work, *args)

    async def _guarded(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Keep an error out of the nurseries: the first one ends the consuming."""
        try:
            await work(*args)
        except BaseException as exc:
            error = without_cancelled(exc)
            if error is None:
                raise
            self._failure = self._failure or error
            self._deliveries.cancel_scope.cancel()
            self._hurry()

    async def _consume(self, away: UnavailableError | None) -> None:
        try:
            with self._task.cancel_on_stop():
                await self._take_messages(away)
            self._release_waiting()
            while self._held:
                await self._changed.wait()
        finally:
            if self._held:  # cut, be it by an error
                self._hurry()
                self._release_waiting()

    def _hurry(self) -> None:
        """Settle the remaining messages soon, or not at all."""
        self._settle_by = min(self._settle_by, trio.current_time() + _SETTLE_FOR)
        for held in self._held:
            held.scope.deadline = min(held.scope.deadline, self._settle_by)

    async def _take_messages(self, away: UnavailableError | None) -> None:
        if away is not None:
            self._outage.begins(away)
        while True:
            await self._outage.wait_over()
            while len(self._held) >= self._places:
                await self._changed.wait()
            try:
                messages = await self._source.receive(self._places - len(self._held))
            except UnavailableError as error:
                self._outage.begins(error)
                continue
            self._outage.ends()
            self._take(messages)

    def _take(self, messages: list[Message[Any]]) -> None:
        self._figures.deliveries += len(messages)
        for message in messages:
            held = Held(message)
            self._held.add(held)
            self._waiting.append(held)
            self._leases.add(held)
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        while self._waiting and self._running < self._limit and not self._task.job.stopping:
            self._running += 1
            self._deliveries.start_soon(self._guarded, self._deliver, self._waiting.popleft())

    def _release_waiting(self) -> None:
        while self._waiting:
            self._deliveries.start_soon(self._guarded, self._settle, self._waiting.popleft(), UNCOUNTED)

    def _let_go(self, held: Held) -> None:
        """Drop a message that was held."""
        self._held.discard(held)
        self._leases.remove(held)
        self._changed.set()
        self._changed = trio.Event()

    def _lose(self, held: Held) -> None:
        """Give up a message that another consumer has taken over."""
        held.cancel()
        if held in self._waiting:
            self._waiting.remove(held)
            self._let_go(held)
        self._log.warning("message.lost", **held.fields)

    async def _deliver(self, held: Held) -> None:
        settlement: Settlement = UNCOUNTED
        try:
            if not self._is_over:
                settlement = self._build(held) or await self._run_job(held)
        except BaseException as exc:
            if (order := without_cancelled(exc)) is not None:  # SystemExit, say: what ends its workers has failed
                settlement = self._after_order(held, order)
            raise
        finally:
            self._running -= 1
            self._begin_waiting()
            await self._settle(held, settlement)

    @property
    def _is_over(self) -> bool:
        """Return True if no more jobs may begin: a cancelled nursery still starts the tasks that are in it."""
        return self._task.job.stopping or trio.current_effective_deadline() == -math.inf

    def _build(self, held: Held) -> Settlement | None:
        """Make the job of a message, or return the decision on the message if there is none."""
        try:
            held.job = build_child(self._build_job, held)
        except Exception as error:
            if not isinstance(error, Discard | Reject):
                self._log.exception("build_job.failed", error=shown(error), **held.fields)
            return self._rules.after_error(held.message, error, "build_job.failed")
        return None

    async def _run_job(self, held: Held) -> Settlement:
        assert held.job is not None
        held.job.log.debug("message.started")
        await run_contained(held.job)
        return self._rules.after_job(held.message, held.job, stopping=self._task.job.stopping)

    def _after_order(self, held: Held, error: BaseException) -> Settlement:
        job = held.job
        code = "build_job.failed" if job is None or job.verdict is None else job.verdict.code
        return self._rules.after_error(held.message, error, code)

    async def _settle(self, held: Held, settlement: Settlement) -> None:
        """Settle a delivery, whatever happens around it, while its lease lasts."""
        held.settling = True
        try:
            with held.scope:
                if not held.lost and await self._try_to_settle(held, settlement):
                    self._tell(held, settlement)
            if held.scope.cancelled_caught:
                self._log.warning("message.unsettled", **held.fields)
        finally:
            self._let_go(held)

    async def _try_to_settle(self, held: Held, settlement: Settlement) -> bool:
        """Settle a delivery, with as many attempts as it takes; return True if it was ours to settle."""
        failures, first_until = 0, trio.current_time() + _ONE_ATTEMPT
        while True:
            held.scope.deadline = min(self._settle_by, max(held.lease_ends, first_until))
            try:
                ours = await self._apply(held.message, settlement)
            except UnavailableError as error:
                self._outage.begins(error)
                failures += 1
                await trio.sleep(BACKOFF.after(failures))
                continue
            self._outage.ends()
            if not ours:
                self._lose(held)
            return ours

    async def _apply(self, message: Message[Any], settlement: Settlement) -> bool:
        if isinstance(settlement, Ack):
            return await self._source.ack(message)
        error, code = settlement.error, settlement.code
        if isinstance(settlement, Bury):
            return await self._source.dead(message, error, code=code)
        after, count = settlement.after, settlement.count
        return await self._source.release(message, after=after, error=error, code=code, count=count)

    def _tell(self, held: Held, settlement: Settlement) -> None:
        """Count a settlement, and log it if it is worth a line."""
        if isinstance(settlement, Ack):
            self._figures.acks += 1
            if settlement.discarded is not None:
                self._log.info("message.discarded", error=shown(settlement.discarded), **held.fields)
        elif isinstance(settlement, Bury):
            text, code = error_text(settlement.error), settlement.code
            last = {"delivery": held.message.delivery, "error": text, "code": code}
            history = [*(each._asdict() for each in held.message.history), last]
            tell_dead(self._log, self._source.name, held.message.id, error=text, code=code, history=history)

    async def _look_up(self) -> None:
        """Look up the queue's statistics while its figures are observed."""
        while True:
            await trio.sleep(LOOK_UP_EVERY)
            if self._figures.observed and not self._outage.away:
                try:
                    self._figures.statistics = await self._source.statistics()
                except UnavailableError as error:
                    self._outage.begins(error)
