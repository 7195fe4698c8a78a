"""KeyboardInterrupt, SystemExit and their kind: never contained nor mapped, and the finalizers run."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from job import CauseKind, Job, JobState, JobStateChanged, Phase, StopPolicy, Task, TaskState
from tests.journal import Journal, Routine, done, failing, forever, lasting, nothing

BASE_ERRORS = [KeyboardInterrupt(), SystemExit(3), BaseException("odd"), BaseExceptionGroup("", [KeyboardInterrupt()])]

every_phase = pytest.mark.parametrize("phase", list(Phase))
every_base_error = pytest.mark.parametrize("error", BASE_ERRORS, ids=lambda e: type(e).__name__)


def interrupt(*_: object) -> None:
    """Send this process a SIGINT, now."""
    signal.raise_signal(signal.SIGINT)


def run_until_interrupted(main: Callable[[], object]) -> None:
    """Run an async function that ends in a KeyboardInterrupt, on a virtual clock."""
    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))


# -- raised by a routine


@every_phase
@every_base_error
async def test_goes_on_unchanged(phase: Phase, error: BaseException) -> None:
    """Whatever routine raises it, it comes out of run, the same object, after the finalizers."""
    journal = Journal()
    j = Job[None]()
    j.add_task(journal.task("first"))
    task = j.add_task(journal.task("a", **{phase.value: failing(error)}))
    with pytest.raises(type(error)) as caught:
        await j.run()
    assert caught.value is error
    assert journal[-1] == "first.finalize"
    assert j.interrupted_by == (task, error)
    assert j.verdict is not None
    assert j.verdict.cause.phase is phase


async def test_kind_is_error() -> None:
    """It is recorded as kind ERROR."""
    j = Job[None]()
    j.add_task(failing(KeyboardInterrupt()), name="a")
    with pytest.raises(KeyboardInterrupt):
        await j.run()
    assert j.verdict is not None
    assert (j.verdict.cause.kind, j.verdict.code) == (CauseKind.ERROR, "error@a:run")


async def test_never_mapped() -> None:
    """error_wrapper is not asked."""
    j = Job[None](error_wrapper=lambda error: ValueError("mapped"))
    j.add_task(failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        await j.run()


@every_phase
async def test_never_contained_by_a_policy(phase: Phase) -> None:
    """A CONTAIN task cannot keep it."""
    j = Job[None]()
    j.add_task(Journal().task("a", **{phase.value: failing(SystemExit(3))}), policy=StopPolicy.CONTAIN)
    j.add_task(lasting(0))
    with pytest.raises(SystemExit):
        await j.run()


async def test_never_contained_in_the_background(autojump_clock: MockClock) -> None:
    """Nor can run_in_background: it goes on into the nursery."""
    j = Job[None]()
    j.add_task(failing(SystemExit(3), after=1))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await j.run_in_background(nursery)
    assert caught.group_contains(SystemExit)
    assert j.state is JobState.CANCELLED


async def test_after_a_users_error(autojump_clock: MockClock) -> None:
    """It goes on, and the user's error, which came first, stays the cause."""
    error = ValueError("x")
    j = Job[None]()
    first = j.add_task(failing(error, after=1))
    second = j.add_task(Journal().task("b", run=forever, finalize=failing(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        await j.run()
    assert j.interrupted_by == (first, error)
    assert [(e.task, type(e.error)) for e in j.errors[1:]] == [(second, KeyboardInterrupt)]


async def test_a_users_error_after_it(autojump_clock: MockClock) -> None:
    """A later error is added."""
    j = Job[None]()
    j.add_task(Journal().task("a", run=forever, finalize=failing(ValueError("late"))))
    j.add_task(failing(KeyboardInterrupt(), after=1))
    with pytest.raises(KeyboardInterrupt):
        await j.run()
    assert [type(e.error) for e in j.errors] == [KeyboardInterrupt, ValueError]


async def test_in_the_shutdown_hook() -> None:
    """One that the hook raises goes on, too, after the finalizers."""
    journal = Journal()

    def hook(error: BaseException) -> None:
        raise KeyboardInterrupt

    j = Job[None](on_shutdown=hook)
    j.add_task(journal.task("a", run=failing(ValueError("x"))))
    with pytest.raises(KeyboardInterrupt):
        await j.run()
    assert journal[-1] == "a.finalize"


async def test_in_the_good_end_of_a_finish(autojump_clock: MockClock) -> None:
    """A finish does not hide it."""
    j = Job[None](grace=5)
    j.add_task(Journal().task("a", run=lasting(1, Task.finish_job), finalize=failing(SystemExit(3))))
    with pytest.raises(SystemExit):
        await j.run()


# -- a real SIGINT


@pytest.mark.parametrize("oneshot", [True, False])
@every_phase
def test_signal_in_a_routine(oneshot: bool, phase: Phase) -> None:
    """User routines are open to it: the routine is interrupted where it is."""
    journal = Journal()

    async def struck(task: Task) -> None:
        interrupt()
        journal.append("never")

    async def main() -> None:
        j = Job[None]()
        (j.add_oneshot_task if oneshot else j.add_task)(journal.task("a", **{phase.value: struck}))
        j.add_task(journal.task("b"))
        try:
            await j.run()
        finally:
            assert j.interrupted_by[0] is j.tasks[0]
            assert "never" not in journal
            assert journal[-1] == "a.finalize"

    run_until_interrupted(main)


@pytest.mark.parametrize("parts", [{"init": None, "finalize": None}, {"init": nothing}])
def test_signal_while_everybody_waits(parts: dict[str, Routine]) -> None:
    """The wait inside run can be interrupted; the finalizers run."""
    journal = Journal()

    async def interrupt_later() -> None:
        await trio.sleep(1)
        interrupt()

    async def main() -> None:
        trio.lowlevel.spawn_system_task(interrupt_later)
        j = Job[None]()
        task = j.add_task(journal.task("a", run=forever, **parts))
        j.add_task(journal.task("b", run=forever))
        try:
            await j.run()
        finally:
            assert (j.state, task.state) == (JobState.CANCELLED, TaskState.CANCELLED)
            assert isinstance(j.interrupted_by[1], KeyboardInterrupt)
            assert len(j.errors) == 1
            assert "b.finalize" in journal

    run_until_interrupted(main)


def test_signal_while_an_idle_timeout_is_watched() -> None:
    """Also where the engine watches a clock."""

    async def interrupt_later() -> None:
        await trio.sleep(1)
        interrupt()

    async def main() -> None:
        trio.lowlevel.spawn_system_task(interrupt_later)
        j = Job[None]()
        j.add_task(forever, idle_timeout=10)
        try:
            await j.run()
        finally:
            assert trio.current_time() == 1
            assert isinstance(j.interrupted_by[1], KeyboardInterrupt)

    run_until_interrupted(main)


class InterruptingObserver:
    """Sends a SIGINT at each event, or at those that are told: in the middle of the framework's own code."""

    def __init__(self, told: Callable[[object], bool] = lambda _: True) -> None:
        self._told = told
        self.events: list[object] = []

    def on_event(self, event: object) -> None:
        """Note the event and send the signal."""
        self.events.append(event)
        if self._told(event):
            interrupt()


def test_framework_is_protected() -> None:
    """A SIGINT at each step of the life cycle breaks none of them: whatever was entered is finalized, once."""
    journal = Journal()

    async def main() -> None:
        j = Job[None](observers=[InterruptingObserver()])
        j.add_oneshot_task(journal.task("one"))
        j.add_task(journal.task("a", run=forever))
        j.add_task(journal.task("b", run=forever))
        try:
            await j.run()
        finally:
            assert j.state is JobState.CANCELLED
            entered = [entry.removesuffix(".init") for entry in journal if entry.endswith(".init")]
            left = [entry.removesuffix(".finalize") for entry in journal if entry.endswith(".finalize")]
            assert left == entered[::-1]

    run_until_interrupted(main)


@pytest.mark.parametrize(("last", "cause"), [(done, KeyboardInterrupt), (failing(ValueError("last")), ValueError)])
def test_signal_while_the_job_closes(last: Routine, cause: type[BaseException]) -> None:
    """One that strikes when all is over but the engine's own helpers goes on; what came first stays the cause."""
    observer = InterruptingObserver(
        lambda event: isinstance(event, JobStateChanged) and event.new is JobState.FINALIZING
    )

    async def main() -> None:
        j = Job[None](observers=[observer])

        async def add_watched(task: Task) -> None:
            j.add_task(done, idle_timeout=10)
            await trio.sleep(1)
            await last(task)

        j.add_task(add_watched)
        try:
            await j.run()
        finally:
            assert j.state is JobState.CANCELLED
            assert isinstance(j.interrupted_by[1], cause)
            assert isinstance(j.errors[-1].error, KeyboardInterrupt)

    run_until_interrupted(main)


@pytest.mark.parametrize("stop", [Job.finish, Job.cancel])
def test_signal_during_a_stop(stop: Callable[[Job[None]], None]) -> None:
    """A SIGINT inside of finish or cancel leaves no half-stopped job: it strikes when they have returned."""
    returned = []

    async def main() -> None:
        observer = InterruptingObserver()
        j = Job[None](observers=[observer])
        stop(j)
        returned.append((j.state, len(observer.events)))
        await trio.sleep(1)

    run_until_interrupted(main)
    assert returned in ([(JobState.DONE, 2)], [(JobState.CANCELLED, 2)])


PROGRAM = """
    import sys
    import trio
    from job import Job

    async def run(task):
        print("ready", flush=True)
        await trio.sleep_forever()

    async def finalize(task):
        await trio.sleep(0)
        print("finalized", flush=True)

    j = Job()
    j.add_task(lambda _: (None, run, finalize))
    try:
        trio.run(j.run)
    except KeyboardInterrupt as error:
        print(j.state.value, j.interrupted_by[1] is error, flush=True)
"""


def test_signal_in_a_program() -> None:
    """Ctrl-C in a program ends its job in order, and comes out of trio.run."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        assert program.stdout.read().splitlines() == ["finalized", "cancelled True"]
    assert program.returncode == 0
