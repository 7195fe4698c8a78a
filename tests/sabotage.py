"""Jobs whose foreign code raises anything, anywhere: every hook that the engine calls on its way, and every routine.

A job is made from a seed, so that a failure names what makes it again. Much smaller and much faster than the plans of
`job.testing`: it knows only whether a job ends, in its time, with each finalizer called once.
"""

import dataclasses
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from job import Event, IdleClock, Job, JobStateError, Observer, Routines, StopPolicy, Task, register_observer
from job.background import Manager
from job.futures import open_futures
from job.tasks import Backoff, force_stop, restart, retry
from job.testing._stage import _scheduled

HORIZON = 20.0
"""Seconds after which a job is cancelled, so that it has to end."""

BUDGET = 400.0
"""Seconds in which any of these jobs has ended: the horizon, the graces, and a `finalize_timeout` for all that cleans up."""


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """An error that cannot be written to."""

    code: int = 1


class UnshowableError(Exception):
    """An error whose repr and str fail."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class Unshowable:
    """An object whose repr fails, and that is true."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class OrderingError(Exception):
    """An error whose repr is an order to leave."""

    def __repr__(self) -> str:
        raise SystemExit(7)

    __str__ = __repr__


class NotelessError(Exception):
    """An error that takes no note."""

    def add_note(self, note: str) -> None:
        """Refuse."""
        raise AttributeError("no notes")


class OrderingNoteError(Exception):
    """An error whose notes are an order to leave."""

    def add_note(self, note: str) -> None:
        """Leave."""
        raise SystemExit(8)


class OddGroup(ExceptionGroup[Exception]):
    """A group that cannot be split."""

    def derive(self, excs: Any) -> Any:
        """Fail."""
        raise TypeError("a host is missing")


class OrderingGroup(ExceptionGroup[Exception]):
    """A group whose split is an order to leave."""

    def derive(self, excs: Any) -> Any:
        """Leave."""
        raise SystemExit(9)


class OddType(type):
    """The type of a class that fails at `isinstance`."""

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("isinstance")


class OddError(Exception, metaclass=OddType):
    """An error that nothing is an instance of, and that fails to say so."""


class Fatal(BaseException):
    """An order that is none of Python's own."""


ERRORS: list[Callable[[], BaseException]] = [
    lambda: ValueError("planned"),
    FrozenError,
    UnshowableError,
    OrderingError,
    NotelessError,
    OrderingNoteError,
    RecursionError,
    MemoryError,
    StopIteration,
    StopAsyncIteration,
    AssertionError,
    lambda: OSError(24, "too many", "file"),
    lambda: OddGroup("odd", [ValueError("in a group"), FrozenError()]),
    lambda: OrderingGroup("odd", [ValueError("in a group")]),
    lambda: BaseExceptionGroup("mixed", [ValueError(), Fatal()]),
    Fatal,
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    lambda: pytest.fail.Exception("not like this"),
]


def is_order(error: BaseException) -> bool:
    """Whether an error is none that may be contained."""
    return not isinstance(error, Exception)


class Crew:
    """One job of a seed, all that it calls, and what came of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.entered = Counter[str]()
        self.finalized = Counter[str]()
        self.orders: list[BaseException] = []  # that hooks have raised while the job ran
        self.names = iter(range(1000))
        self.unregister: Callable[[], None] = lambda: None
        self.raised: BaseException | None = None
        self.job = self.make_job()

    # What is drawn.

    def rarely(self, chance: float) -> bool:
        """Whether it happens this time."""
        return self.dice.random() < chance

    def seconds(self) -> float:
        """Return a short time, often none."""
        return self.dice.choice((0.0, 0.0, 0.5, 1.0, 2.0, 5.0))

    def act(self, chance: float, *, of_the_engine: bool = True) -> None:
        """Raise, perhaps."""
        if self.rarely(chance):
            error = self.dice.choice(ERRORS)()
            if of_the_engine and is_order(error) and not isinstance(error, BaseExceptionGroup):
                self.orders.append(error)
            raise error

    # Hooks.

    def on_event(self, event: Event) -> None:
        """Listen, as an observer."""
        if getattr(event, "job", None) is self.job or getattr(getattr(event, "task", None), "job", None) is self.job:
            self.act(0.03)

    def handler(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take a record."""
        self.act(0.05)

    def started(self, value: object = None) -> None:
        """Hear that the job is up."""
        self.act(0.3)

    def wrap(self, error: BaseException) -> BaseException:
        """Map an error."""
        self.act(0.2)
        return self.dice.choice((error, FrozenError(2), "no error"))  # type: ignore[return-value]

    async def on_shutdown(self, error: BaseException) -> None:
        """Shut down."""
        await trio.sleep(self.seconds())
        self.act(0.2, of_the_engine=False)

    # Tasks.

    def routine(self, chance: float, *, last: Callable[[Task], object] | None = None) -> Callable[[Task], object]:
        """Return a routine that takes a while, may grow the job, and may raise."""

        async def routine(task: Task) -> None:
            if self.rarely(0.7):
                await trio.sleep(self.seconds())
            await self.meddle(task)
            self.act(chance, of_the_engine=False)
            if last is not None:
                last(task)

        return routine

    async def meddle(self, task: Task) -> None:
        """Do one of the things that routines do to their job, or nothing."""
        meddling: list[Callable[[Task], Awaitable[None]]] = [
            self.enter,
            self.grow,
            self.stop,
            self.talk,
            self.child,
            self.delegate,
            self.hurry,
        ]
        if self.rarely(0.7):
            await self.dice.choice(meddling)(task)

    async def enter(self, task: Task) -> None:
        """Enter a job of some kind, or what may fail at both ends."""
        await task.enter(self.dice.choice((Manager, open_futures, Job, lambda: Closer(self)))())

    async def grow(self, task: Task) -> None:
        """Add a task to the job."""
        self.add_task(task.job)

    async def stop(self, task: Task) -> None:
        """Finish or cancel the job, or fail, with what has no repr."""
        match self.dice.randrange(6):
            case 0:
                task.job.cancel(self.dice.choice(ERRORS)())
            case 1:
                task.job.cancel(Unshowable())
            case 2:
                task.assert_(Unshowable())
            case _:
                task.job.finish(self.seconds())

    async def talk(self, task: Task) -> None:
        """Write to the log."""
        task.log.info("hello", value=Unshowable())

    async def delegate(self, task: Task) -> None:
        """Run something in the background."""
        async with Manager() as bg:
            bg.run(trio.sleep, self.seconds())

    async def hurry(self, task: Task) -> None:
        """Wait, but not for long."""
        with trio.move_on_after(1):
            await trio.sleep(self.seconds())

    async def child(self, task: Task) -> None:
        """Run a job of its own."""
        inner = Job[None](grace=self.seconds(), timeout=50)
        self.add_task(inner)
        await inner.run()

    def step(self, task: Task) -> None:
        """End a run."""
        self.dice.choice((task.tick, task.tick, task.idle, task.done, task.done, task.finish_job))()

    def factory(self, name: str) -> Callable[[Job[Any]], Routines]:
        """Return a factory whose inits and finalizers are counted."""
        inner_init, run = self.routine(0.1), self.routine(0.1, last=self.step)
        inner_finalize = self.routine(0.15)

        async def init(task: Task) -> None:
            self.entered[name] += 1
            await inner_init(task)  # type: ignore[misc]

        async def finalize(task: Task) -> None:
            self.finalized[name] += 1
            await inner_finalize(task)  # type: ignore[misc]

        return lambda job: Routines(init, run, finalize)

    def form(self, name: str) -> object:
        """Return a task, in one of the wrappers perhaps."""
        made: object = self.factory(name)
        match self.dice.randrange(8):
            case 0:
                made = restart(made, wait=Backoff(0.5, 2), max_restarts=3)
            case 1:
                made = retry(made, attempts=2, on=self.dice.choice((Exception, OddError)))
            case 2:
                made = force_stop(made, self.seconds())
            case _:
                pass
        return made

    def add_task(self, j: Job[Any]) -> None:
        """Add a task, where the job takes any."""
        name = f"t{next(self.names)}"
        policy = self.dice.choice(list(StopPolicy))
        idle = self.dice.choice((None, None, None, 1.0, IdleClock(2)))
        transient = policy is StopPolicy.CONTAIN and self.rarely(0.5)
        if self.entered.total() < 40:
            try:
                j.add_task(self.form(name), name=name, policy=policy, idle_timeout=idle, transient=transient)
            except JobStateError:
                return

    def make_job(self) -> Job[Any]:
        """Make the job."""
        observers: list[Observer] = [self] if self.rarely(0.4) else []
        j: Job[Any] = Job(
            name=f"job of {self.seed}",
            timeout=self.dice.choice((float("inf"), 3.0, 10.0)),
            grace=self.seconds(),
            finalize_timeout=self.dice.choice((10.0, 1.0, 0.0)),
            stop_timeout=self.dice.choice((float("inf"), float("inf"), 3.0)),
            keep_open=self.rarely(0.2),
            error_wrapper=self.wrap if self.rarely(0.3) else None,
            on_shutdown=self.on_shutdown if self.rarely(0.3) else None,
            quiet=self.dice.choice(((), (OddError,), (ValueError,))),
        )
        j.register_logger({0: self.handler if self.rarely(0.5) else lambda event, fields: None}, level=2)
        if self.rarely(0.5):
            name = f"t{next(self.names)}"
            j.add_oneshot_task(self.form(name), name=name)
        for _ in range(self.dice.randrange(4)):
            self.add_task(j)
        if observers:
            self.unregister = register_observer(self)
        return j

    # The run.

    async def perform(self) -> None:
        """Run the job to its end, in one of the ways that there are."""
        try:
            await self.dice.choice((self.run, self.run, self.run_beside_block, self.run_in_background))()
        except BaseException as error:
            self.raised = error
        finally:
            self.unregister()

    async def run(self) -> None:
        """Run it in the foreground."""
        await self.job.run(task_status=self)

    async def run_beside_block(self) -> None:
        """Run it beside a block, which may raise, too."""
        async with self.job:
            await trio.sleep(self.seconds())
            self.act(0.2, of_the_engine=False)

    async def run_in_background(self) -> None:
        """Run it in a nursery."""
        async with trio.open_nursery() as nursery:
            await self.job.run_in_background(nursery)
            await self.job.wait()

    def complaints(self) -> Iterator[str]:
        """Say what is not as it was promised."""
        if self.job.verdict is None:
            yield f"it has not ended, it is {self.job.state}"
        for name, count in self.entered.items():
            if self.finalized[name] != count:
                yield f"{name} was initialised {count} times and finalised {self.finalized[name]} times"
        if self.orders and (self.raised is None or not is_order(self.raised)):
            yield f"{self.orders!r} were not obeyed: it raised a {type(self.raised).__name__}"


class Closer:
    """A context manager that may fail at both ends."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew

    async def __aenter__(self) -> None:
        self.crew.act(0.1, of_the_engine=False)

    async def __aexit__(self, *about: object) -> None:
        await trio.sleep(self.crew.seconds())
        self.crew.act(0.2, of_the_engine=False)


class StuckError(Exception):
    """Nothing runs any more, and the job has not ended."""


class Stage:
    """A virtual clock that brings the run down where it has jumped to long after the end of any job."""

    def __init__(self) -> None:
        self.clock = MockClock(autojump_threshold=0)
        self.now = self.clock.current_time
        self.stuck = False
        # No subclass: MockClock is final, and trio asks its clock whatever its tasks are shielded from.
        self.clock.current_time = self.current_time  # type: ignore[method-assign]

    def current_time(self) -> float:
        """Tell the time."""
        if self.stuck:
            raise StuckError
        return self.now()

    async def watch(self) -> None:
        """Wait until nobody else has anything to do."""
        await trio.sleep(BUDGET * 100)
        self.stuck = True
        await trio.lowlevel.checkpoint()


def perform(seed: int) -> list[str]:
    """Run the job of a seed on virtual time; return what is not as it was promised."""
    stage = Stage()
    crew: list[Crew] = []
    ended_at: list[float] = []

    async def main() -> None:
        crew.append(Crew(seed))
        trio.lowlevel.spawn_system_task(stage.watch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_at_horizon, crew[0].job)
            await crew[0].perform()
            nursery.cancel_scope.cancel()
        ended_at.append(trio.current_time())

    found = []
    try:
        with _scheduled(seed):
            trio.run(main, clock=stage.clock)
    except trio.TrioInternalError:
        found.append("it hangs")
    if ended_at and ended_at[0] > BUDGET:
        found.append(f"it took {ended_at[0]:g} s")
    return [f"seed {seed}: {complaint}" for complaint in (*found, *crew[0].complaints())]


async def end_at_horizon(j: Job[Any]) -> None:
    """Cancel a job that has not ended by then."""
    await trio.sleep(HORIZON)
    j.cancel()
