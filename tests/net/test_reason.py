"""Why a connection ended, as its job's verdict tells it."""

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import job
from job.net._errors import ConnectTimeoutError, FrameError, NoUpstreamError, ProtocolError
from job.net._reason import EndReason, Side, end_reason, reason_of_fault, reason_of_verdict
from job.net._shortages import is_shortage

Run = Callable[[job.Task], Awaitable[None]]


def raised_from(error: BaseException, cause: BaseException) -> BaseException:
    """Return `error` as if it were raised from `cause`."""
    error.__cause__ = cause
    return error


def test_words() -> None:
    """Reasons and sides are strings, as logs and metrics write them."""
    assert [reason.value for reason in EndReason] == [reason.name.lower() for reason in EndReason]
    assert f"{EndReason.TIMEOUT_HALF_CLOSE} by {Side.PROXY}" == "timeout_half_close by proxy"
    assert EndReason("no_upstream") is EndReason.NO_UPSTREAM


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(), EndReason.RESET),
        (trio.BrokenResourceError(), EndReason.RESET),
        (raised_from(trio.BrokenResourceError(), ConnectionResetError()), EndReason.RESET),
        (raised_from(trio.BrokenResourceError(), ssl.SSLEOFError()), EndReason.TLS_TRUNCATED),
        (raised_from(trio.BrokenResourceError(), ssl.SSLError()), EndReason.PROTOCOL_ERROR),
        (ssl.SSLCertVerificationError(), EndReason.PROTOCOL_ERROR),
        (FrameError("long"), EndReason.PROTOCOL_ERROR),
        (ProtocolError("?"), EndReason.PROTOCOL_ERROR),
        (ConnectTimeoutError("late"), EndReason.TIMEOUT_CONNECT),
        (NoUpstreamError("none"), EndReason.NO_UPSTREAM),
        (trio.EndOfChannel(), EndReason.EOF),
        (trio.ClosedResourceError(), EndReason.PROXY_ERROR),
        (raised_from(ValueError(), ConnectionResetError()), EndReason.PROXY_ERROR),
        (KeyboardInterrupt(), EndReason.PROXY_ERROR),
        (ExceptionGroup("", [ExceptionGroup("", [ConnectionResetError()])]), EndReason.RESET),
        (ExceptionGroup("", [ConnectionResetError(), ValueError()]), EndReason.PROXY_ERROR),
    ],
)
def test_faults(error: BaseException, reason: EndReason) -> None:
    """An error of a peer has the reason of what it was raised from, any other is our own."""
    assert reason_of_fault(error) is reason


def test_ring_of_causes() -> None:
    """Errors that are each other's causes, as a program may tie them, do not go round for ever."""
    first, second = ConnectionResetError(), trio.BrokenResourceError()
    raised_from(first, raised_from(second, first))
    assert reason_of_fault(first) is EndReason.RESET
    assert not is_shortage(first)


@pytest.mark.parametrize("number", [None, [], {}, "EMFILE"])
def test_odd_number_of_an_error(number: object) -> None:
    """What a program puts in the place of an errno is no shortage, and nothing that fails."""
    assert not is_shortage(OSError(number, "odd"))


class Hostile:
    """A result that fails when it is asked for anything."""

    @property
    def reason(self) -> object:
        """Fail."""
        raise RuntimeError("do not ask")


async def test_hostile_result() -> None:
    """A result that fails when it is looked at has no reason to tell: the verdict has."""

    async def run(task: job.Task) -> None:
        task.done(Hostile())

    assert end_reason(await ended(run)) is EndReason.EOF


async def ended(run: Run | None = None, *, oneshot: Run | None = None, **options: float) -> job.Job[None]:
    """Run a job to its end, whatever that is."""
    j: job.Job[None] = job.Job(quiet=[Exception], **options)
    if oneshot is not None:
        j.add_oneshot_task(oneshot)
    if run is not None:
        j.add_task(run, idle_timeout=30)
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
    return j


def failing(error: BaseException) -> Run:
    """Return a run that fails."""

    async def run(task: job.Task) -> None:
        raise error

    return run


async def silent(task: job.Task) -> None:
    """Wait for ever."""
    await trio.sleep_forever()


async def passing(task: job.Task) -> None:
    """Be done."""
    task.done()


async def test_ended_by_itself() -> None:
    """A job that came to its end is a connection that did."""
    assert end_reason(await ended(passing)) is EndReason.EOF


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(), EndReason.RESET),
        (ProtocolError("?"), EndReason.PROTOCOL_ERROR),
        (ZeroDivisionError(), EndReason.PROXY_ERROR),
        (AssertionError(), EndReason.PROXY_ERROR),
    ],
)
async def test_failed(error: Exception, reason: EndReason) -> None:
    """A task's error is the reason."""
    assert end_reason(await ended(failing(error))) is reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), EndReason.CONNECT_FAILED),
        (ssl.SSLEOFError(), EndReason.CONNECT_FAILED),
        (ConnectTimeoutError("late"), EndReason.TIMEOUT_CONNECT),
        (NoUpstreamError("none"), EndReason.NO_UPSTREAM),
        (ProtocolError("?"), EndReason.PROTOCOL_ERROR),
        (ZeroDivisionError(), EndReason.PROXY_ERROR),
    ],
)
async def test_connect_failed(error: Exception, reason: EndReason) -> None:
    """In the oneshot, a peer that breaks off could not be connected to."""
    assert end_reason(await ended(silent, oneshot=failing(error))) is reason


async def test_idle(autojump_clock: MockClock) -> None:
    """A silent task is a silent connection."""
    assert end_reason(await ended(silent)) is EndReason.TIMEOUT_IDLE


async def test_job_timeout(autojump_clock: MockClock) -> None:
    """A job that took too long was cancelled or, if it was still connecting, that took too long."""
    assert end_reason(await ended(silent, timeout=5)) is EndReason.CANCELLED
    assert end_reason(await ended(silent, oneshot=passing, timeout=5)) is EndReason.CANCELLED
    assert end_reason(await ended(passing, oneshot=silent, timeout=5)) is EndReason.TIMEOUT_CONNECT


async def test_cancelled() -> None:
    """A cancelled job is a cancelled connection, whatever the error that it was cancelled with."""
    j: job.Job[None] = job.Job()
    j.cancel(ConnectionResetError())
    assert end_reason(j) is EndReason.CANCELLED


async def test_cut_by_finish() -> None:
    """A job that finish has cut was drained."""

    async def run(task: job.Task) -> None:
        task.job.finish()
        await trio.sleep_forever()

    assert end_reason(await ended(run)) is EndReason.DRAINED


async def test_finished_by_its_parent() -> None:
    """A job that ends with its parent was drained, cut or not."""
    parent: job.Job[None] = job.Job(keep_open=True, grace=5)
    child: job.Job[None] = job.Job(parent=parent)

    async def run(task: job.Task) -> None:
        with task.cancel_on_stop():
            await trio.sleep_forever()

    child.add_task(run)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        await child.run_in_background(nursery)
        parent.finish()
    assert end_reason(child) is EndReason.DRAINED
    assert child.verdict is not None
    assert child.verdict.cut == ()


@pytest.mark.parametrize("kind", job.CauseKind)
@pytest.mark.parametrize("state", [job.JobState.DONE, job.JobState.CANCELLED])
def test_every_cause_has_a_reason(kind: job.CauseKind, state: job.JobState) -> None:
    """No verdict that a job can have is without a reason."""
    well = kind in {job.CauseKind.FINISHED, job.CauseKind.PARENT, job.CauseKind.SIGNAL}
    if (state is job.JobState.DONE and not well) or (
        state is job.JobState.CANCELLED and kind is job.CauseKind.FINISHED
    ):
        return
    cause = job.Cause(kind, error=None if well else ValueError())
    verdict = job.Verdict(state, cause, errors=(), cut=(), started_at=None, ended_at=None, code=kind.value)
    assert isinstance(reason_of_verdict(verdict, connected=True), EndReason)


async def test_not_ended() -> None:
    """A job that has not ended has no reason."""
    with pytest.raises(job.JobStateError, match="no reason"):
        end_reason(job.Job[None]())


def test_no_job() -> None:
    """Only a job has a reason for its end."""
    with pytest.raises(TypeError, match="j must be a Job, got 5"):
        end_reason(5)  # type: ignore[arg-type]
