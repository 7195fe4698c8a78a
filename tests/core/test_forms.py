"""The three forms of a task, how it gets its name, and how wrong forms are refused."""

import functools
from collections.abc import Callable

import pytest

from job import Job, JobState, Routines, Task
from job.tasks import retry


async def done(task: Task) -> None:
    """Be done at the first step."""
    task.done("ran")


def greeting_task(j: Job[list[str]]) -> Routines:
    """Write each routine's name to the job's value."""

    async def init(task: Task) -> None:
        j.value.append("init")

    async def run(task: Task) -> None:
        j.value.append("run")
        task.done()

    async def finalize(task: Task) -> None:
        j.value.append("finalize")

    return Routines(init, run, finalize)


class Greeter:
    """An object with all three routines, two of them plain."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    async def init(self, task: Task) -> None:
        self.seen.append("init")

    def run(self, task: Task) -> None:
        self.seen.append("run")
        task.done()

    def finalize(self, task: Task) -> None:
        self.seen.append("finalize")

    async def serve_task(self, task: Task) -> None:
        self.seen.append("serve")
        task.done()

    def make_task(self, j: Job[None]) -> tuple[None, Callable[[Task], None], None]:
        return None, self.run, None


ALL_THREE = ["init", "run", "finalize"]


async def test_factory() -> None:
    """A factory takes the job and returns the three routines."""
    j = Job[list[str]]([])
    j.add_task(greeting_task)
    await j.run()
    assert j.value == ALL_THREE


async def test_factory_is_called_at_add() -> None:
    """The factory is called when the task is added, with the job, not when the job runs."""
    called = []
    j = Job[None]()
    j.add_task(lambda job: called.append(job) or (None, done, None))
    assert called == [j]


async def test_plain_tuple() -> None:
    """A plain 3-tuple is as good as Routines."""
    j = Job[None]()
    task = j.add_task(lambda job: (None, done, None))
    await j.run()
    assert task.result == "ran"


async def test_plain_routines_with_awaitable_results() -> None:
    """What a plain routine returns is awaited where it can be."""

    def plain(task: Task) -> object:
        return done(task)

    j = Job[None]()
    task = j.add_task(lambda job: (None, plain, None))
    await j.run()
    assert task.result == "ran"


async def test_bound_method_as_factory() -> None:
    """A plain bound method is a factory."""
    seen: list[str] = []
    j = Job[None]()
    j.add_task(Greeter(seen).make_task)
    await j.run()
    assert seen == ["run"]


async def test_bare_run() -> None:
    """A coroutine function is the run of its task."""
    j = Job[None]()
    task = j.add_task(done)
    await j.run()
    assert task.result == "ran"


async def test_bare_run_as_oneshot() -> None:
    """The oneshot takes every form, too."""
    j = Job[None]()
    task = j.add_oneshot_task(done)
    await j.run()
    assert task.result == "ran"


async def test_bare_bound_method() -> None:
    """A bound coroutine method is a bare run."""
    seen: list[str] = []
    j = Job[None]()
    j.add_task(Greeter(seen).serve_task)
    await j.run()
    assert seen == ["serve"]


async def test_bare_partial() -> None:
    """A partial of a coroutine function is a bare run."""

    async def add(amount: int, task: Task) -> None:
        task.done(amount)

    j = Job[None]()
    task = j.add_task(functools.partial(add, 7))
    await j.run()
    assert task.result == 7


async def test_bare_partial_of_bound_method() -> None:
    """A partial of a bound coroutine method is a bare run."""
    seen: list[str] = []
    j = Job[None]()
    task = j.add_task(functools.partial(Greeter(seen).serve_task))
    await j.run()
    assert (seen, task.name) == (["serve"], "serve")


async def test_partial_of_factory() -> None:
    """A partial of a factory is a factory."""

    def factory(answer: int, j: Job[None]) -> Routines:
        return Routines(run=lambda task: task.done(answer))

    j = Job[None]()
    task = j.add_task(functools.partial(factory, 42))
    await j.run()
    assert task.result == 42


async def test_object_with_run() -> None:
    """An object with a run method is a task; its init and finalize are used where it has them."""
    seen: list[str] = []
    j = Job[None]()
    j.add_task(Greeter(seen))
    await j.run()
    assert seen == ALL_THREE


async def test_object_with_run_only() -> None:
    """An object needs no init and no finalize."""

    class Quick:
        async def run(self, task: Task) -> None:
            task.done("quick")

    j = Job[None]()
    task = j.add_task(Quick())
    await j.run()
    assert task.result == "quick"


async def test_class_is_called_as_factory() -> None:
    """A class is called with the job; what it makes may be an object with a run method."""

    class Worker:
        def __init__(self, j: Job[str]) -> None:
            self.job = j

        async def run(self, task: Task) -> None:
            task.done(self.job.value)

    j = Job("shared")
    task = j.add_task(Worker)
    await j.run()
    assert task.result == "shared"


async def test_class_that_makes_routines() -> None:
    """A class called as a factory may give routines: a NamedTuple that takes the job, say."""

    class Made(tuple[None, object, None]):
        __slots__ = ()

        def __new__(cls, j: Job[None]) -> "Made":
            return super().__new__(cls, (None, done, None))

    j = Job[None]()
    task = j.add_task(Made)
    await j.run()
    assert task.result == "ran"


async def test_factory_that_gives_an_object() -> None:
    """A factory may give an object with a run method instead of routines."""
    seen: list[str] = []
    j = Job[None]()
    j.add_task(lambda job: Greeter(seen))
    await j.run()
    assert seen == ALL_THREE


async def test_no_run() -> None:
    """Without a run the task is finished after its init."""
    seen: list[str] = []
    j = Job[None]()
    task = j.add_task(lambda job: (Greeter(seen).init, None, None))
    assert await j.run() is JobState.DONE
    assert (seen, task.state.name) == (["init"], "FINISHED")


async def test_no_routines_at_all() -> None:
    """A task of three Nones is finished at once."""
    j = Job[None]()
    task = j.add_task(lambda job: Routines())
    await j.run()
    assert task.state.name == "FINISHED"


async def test_oneshot_without_run() -> None:
    """A oneshot without a run has succeeded when its init has."""
    seen: list[str] = []
    j = Job[None]()
    j.add_oneshot_task(lambda job: (Greeter(seen).init, None, None))
    j.add_task(Greeter(seen).serve_task)
    await j.run()
    assert seen == ["init", "serve"]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (greeting_task, "greeting"),
        (done, "done"),
        (functools.partial(functools.partial(greeting_task)), "greeting"),
        (Greeter([]).serve_task, "serve"),
        (Greeter([]).make_task, "make"),
        (Greeter([]), "Greeter"),
    ],
)
def test_name(form: object, name: str) -> None:
    """A task is named after its function, method or class, without a trailing `_task`."""
    j = Job[list[str]]([])
    assert j.add_task(form).name == name


def test_name_loses_one_ending() -> None:
    """Only one `_task` is dropped, under a partial as well."""

    def to_do_task_task(j: Job[None], /) -> Routines:
        return Routines()

    assert Job[None]().add_task(to_do_task_task).name == "to_do_task"
    assert Job[None]().add_task(functools.partial(to_do_task_task)).name == "to_do_task"


async def test_function_with_a_run() -> None:
    """A function that was given a `run` is an object with a run."""

    def callback(value: object) -> None:
        raise AssertionError

    callback.run = done  # type: ignore[attr-defined]
    j = Job[None]()
    task = j.add_task(callback)
    await j.run()
    assert (task.name, task.result) == ("callback", "ran")


def test_name_of_class() -> None:
    """A task made by a class has the name of the class."""

    class relay_task:  # noqa: N801 - to see the ending dropped
        def __init__(self, j: Job[None]) -> None: ...

        async def run(self, task: Task) -> None: ...

    assert Job[None]().add_task(relay_task).name == "relay"


def test_given_name() -> None:
    """A name given when adding stands as it is."""
    assert Job[list[str]]([]).add_task(greeting_task, name="my_task").name == "my_task"


def test_bare_name_of_only_the_ending() -> None:
    """A function that is called `_task` keeps a name."""

    async def _task(task: Task) -> None: ...

    assert Job[None]().add_task(_task).name


async def test_bare_run_that_returns_routines() -> None:
    """A factory written `async def` is a TypeError that says what is wrong."""

    async def mistaken(j: Task) -> Routines:
        return Routines(run=done)

    j = Job[None]()
    j.add_task(mistaken)
    with pytest.raises(TypeError, match=r"'mistaken'.*coroutine function.*returned routines"):
        await j.run()


async def test_bare_run_that_steps_and_returns_routines() -> None:
    """Routines from a bare run are refused even when it took a step."""

    async def mistaken(task: Task) -> tuple[None, object, None]:
        task.done()
        return None, done, None

    j = Job[None]()
    j.add_task(mistaken)
    with pytest.raises(TypeError, match="routines"):
        await j.run()


@pytest.mark.parametrize("step", [Task.done, Task.tick])
async def test_bare_run_that_returns_a_row(step: Callable[[Task], None]) -> None:
    """Three Nones are a row of a database, say, and no routines."""
    steps = [step, Task.done]

    async def run(task: Task) -> tuple[None, None, None]:
        steps.pop(0)(task)
        return None, None, None

    j = Job[None]()
    j.add_task(run)
    assert await j.run() is JobState.DONE


async def test_bare_run_that_ticks_and_returns_routines() -> None:
    """Routines are refused also where the loop does not look at anything else of a step."""

    async def mistaken(task: Task) -> tuple[None, object, None]:
        task.tick()
        return None, done, None

    j = Job[None]()
    j.add_task(mistaken)
    with pytest.raises(TypeError, match="routines"):
        await j.run()


async def test_bare_run_that_returns_empty_routines() -> None:
    """`Routines()` can be nothing else, although there is no callable in it."""

    async def mistaken(j: Task) -> Routines:
        return Routines()

    j = Job[None]()
    j.add_oneshot_task(mistaken)
    with pytest.raises(TypeError, match="routines"):
        await j.run()


class Given:
    """A task as an object, whose run returns three callables."""

    async def run(self, task: Task) -> object:
        """Be done."""
        task.done()
        return done, done, done


@pytest.mark.parametrize(
    "form", [Given(), lambda j: Given(), lambda j: (None, Given().run, None), retry(Given(), attempts=2)], ids=range(4)
)
async def test_run_of_another_form_may_return_anything(form: object) -> None:
    """What is no bare run cannot have been meant for a factory, and its result is not looked at."""
    j = Job[None]()
    j.add_task(form)
    assert await j.run() is JobState.DONE


def test_factory_that_returns_a_coroutine() -> None:
    """A bare run hidden in a plain function is a TypeError that says so, and no coroutine is left unawaited."""

    def hidden(task: Task) -> object:
        return done(task)

    with pytest.raises(TypeError, match=r"returned a coroutine"):
        Job[None]().add_task(hidden)


@pytest.mark.parametrize("form", [None, 5, "connect", object()])
def test_no_form_at_all(form: object) -> None:
    """What is none of the three forms is refused with its value."""
    with pytest.raises(TypeError, match="got"):
        Job[None]().add_task(form)


@pytest.mark.parametrize(
    "made", [None, 5, (done,), (None, done), (None, 5, None), ("init", None, None), [None, done, None]]
)
def test_factory_that_makes_nonsense(made: object) -> None:
    """What a factory returns is checked when the task is added."""
    with pytest.raises(TypeError, match="got"):
        Job[None]().add_task(lambda j: made)


def test_object_with_an_init_that_is_no_routine() -> None:
    """The routines of an object are checked when the task is added."""

    class Odd:
        init = "not callable"

        async def run(self, task: Task) -> None: ...

    with pytest.raises(TypeError, match=r"init.*'not callable'"):
        Job[None]().add_task(Odd())


def test_error_of_a_factory() -> None:
    """The error of a factory comes out of the call that adds the task, and no index is used up."""
    j = Job[None]()
    with pytest.raises(ZeroDivisionError):
        j.add_task(lambda job: 1 / 0)
    assert j.tasks == ()
    assert j.add_task(done).index == 1


def test_plain_function_taken_for_a_factory() -> None:
    """A plain run given as it is was called as a factory; a note says so."""

    def work(task: Task) -> None:
        task.done()

    with pytest.raises(AttributeError, match="done") as caught:
        Job[None]().add_task(work)
    assert caught.value.__notes__ == [
        "in the factory 'work', called with the job; a run of its own must be an async def"
    ]


async def test_decorated_factory() -> None:
    """A factory that a decorator has wrapped, and so marked with attributes, is a factory still."""
    ran = []

    def run(task: Task) -> None:
        ran.append(task.name)
        task.done()

    def load_task(j: Job[None]) -> Routines:
        return Routines(run=run)

    @functools.wraps(load_task)
    def logged(j: Job[None]) -> Routines:
        return load_task(j)

    j = Job[None]()
    j.add_task(logged)
    await j.run()
    assert ran == ["load"]
