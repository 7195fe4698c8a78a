"""Jobs in jobs: a child ends with its parent, wherever it runs, and the parent waits for it."""

import gc
import weakref
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from job import (
    CauseKind,
    Job,
    JobCancelledError,
    JobState,
    JobStateError,
    JobTimeoutError,
    StopPolicy,
    StopTimeoutError,
    Task,
    TaskState,
    current_job,
)
from tests.journal import Journal, Routine, done, each_second, failing, forever, lasting


def cause_of(j: Job) -> CauseKind:
    """Return what ended a job."""
    assert j.verdict is not None
    return j.verdict.cause.kind


class Family:
    """A parent, kept open by a task of its own, and a child that it runs in another one."""

    def __init__(self, child_run: Routine = forever, *, own: Routine = forever, **options: object) -> None:
        self.journal = Journal()
        self.parent = Job[None](name="parent", parent=None, **options)
        self.own = self.parent.add_task(self.journal.task("own", run=own))
        self.runner = self.parent.add_task(self._run_child, name="runner")
        self.child_run = child_run
        self.child: Job[None]
        self.returned: list[JobState] = []

    async def _run_child(self, task: Task) -> None:
        self.child = Job[None](name="child")
        self.child.add_task(self.journal.task("inner", run=self.child_run))
        self.returned.append(await self.child.run())
        task.done()

    async def live(self, seconds: float, then: Callable[[], object]) -> None:
        """Run the parent contained, and do something after a while."""
        async with trio.open_nursery() as nursery:
            await self.parent.run_in_background(nursery)
            await trio.sleep(seconds)
            then()


async def elsewhere(
    parent: Job[None], child: Job[None], seconds: float, then: Callable[[], object]
) -> list[JobState | BaseException]:
    """Run parent and child side by side, do something after a while, and return what the child's run came to."""
    outcome: list[JobState | BaseException] = []

    async def run_child() -> None:
        try:
            outcome.append(await child.run())
        except BaseException as exc:
            outcome.append(exc)
            if not isinstance(exc, Exception):
                raise

    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        nursery.start_soon(run_child)
        await trio.sleep(seconds)
        then()
    return outcome


# -- who is whose


async def test_parent_is_the_current_job() -> None:
    """A job made in a routine is a child of that routine's job."""
    family = Family(done, own=done)
    await family.parent.run()
    assert family.child.parent is family.parent
    assert family.parent.parent is None


async def test_detached() -> None:
    """`parent=None` detaches."""
    made = []

    async def run(task: Task) -> None:
        made.append(Job[None](parent=None))
        task.done()

    j = Job[None]()
    j.add_task(run)
    await j.run()
    assert made[0].parent is None


async def test_ended_parent() -> None:
    """A job that has ended is nobody's parent."""
    j = Job[None]()
    await j.run()
    assert Job[None](parent=j).parent is None


async def test_parent_is_finalizing() -> None:
    """A job made while its would-be parent is FINALIZING has no parent."""
    made = []

    async def finalize(task: Task) -> None:
        assert task.job.state is JobState.FINALIZING
        made.append(Job[None]())
        await made[0].run()

    j = Job[None]()
    j.add_task(Journal().task("a", finalize=finalize))
    await j.run()
    assert made[0].parent is None
    assert made[0].state is JobState.DONE


def test_wrong_parent() -> None:
    """A parent must be a job."""
    with pytest.raises(TypeError, match="parent"):
        Job[None](parent="me")  # type: ignore[arg-type]


async def test_current_job_in_a_child() -> None:
    """The innermost job is the current one."""
    seen = []

    async def look(task: Task) -> None:
        seen.append(current_job() is task.job)
        task.done()

    family = Family(look, own=done)
    await family.parent.run()
    assert seen == [True]


# -- the parent is cancelled


async def test_cancel_reaches_the_child(autojump_clock: MockClock) -> None:
    """A parent's cancel cancels the child; the child's run raises Cancelled where that reaches it."""
    family = Family()
    await family.live(1, family.parent.cancel)
    assert family.child.state is JobState.CANCELLED
    assert cause_of(family.child) is CauseKind.PARENT
    assert family.returned == []
    assert family.runner.state is TaskState.CANCELLED
    assert len(family.parent.errors) == 1


async def test_error_in_the_parent_reaches_the_child(autojump_clock: MockClock) -> None:
    """So does any other cause; the chain leads to it."""
    family = Family(own=failing(ValueError("x"), after=1))
    await family.live(0, lambda: None)
    verdict = family.child.verdict
    assert verdict is not None
    assert verdict.cause.parent is not None
    assert verdict.cause.parent.kind is CauseKind.ERROR
    assert verdict.cause.parent.task is family.own
    assert verdict.code == "parent"


async def test_cancel_reaches_a_child_elsewhere(autojump_clock: MockClock) -> None:
    """Elsewhere its run returns CANCELLED and raises nothing."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    child.add_task(forever)
    assert await elsewhere(parent, child, 1, parent.cancel) == [JobState.CANCELLED]
    assert child.interrupted_by[0] is None
    assert isinstance(child.interrupted_by[1], JobCancelledError)
    assert [(e.task, e.phase) for e in child.errors] == [(None, None)]


async def test_cancel_reaches_a_child_in_the_background(autojump_clock: MockClock) -> None:
    """Its state tells, and nothing is raised into the nursery."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    child.add_task(forever)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        await child.run_in_background(nursery)
        parent.cancel()
        assert await child.wait() is JobState.CANCELLED


async def test_timeout_of_the_parent_is_the_childs_chain(autojump_clock: MockClock) -> None:
    """A parent's timeout is the origin, though the child may be the first to feel it."""
    family = Family(timeout=2)
    with pytest.raises(JobTimeoutError):
        await family.parent.run()
    verdict = family.child.verdict
    assert verdict is not None
    assert verdict.cause.kind is CauseKind.PARENT
    assert verdict.cause.parent is not None
    assert verdict.cause.parent.kind is CauseKind.TIMEOUT


async def test_chain_over_three_generations(autojump_clock: MockClock) -> None:
    """Each job's cause points to that of the job above."""
    grandchildren = []

    async def run(task: Task) -> None:
        grandchild = Job[None]()
        grandchildren.append(grandchild)
        grandchild.add_task(forever)
        await grandchild.run()

    family = Family(run)
    await family.live(1, lambda: family.parent.cancel(ValueError("origin")))
    verdict = grandchildren[0].verdict
    assert verdict is not None
    assert verdict.cause.parent is not None
    assert verdict.cause.parent.kind is CauseKind.PARENT
    assert verdict.cause.parent.parent is not None
    assert isinstance(verdict.cause.parent.parent.error, ValueError)


async def test_outer_cancellation_ends_both(autojump_clock: MockClock) -> None:
    """An outer scope cancels parent and child, and its Cancelled goes on."""
    family = Family()
    with trio.move_on_after(1) as scope:
        await family.parent.run()
    assert scope.cancelled_caught
    assert (family.parent.state, family.child.state) == (JobState.CANCELLED, JobState.CANCELLED)
    assert len(family.parent.errors) == 1


async def test_outer_cancellation_is_told_from_above(autojump_clock: MockClock) -> None:
    """Whichever of them hears of it first, it is the parent's end, and by that the child's."""
    family = Family()
    with trio.move_on_after(1):
        await family.parent.run()
    assert [cause_of(family.parent), cause_of(family.child)] == [CauseKind.CANCEL, CauseKind.PARENT]


async def test_parents_error_is_not_mapped(autojump_clock: MockClock) -> None:
    """The child's error_wrapper is not asked about its parent's end."""
    mapped = []
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent, error_wrapper=lambda e: mapped.append(e) or e)
    child.add_task(forever)
    await elsewhere(parent, child, 1, parent.cancel)
    assert mapped == []


async def test_child_finalizes_before_its_parent(autojump_clock: MockClock) -> None:
    """The parent's first finalizer waits until the child has ended."""
    parent = Job[None]()
    journal = Journal()
    parent.add_task(journal.task("outer", run=forever))
    child = Job[None](parent=parent)
    child.add_task(journal.task("inner", run=forever, finalize=lasting(5, lambda _: journal.append("gone"))))
    await elsewhere(parent, child, 1, parent.cancel)
    assert journal[-2:] == ["gone", "outer.finalize"]


async def test_hook_waits_for_the_child(autojump_clock: MockClock) -> None:
    """So does on_shutdown."""
    journal = Journal()
    parent = Job[None](keep_open=True, on_shutdown=lambda _: journal.append("hook"))
    child = Job[None](parent=parent)
    child.add_task(journal.task("inner", run=forever, finalize=lasting(5, lambda _: journal.append("gone"))))
    await elsewhere(parent, child, 1, parent.cancel)
    assert journal[-2:] == ["gone", "hook"]


async def test_error_of_a_cancelled_child(autojump_clock: MockClock) -> None:
    """What goes wrong in a child on its way out is the child's, and is not raised."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    child.add_task(Journal().task("a", run=forever, finalize=failing(ValueError("late"))))
    assert await elsewhere(parent, child, 1, parent.cancel) == [JobState.CANCELLED]
    assert [type(e.error) for e in child.errors] == [JobCancelledError, ValueError]
    assert len(parent.errors) == 1


# -- the child fails


async def test_childs_error_comes_out_of_its_run(autojump_clock: MockClock) -> None:
    """And so fails the task that runs it, with notes of both jobs."""
    family = Family(failing(ValueError("x"), after=1))
    with pytest.raises(ValueError, match="x") as caught:
        await family.parent.run()
    assert family.parent.interrupted_by == (family.runner, caught.value)
    assert ["child" in note or "parent" in note for note in caught.value.__notes__] == [True, True]


async def test_contained_child(autojump_clock: MockClock) -> None:
    """A child in the background harms nobody."""

    async def init(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        child = Job[None]()
        child.add_task(failing(ValueError("x"), after=1))
        await child.run_in_background(nursery)

    j = Job[None]()
    j.add_task(lambda _: (init, lasting(5), None))
    assert await j.run() is JobState.DONE


# -- the parent is finished


async def test_finish_reaches_the_child(autojump_clock: MockClock) -> None:
    """A parent's finish finishes the child: DONE, cause PARENT, and its run returns."""
    family = Family(each_second, own=each_second, grace=10)
    await family.live(2.5, family.parent.finish)
    assert family.returned == [JobState.DONE]
    assert family.child.interrupted_by == (None, None)
    assert family.parent.state is JobState.DONE
    verdict = family.child.verdict
    assert verdict is not None
    assert (verdict.cause.kind, verdict.code) == (CauseKind.PARENT, "parent")
    assert verdict.cause.parent is not None
    assert verdict.cause.parent.kind is CauseKind.FINISHED
    assert trio.current_time() == 3


async def test_finish_cuts_the_child(autojump_clock: MockClock) -> None:
    """At the end of the grace what is left of the child is cut; it is DONE all the same."""
    family = Family(forever, own=each_second)
    await family.live(1, lambda: family.parent.finish(3))
    assert trio.current_time() == 4
    assert family.returned == [JobState.DONE]
    verdict = family.child.verdict
    assert verdict is not None
    assert verdict.code == "parent-cut@inner:run"


async def test_own_tasks_are_cut_after_the_child(autojump_clock: MockClock) -> None:
    """The parent's own tasks outlast its children, however long these take."""
    parent = Job[None]()
    own = parent.add_task(forever)
    child = Job[None](parent=parent)
    child.add_task(Journal().task("a", run=forever, finalize=lasting(5, lambda _: None)))
    seen = []

    async def watch() -> None:
        await child.wait()
        seen.append((trio.current_time(), own.state))

    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        nursery.start_soon(child.run)
        nursery.start_soon(watch)
        await trio.sleep(1)
        parent.finish(2)
    assert seen == [(8, TaskState.RUNNING)]
    assert own.state is TaskState.CANCELLED


async def test_own_tasks_are_cut_after_the_child_without_a_grace(autojump_clock: MockClock) -> None:
    """Also at grace 0: the task that runs the child sees it return, and is FINISHED."""
    family = Family(forever)
    await family.live(1, family.parent.finish)
    assert family.returned == [JobState.DONE]
    assert family.runner.state is TaskState.FINISHED
    assert family.own.state is TaskState.CANCELLED
    assert trio.current_time() == 1


async def test_childs_own_grace_does_not_matter(autojump_clock: MockClock) -> None:
    """It is the parent's grace that counts."""
    parent = Job[None](keep_open=True, grace=2)
    child = Job[None](parent=parent, grace=100)
    child.add_task(forever)
    assert await elsewhere(parent, child, 1, parent.finish) == [JobState.DONE]
    assert trio.current_time() == 3


async def test_shortened_grace_reaches_the_child(autojump_clock: MockClock) -> None:
    """A later call shortens the child's, too."""
    family = Family(forever, own=forever)

    def finish_twice() -> None:
        family.parent.finish(100)
        family.parent.finish(1)

    await family.live(1, finish_twice)
    assert trio.current_time() == 2


async def test_child_finishes_early_under_the_grace(autojump_clock: MockClock) -> None:
    """A child that has ended leaves the parent its grace."""
    family = Family(each_second, own=forever)
    await family.live(0.5, lambda: family.parent.finish(5))
    assert family.child.state is JobState.DONE
    assert family.own.state is TaskState.CANCELLED
    assert trio.current_time() == 5.5


async def test_child_under_a_grace_gets_what_is_left(autojump_clock: MockClock) -> None:
    """A child that starts while its parent stops gets the rest of the grace."""
    family = Family(forever)
    started = []

    async def run(task: Task) -> None:
        await trio.sleep(2)
        child = Job[None]()
        child.add_task(each_second)
        started.append(child)
        await child.run()
        task.done()

    parent = Job[None]()
    task = parent.add_task(run)
    parent.add_task(forever)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        await trio.sleep(1)
        parent.finish(5)
    assert started[0].state is JobState.DONE
    assert cause_of(started[0]) is CauseKind.PARENT
    assert task.state is TaskState.FINISHED
    assert trio.current_time() == 6
    assert family.own.state is TaskState.PENDING


async def test_error_in_a_child_that_finishes(autojump_clock: MockClock) -> None:
    """An error within the grace is the child's cause, and fails what runs it."""
    family = Family(failing(ValueError("x"), after=2), own=forever)
    await family.live(1, lambda: family.parent.finish(10))
    assert cause_of(family.child) is CauseKind.ERROR
    assert family.parent.interrupted_by[0] is family.runner
    assert trio.current_time() == 2


async def test_cancel_while_the_child_finishes(autojump_clock: MockClock) -> None:
    """A parent's cancel under the grace cancels the child that was finishing."""
    family = Family(forever)

    async def later() -> None:
        await trio.sleep(2)
        family.parent.cancel()

    async with trio.open_nursery() as nursery:
        await family.parent.run_in_background(nursery)
        family.parent.finish(10)
        await later()
    assert family.child.state is JobState.CANCELLED
    assert trio.current_time() == 2


async def test_timeout_while_the_child_finishes(autojump_clock: MockClock) -> None:
    """The parent's timeout stays armed beyond its grace, while its children take their time."""
    parent = Job[None](timeout=5)
    parent.add_task(forever)
    child = Job[None](parent=parent)
    child.add_task(Journal().task("a", run=forever, finalize=lasting(8, lambda _: None)))
    await elsewhere(parent, child, 1, lambda: parent.finish(1))
    assert isinstance(parent.interrupted_by[1], JobTimeoutError)
    assert parent.verdict is not None
    assert parent.verdict.cause.at == 5


# -- the parent ends naturally


async def test_natural_end_finishes_the_child(autojump_clock: MockClock) -> None:
    """At a natural end children get the parent's grace in full, and the parent waits for them."""
    parent = Job[None](grace=3)
    parent.add_task(lasting(2))
    child = Job[None](parent=parent)
    child.add_task(forever)
    assert await elsewhere(parent, child, 0, lambda: None) == [JobState.DONE]
    assert cause_of(child) is CauseKind.PARENT
    assert parent.state is JobState.DONE
    assert not parent.stopping
    assert trio.current_time() == 5


async def test_finalizers_wait_at_a_natural_end(autojump_clock: MockClock) -> None:
    """Until the child has ended no finalizer of the parent starts."""
    journal = Journal()
    parent = Job[None](grace=3)
    parent.add_task(journal.task("outer", run=lasting(2)))
    child = Job[None](parent=parent)
    child.add_task(journal.task("inner", run=forever))
    await elsewhere(parent, child, 0, lambda: None)
    assert journal[-2:] == ["inner.finalize", "outer.finalize"]


async def test_cancel_while_waiting_for_the_child(autojump_clock: MockClock) -> None:
    """A cancel before the finalizers still counts."""
    parent = Job[None](grace=100)
    parent.add_task(lasting(1))
    child = Job[None](parent=parent)
    child.add_task(forever)
    assert await elsewhere(parent, child, 2, lambda: parent.cancel("now")) == [JobState.CANCELLED]
    assert parent.state is JobState.CANCELLED
    assert trio.current_time() == 2


async def test_finish_while_waiting_for_the_child(autojump_clock: MockClock) -> None:
    """A finish can shorten the grace there, too."""
    parent = Job[None](grace=100)
    parent.add_task(lasting(1))
    child = Job[None](parent=parent)
    child.add_task(forever)
    assert await elsewhere(parent, child, 2, lambda: parent.finish(1)) == [JobState.DONE]
    assert trio.current_time() == 3


async def test_timeout_while_waiting_for_the_child(autojump_clock: MockClock) -> None:
    """The parent's timeout covers everything up to its finalizers."""
    parent = Job[None](timeout=4, grace=100)
    parent.add_task(lasting(1))
    child = Job[None](parent=parent)
    child.add_task(forever)
    assert await elsewhere(parent, child, 0, lambda: None) == [JobState.CANCELLED]
    assert isinstance(parent.interrupted_by[1], JobTimeoutError)
    assert trio.current_time() == 4


async def test_outer_cancellation_while_waiting_for_the_child(autojump_clock: MockClock) -> None:
    """An outer cancellation before the finalizers cancels the parent and its children."""
    parent = Job[None](grace=100)
    parent.add_task(lasting(1))
    child = Job[None](parent=parent)
    child.add_task(forever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.run)
        with trio.move_on_after(3) as scope:
            await parent.run()
    assert scope.cancelled_caught
    assert (parent.state, child.state) == (JobState.CANCELLED, JobState.CANCELLED)
    assert trio.current_time() == 3


async def test_stop_timeout_bounds_the_children(autojump_clock: MockClock) -> None:
    """At the end of the stop_timeout the children's own time is over, their loops' and their finalizers'."""
    journal = Journal()
    parent = Job[None](grace=100, stop_timeout=4)
    parent.add_task(lasting(1))
    child = Job[None](parent=parent)
    child.add_task(journal.task("a", run=forever, finalize=lasting(8, lambda _: journal.append("whole"))))
    await elsewhere(parent, child, 0, lambda: None)
    assert trio.current_time() == 5
    assert journal[-1] == "a.finalize"
    assert any(isinstance(e.error, StopTimeoutError) for e in parent.errors)


async def test_stop_timeout_bounds_the_childrens_finalizers(autojump_clock: MockClock) -> None:
    """Also a finalizer under way is cut."""
    parent = Job[None](keep_open=True, stop_timeout=4)
    child = Job[None](parent=parent)
    child.add_task(Journal().task("a", run=forever, finalize=lasting(8, lambda _: None)))
    await elsewhere(parent, child, 1, parent.cancel)
    assert trio.current_time() == 5


async def test_stop_timeout_bounds_all_finalizers_of_transient_tasks(autojump_clock: MockClock) -> None:
    """And every one of several that run at the same time."""
    cut = []

    async def lingering(task: Task) -> None:
        try:
            await trio.sleep(8)
        finally:
            cut.append(trio.current_time())

    parent = Job[None](keep_open=True, stop_timeout=4)
    child = Job[None](parent=parent, keep_open=True)
    for _ in range(2):
        child.add_task(lambda _: (None, done, lingering), policy=StopPolicy.CONTAIN, transient=True)
    child.add_task(done, policy=StopPolicy.CONTAIN, idle_timeout=5)
    await elsewhere(parent, child, 1, parent.cancel)
    assert cut == [5, 5]


async def test_stop_timeout_bounds_the_childrens_hooks(autojump_clock: MockClock) -> None:
    """And a shutdown hook."""

    async def hook(error: BaseException) -> None:
        await trio.sleep(8)

    parent = Job[None](keep_open=True, stop_timeout=4)
    child = Job[None](parent=parent, on_shutdown=hook)
    child.add_task(forever)
    await elsewhere(parent, child, 1, parent.cancel)
    assert trio.current_time() == 5


# -- jobs that do not run


async def test_new_child_is_left_alone(autojump_clock: MockClock) -> None:
    """A NEW child has nothing to do with its parent's end, and runs detached later."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    child.add_task(done)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        parent.cancel()
    assert child.state is JobState.NEW
    assert await child.run() is JobState.DONE
    assert cause_of(child) is CauseKind.FINISHED


async def test_child_started_under_a_cancelled_parent(autojump_clock: MockClock) -> None:
    """A child that starts while its parent is being cancelled enters nothing."""
    journal = Journal()
    returned = []

    async def run(task: Task) -> None:
        child = Job[None]()
        child.add_task(journal.task("a"))
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                returned.append(await child.run())

    parent = Job[None]()
    parent.add_task(run)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        await trio.sleep(1)
        parent.cancel()
    assert returned == [JobState.CANCELLED]
    assert journal == []


async def test_many_children(autojump_clock: MockClock) -> None:
    """All children end with their parent, none stays behind in it."""
    parent = Job[None](keep_open=True)
    children = [Job[None](parent=parent) for _ in range(5)]
    for child in children:
        child.add_task(forever)
    async with trio.open_nursery() as nursery:
        await parent.run_in_background(nursery)
        for child in children:
            nursery.start_soon(child.run)
        await trio.sleep(1)
        parent.finish()
    assert {child.state for child in children} == {JobState.DONE}


async def test_parent_holds_its_children_weakly(autojump_clock: MockClock) -> None:
    """A child that was never run, and nobody holds, is gone; so is one that has ended."""
    gone = []

    async def run(task: Task) -> None:
        gone.append(weakref.ref(Job[None]()))
        child = Job[None]()
        await child.run()
        gone.append(weakref.ref(child))
        del child
        gc.collect()
        task.done([ref() for ref in gone])

    j = Job[None]()
    task = j.add_task(run)
    await j.run()
    assert task.result == [None, None]


async def test_child_in_a_nursery_of_its_parents_init(autojump_clock: MockClock) -> None:
    """A child in a nursery that its parent opened in init ends before that is closed."""
    children = []

    async def init(task: Task) -> None:
        nursery = await task.enter(trio.open_nursery())
        child = Job[None]()
        child.add_task(forever)
        await child.run_in_background(nursery)
        children.append(child)

    j = Job[None]()
    j.add_task(lambda _: (init, lasting(2), None))
    assert await j.run() is JobState.DONE
    assert children[0].state is JobState.DONE
    assert cause_of(children[0]) is CauseKind.PARENT


async def test_tasks_of_a_stopping_child(autojump_clock: MockClock) -> None:
    """A child that its parent finishes takes no more tasks."""
    parent = Job[None](keep_open=True)
    child = Job[None](parent=parent)
    child.add_task(forever)

    def finish_and_add() -> None:
        parent.finish(1)
        assert child.stopping
        with pytest.raises(JobStateError):
            child.add_task(done)
        parent.finish(0)

    await elsewhere(parent, child, 1, finish_and_add)
