"""The verdict: who ended the job, and why."""

import dataclasses

import pytest
import trio
from trio.testing import MockClock

from job import (
    Cause,
    CauseKind,
    IdleTimeoutError,
    Job,
    JobState,
    Phase,
    StopPolicy,
    Task,
    TaskError,
    TaskState,
    UnexpectedStopError,
    Verdict,
)
from tests.journal import Journal, done, failing, forever, lasting


def asserting(task: Task) -> None:
    """Fail an assertion."""
    task.assert_true(False, "broken")


async def verdict_of(j: Job) -> Verdict:
    """Run a job contained, and return its verdict."""
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    assert j.verdict is not None
    return j.verdict


async def test_none_until_the_end(autojump_clock: MockClock) -> None:
    """There is no verdict before the job has ended."""
    seen = []
    j = Job[None]()
    j.add_task(Journal().task("a", finalize=lasting(1, lambda task: seen.append(task.job.verdict))))
    seen.append(j.verdict)
    await j.run()
    assert seen == [None, None]
    assert j.verdict is not None


async def test_good_end(autojump_clock: MockClock) -> None:
    """A natural end is FINISHED, by nobody, with no error."""
    j = Job[None]()
    j.add_task(lasting(3))
    verdict = await verdict_of(j)
    assert verdict == Verdict(
        state=JobState.DONE,
        cause=Cause(CauseKind.FINISHED, at=3),
        errors=(),
        cut=(),
        started_at=0,
        ended_at=3,
        code="finished",
    )


async def test_ended_at_includes_the_finalizers(autojump_clock: MockClock) -> None:
    """The end is that of the last finalizer; the cause keeps its own time."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=failing(ValueError("x"), after=2), finalize=lasting(3, lambda _: None)))
    verdict = await verdict_of(j)
    assert (verdict.cause.at, verdict.ended_at) == (2, 5)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"run": failing(ValueError())}, "error@read:run"),
        ({"init": failing(ValueError())}, "error@read:init"),
        ({"finalize": failing(ValueError())}, "finalize@read:finalize"),
        ({"run": lasting(0, asserting)}, "assert@read:run"),
        ({"run": failing(AssertionError())}, "assert@read:run"),
        ({"init": lasting(0, asserting)}, "assert@read:init"),
        ({"run": lasting(0, lambda _: None)}, "error@read:run"),
        ({"run": lasting(0, lambda task: task.job.cancel())}, "cancel"),
        ({"run": lasting(1, Task.finish_job)}, "finished"),
    ],
)
async def test_code(parts: dict[str, object], code: str, autojump_clock: MockClock) -> None:
    """The code is the kind, and where known the task and its phase."""
    j = Job[None]()
    j.add_task(Journal().task("read", **parts))  # type: ignore[arg-type]
    assert (await verdict_of(j)).code == code


async def test_idle_code(autojump_clock: MockClock) -> None:
    """A silent task is named."""
    j = Job[None]()
    task = j.add_task(forever, name="read", idle_timeout=2)
    verdict = await verdict_of(j)
    assert verdict.code == "idle@read:run"
    assert (verdict.cause.task, verdict.cause.phase) == (task, Phase.RUN)
    assert isinstance(verdict.cause.error, IdleTimeoutError)


async def test_unexpected_stop_code() -> None:
    """So is a STRICT task that was done too early."""
    j = Job[None]()
    task = j.add_task(done, name="listen", policy=StopPolicy.STRICT)
    verdict = await verdict_of(j)
    assert verdict.code == "unexpected-stop@listen:run"
    assert isinstance(verdict.cause.error, UnexpectedStopError)
    assert task.state is TaskState.FAILED


async def test_one_record() -> None:
    """interrupted_by and errors of the job are views of the verdict."""
    error = ValueError("x")
    j = Job[None]()
    task = j.add_task(Journal().task("a", run=failing(error), finalize=failing(KeyError("late"))))
    verdict = await verdict_of(j)
    assert (verdict.cause.task, verdict.cause.error) == j.interrupted_by == (task, error)
    assert verdict.errors == j.errors
    assert verdict.errors[0] == TaskError(task, Phase.RUN, error)


async def test_frozen() -> None:
    """Verdicts, causes and task errors cannot be changed."""
    verdict = await verdict_of(Job[None]())
    for record in (verdict, verdict.cause, TaskError(None, None, ValueError())):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, dataclasses.fields(record)[0].name, None)


async def test_steps_after_the_end_change_nothing() -> None:
    """The verdict is the same object for ever."""
    j = Job[None]()
    await j.run()
    first = j.verdict
    j.cancel(ValueError("late"))
    assert j.verdict is first


# -- error_wrapper


async def test_wrapped_error() -> None:
    """error_wrapper maps the first error before it is recorded; the original is its cause."""
    original, mapped = ValueError("x"), RuntimeError("mapped")
    j = Job[None](error_wrapper=lambda error: mapped)
    task = j.add_task(failing(original))
    with pytest.raises(RuntimeError) as caught:
        await j.run()
    assert caught.value is mapped
    assert mapped.__cause__ is original
    assert j.interrupted_by == (task, mapped)
    assert [e.error for e in j.errors] == [mapped]
    assert task.error is not None
    assert task.error.error is mapped


async def test_wrapper_is_called_once(autojump_clock: MockClock) -> None:
    """Only the first cause's error is mapped."""
    seen = []
    j = Job[None](error_wrapper=lambda error: seen.append(error) or RuntimeError("mapped"))
    j.add_task(Journal().task("a", run=failing(ValueError("x")), finalize=failing(KeyError("late"))))
    with pytest.raises(RuntimeError):
        await j.run()
    assert [type(error) for error in seen] == [ValueError]
    assert [type(e.error) for e in j.errors] == [RuntimeError, KeyError]


async def test_wrapper_that_returns_the_same_error() -> None:
    """An error that is passed through is not made its own cause."""
    j = Job[None](error_wrapper=lambda error: error)
    j.add_task(failing(ValueError("x")))
    with pytest.raises(ValueError, match="x") as caught:
        await j.run()
    assert caught.value.__cause__ is None


async def test_failing_wrapper() -> None:
    """The original stands, and the wrapper's own error is added, with the same place."""
    fault = KeyError("wrapper")

    def wrap(error: BaseException) -> BaseException:
        raise fault

    j = Job[None](error_wrapper=wrap)
    task = j.add_task(failing(ValueError("x")))
    with pytest.raises(ValueError, match="x"):
        await j.run()
    assert j.errors[1] == TaskError(task, Phase.RUN, fault)


async def test_wrapper_that_cancels_the_job() -> None:
    """The error that it is asked about is the cause already."""

    def wrap(error: BaseException) -> BaseException:
        j.cancel("from the wrapper")
        return RuntimeError("mapped")

    j = Job[None](error_wrapper=wrap)
    j.add_task(failing(ValueError("x")))
    with pytest.raises(RuntimeError, match="mapped"):
        await j.run()
    assert j.errors[0].error is j.interrupted_by[1]


async def test_wrapped_cancel_and_timeout(autojump_clock: MockClock) -> None:
    """The errors of cancel and of the timeout are mapped, too."""
    for options, end in (({"timeout": 1}, lambda _: None), ({}, lambda j: j.cancel())):
        j = Job[None](keep_open=True, error_wrapper=lambda error: RuntimeError(type(error).__name__), **options)
        async with trio.open_nursery() as nursery:
            await j.run_in_background(nursery)
            end(j)
        assert isinstance(j.interrupted_by[1], RuntimeError)


async def test_wrapped_finalizer_error() -> None:
    """So is an error that first arises in a finalizer."""
    j = Job[None](error_wrapper=lambda error: RuntimeError("mapped"))
    j.add_task(Journal().task("a", finalize=failing(ValueError("x"))))
    with pytest.raises(RuntimeError, match="mapped"):
        await j.run()


async def test_outer_cancellation_is_not_mapped(autojump_clock: MockClock) -> None:
    """The outer scope's end is nobody's error."""
    seen = []
    j = Job[None](error_wrapper=lambda error: seen.append(error) or error)
    j.add_task(forever)
    with trio.move_on_after(1):
        await j.run()
    assert seen == []


async def test_hook_hears_of_the_mapped_error() -> None:
    """on_shutdown is given what run will raise."""
    heard: list[BaseException] = []
    j = Job[None](error_wrapper=lambda error: RuntimeError("mapped"), on_shutdown=heard.append)
    j.add_task(failing(ValueError("x")))
    with pytest.raises(RuntimeError) as caught:
        await j.run()
    assert heard == [caught.value]


# -- job.ended


async def ended_records(j: Job) -> list[tuple[str, dict]]:
    """Run a job contained, and return what it logged as its end, with the severity."""
    records = []

    class Logger:
        def bind(self, **fields: object) -> "Logger":
            return self

        def info(self, event: str, **fields: object) -> None:
            records.append(("info", fields))

        def warning(self, event: str, **fields: object) -> None:
            records.append(("warning", fields))

    j.register_logger(Logger(), level=1)
    await verdict_of(j)
    return records


async def test_record_of_a_good_end() -> None:
    """A good end is one line at level 1, with the code."""
    ((severity, fields),) = await ended_records(Job[None]())
    assert (severity, fields["code"]) == ("info", "finished")


async def test_record_of_a_contained_failure() -> None:
    """A failure that nobody raises is a warning."""
    j = Job[None]()
    j.add_task(failing(ValueError("x")), name="read")
    ((severity, fields),) = await ended_records(j)
    assert (severity, fields["code"]) == ("warning", "error@read:run")


async def test_record_of_a_quiet_failure() -> None:
    """Unless the job says that it is no news."""
    j = Job[None](quiet=[ValueError])
    j.add_task(failing(ValueError("x")))
    ((severity, _),) = await ended_records(j)
    assert severity == "info"


async def test_unseen_error_without_a_logger(capfd: pytest.CaptureFixture[str]) -> None:
    """An error that run does not raise is written even with no logger registered, in one line."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=failing(ValueError("seen")), finalize=failing(KeyError("unseen"))))
    with pytest.raises(ValueError, match="seen"):
        await j.run()
    out = capfd.readouterr()
    written = (out.out + out.err).splitlines()
    assert len(written) == 1
    assert "unseen" in written[0]


async def test_nothing_is_written_for_an_error_that_is_raised(
    capfd: pytest.CaptureFixture[str], autojump_clock: MockClock
) -> None:
    """What run raises, an outer cancellation and a good end need no warning."""
    failed, cancelled = Job[None](), Job[None]()
    failed.add_task(failing(ValueError("x")))
    cancelled.add_task(forever)
    with pytest.raises(ValueError, match="x"):
        await failed.run()
    with trio.move_on_after(1):
        await cancelled.run()
    await Job[None]().run()
    assert capfd.readouterr() == ("", "")


async def test_nothing_is_written_for_a_child_that_its_parent_cancelled(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The parent's end is told by the parent."""
    parent = Job[None](keep_open=True, quiet=[ValueError])
    child = Job[None](parent=parent)
    child.add_task(forever)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        await child.run_in_background(nursery)
        parent.cancel(ValueError("quiet"))
    assert capfd.readouterr() == ("", "")
