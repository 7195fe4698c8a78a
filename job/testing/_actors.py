"""Make jobs whose routines do what a plan says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, final

import trio

from .._core.forms import Routines
from .._core.job import Job
from .._core.words.exceptions import JobStateError
from ._plans import Call, Ends, JobPlan, PlannedError, PlannedFatalError, TaskPlan
from ._trace import Closed, Opened

if TYPE_CHECKING:
    from .._core.task import Task
    from ._tracer import Tracer


@final
class Director:
    """Makes the jobs of plans, and reports their context managers to the tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def job(self, plan: JobPlan) -> Job[Any]:
        """Return a job that does what the plan says."""
        hook = plan.hook
        job: Job[Any] = Job(
            name=plan.name,
            timeout=plan.timeout,
            grace=plan.grace,
            finalize_timeout=plan.finalize_timeout,
            stop_timeout=plan.stop_timeout,
            keep_open=plan.keep_open,
            error_wrapper=_mapped if plan.maps_errors else None,
            on_shutdown=None if hook is None else lambda error: _hook(plan.name, hook),
        )
        # A plan fails on purpose, so its failures are not worth reading.
        job.register_logger({0: _nobody}, level=0)
        if plan.oneshot is not None:
            job.add_oneshot_task(self._factory(plan.oneshot), name=plan.oneshot.name)
        for task in plan.tasks:
            self.add(job, task)
        return job

    def add(self, job: Job[Any], plan: TaskPlan) -> None:
        """Add a task to a job, unless the job accepts no more."""
        with suppress(JobStateError):
            job.add_task(
                self._factory(plan),
                name=plan.name,
                policy=plan.policy,
                transient=plan.transient,
                idle_timeout=plan.idle_timeout,
            )

    def _factory(self, plan: TaskPlan) -> Callable[[Job[Any]], Routines]:
        def factory(job: Job[Any]) -> Routines:
            return Routines(
                None if plan.init is None else self._routine(plan.init, f"{plan.name}.init"),
                None if plan.run is None else self._run(plan.run, f"{plan.name}.run"),
                None if plan.finalize is None else self._routine(plan.finalize, f"{plan.name}.finalize"),
            )

        return factory

    def _run(self, calls: tuple[Call, ...], place: str) -> Callable[[Task], object]:
        routines = [self._routine(call, f"{place}[{number}]") for number, call in enumerate(calls)]
        return lambda task: routines[min(task.steps, len(routines) - 1)](task)

    def _routine(self, call: Call, place: str) -> Callable[[Task], object]:
        async def routine(task: Task) -> None:
            await self._spend(task, call, place)
            _end(task, call.ends, place)

        def plain(task: Task) -> Awaitable[None] | None:
            if call.suspends:
                return routine(task)
            self._grow(task, call)
            _end(task, call.ends, place)
            return None

        return plain if call.plain else routine

    async def _spend(self, task: Task, call: Call, place: str) -> None:
        for number in range(call.enters):
            await task.enter(_Context(self._tracer, task, number, f"{place} context {number}" if call.faulty else ""))
        self._grow(task, call)
        if call.child is not None:
            await self.job(call.child).run()
        if call.takes is None:
            return
        if call.abandons:
            with task.cancel_on_stop():
                await _sleep(call)
        else:
            await _sleep(call)

    def _grow(self, task: Task, call: Call) -> None:
        if call.adds is not None:
            self.add(task.job, call.adds)


async def _sleep(call: Call) -> None:
    try:
        await trio.sleep(call.takes or 0)
    except trio.Cancelled:
        if call.clings:
            with trio.CancelScope(shield=True):
                await trio.sleep(call.clings)
        raise


def _end(task: Task, ends: Ends, place: str) -> None:
    match ends:
        case Ends.TICK:
            task.tick()
        case Ends.IDLE:
            task.idle()
        case Ends.DONE:
            task.done()
        case Ends.FINISH_JOB:
            task.finish_job()
        case Ends.ASSERT:
            task.assert_true(False, place)
        case Ends.RAISE:
            raise PlannedError(place)
        case Ends.FATAL:
            raise PlannedFatalError(place)
        case _:
            pass  # A plain return.


async def _hook(place: str, call: Call) -> None:
    if call.takes is not None:
        await trio.sleep(call.takes)
    if call.ends is Ends.RAISE:
        raise PlannedError(f"{place}.on_shutdown")


def _mapped(error: BaseException) -> BaseException:
    return PlannedError(f"mapped from {error!r}")


def _nobody(event: str, fields: object) -> None:
    return None


@final
class _Context:
    """A context manager whose exit passes a checkpoint, and then may raise."""

    def __init__(self, tracer: Tracer, task: Task, number: int, fault: str) -> None:
        self._tracer = tracer
        self._task = task
        self._number = number
        self._fault = fault

    async def __aenter__(self) -> None:
        self._tracer.note(self._task.job, Opened(trio.current_time(), self._task.index, self._number))

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        error = PlannedError(self._fault) if self._fault else None
        self._tracer.note(self._task.job, Closed(trio.current_time(), self._task.index, self._number, error))
        if error is not None:
            raise error
        await trio.lowlevel.checkpoint()
