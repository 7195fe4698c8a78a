"""Code of the user's that the engine calls on its way may raise anything: an Exception changes nothing, an order ends a job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import (
    AssertFailedError,
    CauseKind,
    Job,
    JobCancelledError,
    JobState,
    JobStateChanged,
    StopPolicy,
    Task,
    TaskFailed,
    TaskState,
    TaskStateChanged,
)
from job.background import Manager
from job.tasks import Retry, once, retry
from tests.journal import Journal, done, failing, forever, lasting

CONTAIN = StopPolicy.CONTAIN


class UnshowableError(Exception):
    """An error whose repr fails, as that of a row of a database may after its session."""

    def __repr__(self) -> str:
        raise RuntimeError("not bound to a session")


class Unshowable:
    """Anything else whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("not bound to a session")


class Acting:
    """An observer that does something at each event of one kind."""

    def __init__(self, kind: type[object], act: Callable[[Any], object]) -> None:
        self._kind = kind
        self._act = act

    def on_event(self, event: object) -> None:
        """Act."""
        if isinstance(event, self._kind):
            self._act(event)


class SilentLog(list[tuple[str, Mapping[str, Any]]]):
    """What was written, at whatever level."""

    def attach_to(self, j: Job[Any]) -> SilentLog:
        """Hear a job."""
        j.register_logger({0: lambda event, fields: self.append((event, fields))}, level=2)
        return self


# -- an error that cannot be shown


async def test_unshowable_error_of_a_contained_task(autojump_clock: MockClock) -> None:
    """It is recorded, and the others go on to their good end."""
    j = Job()
    log = SilentLog().attach_to(j)
    j.add_task(failing(UnshowableError()), policy=CONTAIN)
    good = j.add_task(lasting(1))
    assert await j.run() is JobState.DONE
    assert (type(j.errors[0].error), good.state) == (UnshowableError, TaskState.FINISHED)
    assert "task.failed" in [event for event, _ in log]


@pytest.mark.parametrize("wrap", [lambda run: run, lambda run: retry(run, attempts=2)], ids=["run", "retry"])
async def test_unshowable_error_comes_out_itself(wrap: Callable[[Any], Any], autojump_clock: MockClock) -> None:
    """What comes out of the job is the error, and not what its repr has raised."""
    j, error, journal = Job(), UnshowableError(), Journal()
    SilentLog().attach_to(j)
    j.add_task(wrap(journal.task("bad", run=failing(error))))
    with pytest.raises(UnshowableError) as caught:
        await j.run()
    assert caught.value is error
    assert j.interrupted_by[1] is error
    assert journal[-1] == "bad.finalize"


async def test_assertion_over_what_cannot_be_shown() -> None:
    """It is a failed assertion, with the object."""
    j, row = Job(), Unshowable()
    j.add_task(once(lambda task: task.assert_(row)))
    with pytest.raises(AssertFailedError) as caught:
        await j.run()
    assert caught.value.value is row
    assert j.verdict is not None
    assert j.verdict.cause.kind is CauseKind.ASSERT


async def test_unshowable_error_of_a_transient_task(autojump_clock: MockClock) -> None:
    """The task leaves the job, which goes on."""
    async with Job(keep_open=True) as j:
        j.add_task(failing(UnshowableError()), policy=CONTAIN, transient=True)
        await trio.sleep(1)
        assert j.tasks == ()
    assert j.state is JobState.DONE


async def test_unshowable_error_of_a_background_run(autojump_clock: MockClock) -> None:
    """It is tried again, and the manager closes."""
    errors = [UnshowableError()]

    def work() -> str:
        if errors:
            raise errors.pop()
        return "whole"

    async with Manager(retry=Retry(2)) as bg:
        task = bg.run(work)
    assert task.result == "whole"


# -- observers


def becomes(state: JobState | TaskState) -> Callable[[Any], bool]:
    """Return whether an event is the change to a state."""
    return lambda event: event.new is state


JOB_STATES = (JobState.ONESHOT_RUNNING, JobState.RECURRENT_RUNNING, JobState.STOPPING, JobState.FINALIZING)
MOMENTS: dict[str, tuple[type[object], Callable[[Any], bool]]] = {
    "task.failed": (TaskFailed, lambda event: True),
    **{
        f"task.{state.value}": (TaskStateChanged, becomes(state))
        for state in TaskState
        if state is not TaskState.PENDING
    },
    **{f"job.{state.value}": (JobStateChanged, becomes(state)) for state in JOB_STATES},
}

orders = pytest.mark.parametrize("order", [SystemExit, pytest.fail.Exception])


@orders
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_order_of_an_observer(
    moment: tuple[type[object], Callable[[Any], bool]], order: type[BaseException], autojump_clock: MockClock
) -> None:
    """A test that fails in an observer, or sys.exit, comes out of the job, and each init has had its finalizer."""
    kind, wanted = moment
    journal = Journal()

    def see(event: object) -> None:
        if wanted(event):
            raise order("not like this")

    j = Job(observers=[Acting(kind, see)])
    j.add_oneshot_task(journal.task("connect"))
    j.add_task(journal.task("good", run=forever))
    j.add_task(journal.task("bad", run=failing(ValueError("x"), after=1)))
    with pytest.raises(order):
        await j.run()
    assert j.state is JobState.CANCELLED
    begun = [entry for entry in journal if entry.endswith(".init")]
    assert sorted(journal.count(entry.replace("init", "finalize")) for entry in begun) == [1] * len(begun)


@orders
async def test_order_of_an_observer_is_the_cause(order: type[BaseException], autojump_clock: MockClock) -> None:
    """Where nothing came before it, it is the first cause: an error, of no task."""
    see = order("not like this")
    j = Job(observers=[Acting(TaskStateChanged, failing_call(see))])
    j.add_task(forever)
    with pytest.raises(order):
        await j.run()
    assert j.verdict is not None
    assert j.interrupted_by == (None, see)
    assert j.verdict.cause.kind is CauseKind.ERROR


def failing_call(error: BaseException) -> Callable[[object], None]:
    """Return a function that raises it."""

    def call(_: object) -> None:
        raise error

    return call


async def test_unshowable_error_of_an_observer(autojump_clock: MockClock) -> None:
    """It is an observer's fault as any other, and changes nothing."""
    j = Job(observers=[Acting(object, failing_call(UnshowableError()))])
    SilentLog().attach_to(j)
    j.add_task(done)
    assert await j.run() is JobState.DONE


# -- log handlers


async def test_order_of_a_handler_in_a_line_of_a_task(autojump_clock: MockClock) -> None:
    """sys.exit in the handler of a task's own line is raised in that task's run."""
    journal = Journal()
    raised: list[BaseException] = []

    def handler(event: str, fields: Mapping[str, Any]) -> None:
        if event == "hello":
            sys.exit(3)

    async def run(task: Task) -> None:
        try:
            task.log.info("hello")
        except SystemExit as exc:
            raised.append(exc)
            raise

    j = Job()
    j.register_logger({0: handler}, level=1)
    j.add_task(journal.task("a", run=run))
    with pytest.raises(SystemExit) as caught:
        await j.run()
    assert raised == [caught.value]
    assert journal == ["a.init", "a.run", "a.finalize"]


async def test_order_of_a_handler_in_a_line_of_the_engine(autojump_clock: MockClock) -> None:
    """In a line of the engine's own it ends the job, cleaned up, with the exit."""
    journal = Journal()

    def handler(event: str, fields: Mapping[str, Any]) -> None:
        if event == "task.failed":
            sys.exit(3)

    j = Job()
    j.register_logger({0: handler}, level=1)
    j.add_task(journal.task("a", run=forever))
    j.add_task(failing(ValueError("x"), after=1), policy=CONTAIN)
    with pytest.raises(SystemExit):
        await j.run()
    assert journal[-1] == "a.finalize"


async def test_handler_that_fails_where_there_is_no_stderr(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Its fault has nowhere to go, and changes nothing all the same."""

    class Nowhere:
        def write(self, text: str) -> int:
            raise AttributeError("nowhere to write")

    def handler(event: str, fields: Mapping[str, Any]) -> None:
        raise ValueError("handler")

    monkeypatch.setattr(sys, "stderr", Nowhere())
    j = Job()
    j.register_logger({0: handler}, level=2)
    j.add_task(failing(ValueError("x"), after=1), policy=CONTAIN)
    assert await j.run() is JobState.DONE


# -- quiet


class MetaOfOdd(type):
    """Makes classes of which isinstance raises what their `fault` is."""

    fault: BaseException

    def __instancecheck__(cls, instance: object) -> bool:
        raise cls.fault


def odd(fault_of_isinstance: BaseException) -> type[Exception]:
    """Return a class of errors of which isinstance raises something."""

    class OddError(Exception, metaclass=MetaOfOdd):
        fault = fault_of_isinstance

    return OddError


async def test_fault_of_an_isinstance(autojump_clock: MockClock) -> None:
    """An error of which it cannot be told whether it is quiet is not, and the job goes on."""
    j = Job(quiet=(odd(RuntimeError("isinstance")),))
    log = SilentLog().attach_to(j)
    j.add_task(failing(ValueError("x"), after=1), policy=CONTAIN)
    assert await j.run() is JobState.DONE
    assert "task.failed" in [event for event, _ in log]


async def test_order_of_an_isinstance(autojump_clock: MockClock) -> None:
    """An order that comes out of it ends the job, cleaned up."""
    journal = Journal()
    j = Job(quiet=(odd(SystemExit(3)),))
    j.add_task(journal.task("a", run=forever))
    j.add_task(failing(ValueError("x"), after=1), policy=CONTAIN)
    with pytest.raises(SystemExit):
        await j.run()
    assert journal[-1] == "a.finalize"


# -- groups that cannot be split


class StubbornGroup(BaseExceptionGroup[BaseException]):
    """A group whose `derive` fails, as one does that forgets an argument of its own."""

    fault: BaseException = TypeError("a host is missing")

    def derive(self, excs: object) -> Any:
        """Fail."""
        raise self.fault


class ExitingGroup(StubbornGroup):
    """One whose `derive` exits."""

    fault = SystemExit(3)


async def test_group_that_cannot_be_split(autojump_clock: MockClock) -> None:
    """It comes out of the job as it is."""
    error = StubbornGroup("two", [ValueError("x"), KeyError("y")])
    j = Job()
    j.add_task(failing(error, after=1))
    with pytest.raises(StubbornGroup) as caught:
        await j.run()
    assert caught.value is error


async def test_group_that_cannot_be_split_in_the_background(autojump_clock: MockClock) -> None:
    """It is the failure of that run alone."""

    class StubbornErrors(ExceptionGroup[Exception]):
        def derive(self, excs: object) -> Any:
            raise TypeError("a host is missing")

    def bad() -> None:
        raise StubbornErrors("one", [ValueError("x")])

    async with Manager() as bg:
        task = bg.run(bad)
    assert task.error is not None
    assert type(task.error.error) is StubbornErrors


def with_its_cancelled(group: type[StubbornGroup]) -> Callable[[Task], Any]:
    """Return a run that answers its cancellation with a group of that and an error."""

    async def run(task: Task) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            raise group("two", [ValueError("x"), cancelled]) from None

    return run


async def test_group_with_a_cancelled_that_cannot_be_split(autojump_clock: MockClock) -> None:
    """What the user raised is recorded all the same, in a plain group that says what it was, without the Cancelled."""
    j = Job()
    j.add_task(with_its_cancelled(StubbornGroup))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.cancel()
    (recorded,) = [each.error for each in j.errors if not isinstance(each.error, JobCancelledError)]
    assert isinstance(recorded, BaseExceptionGroup)
    assert [type(each) for each in recorded.exceptions] == [ValueError]
    assert "StubbornGroup, which cannot be split" in recorded.__notes__[0]


async def test_group_with_a_cancelled_whose_derive_exits(autojump_clock: MockClock) -> None:
    """The exit is one of what the group holds, and comes out."""
    j = Job()
    j.add_task(with_its_cancelled(ExitingGroup))

    async def stop() -> None:
        await trio.sleep(1)
        j.cancel()

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await j.run()
    assert caught.group_contains(SystemExit)
    assert caught.group_contains(ValueError)
