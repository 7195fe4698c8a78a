"""`roots`, `snapshot` and `tree`: what lives now, as objects, data and text."""

import gc
import json
import math
import threading
import time
from typing import Any

import pytest
import trio
import trio.testing

from job import Job, JobState, StopPolicy, Task, TaskState
from job.instrumentation import JobSnapshot, roots, snapshot, tree
from tests.journal import done, each_second, forever


async def test_roots() -> None:
    """The running jobs without a running parent are found, the oldest first, and nothing else."""
    old, young = Job[None](name="old"), Job[None](name="young", parent=None)
    async with old, young, Job[None](name="child", parent=old):
        assert roots() == (old, young)
    assert roots() == ()


async def test_a_parent_that_starts_later() -> None:
    """A job that ran before its parent is a root only until that runs, too."""
    parent = Job[None](name="parent")
    async with Job[None](name="child", parent=parent, keep_open=True) as child:
        assert roots() == (child,)
        async with parent:
            assert roots() == (parent,)
            assert [each.name for each in snapshot(parent).children] == ["child"]
            child.finish()


async def test_nothing_is_kept_alive() -> None:
    """A job that has ended is gone, whatever was asked about it."""

    class Value:
        pass

    j = Job(Value(), name="gone")
    j.add_task(done)
    async with j:
        text, shot, found = tree(where=True), snapshot(j), roots()
    gc.collect()
    del found, j
    assert not [each for each in gc.get_objects() if type(each) is Value]
    assert (shot.name, text.splitlines()[0].split("'")[1]) == ("gone", "gone")


async def test_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    """It has what there is to know of a job, its tasks and the jobs below it."""

    async def watches(task: Task) -> None:
        task.job.fields["seen"] = math.inf
        async with Job[None](name="child", keep_open=True):
            await trio.sleep(2)
            shots.append(snapshot(j))
        task.finish_job()

    shots: list[JobSnapshot] = []
    j = Job[None](name="parent", fields={"client": "c", "odd": {1}})
    j.add_oneshot_task(done, name="connect")
    j.add_task(watches)
    j.add_task(each_second, idle_timeout=5, policy=StopPolicy.CONTAIN, name="beat")
    await j.run()
    (shot,) = shots
    assert (shot.id, shot.name, shot.state, shot.age, shot.code) == (
        j.id,
        "parent",
        JobState.RECURRENT_RUNNING,
        2,
        None,
    )
    assert shot.fields == {"client": "c", "odd": "{1}", "seen": None}
    assert [(child.name, child.children) for child in shot.children] == [("child", ())]
    assert [(task.index, task.name, task.state) for task in shot.tasks] == [
        (0, "connect", TaskState.FINISHED),
        (1, "watches", TaskState.RUNNING),
        (2, "beat", TaskState.RUNNING),
    ]
    beat = shot.tasks[2]
    assert beat.policy is StopPolicy.CONTAIN
    assert 0 < (beat.idle_left or 0) <= 5
    assert repr(shot) == f"<JobSnapshot of {j.id} 'parent' recurrent running, 1 children>"
    assert json.loads(json.dumps(shot.as_dict(), allow_nan=False))["children"][0]["name"] == "child"


async def test_snapshot_of_a_job_that_does_not_run() -> None:
    """A new job has no age; one that has ended has the age that it came to, and its code."""
    j = Job[None]()
    assert (snapshot(j).age, snapshot(j).state) == (None, JobState.NEW)
    await j.run()
    assert (snapshot(j).age, snapshot(j).code) == (pytest.approx(0, abs=1), "finished")


async def test_idle_time_of_a_busy_task() -> None:
    """Where there is no end in sight JSON has null for it."""

    async def works(task: Task) -> None:
        with task.busy():
            await trio.sleep_forever()

    j = Job[None]()
    j.add_task(works, idle_timeout=1)
    async with j:
        await trio.testing.wait_all_tasks_blocked()
        (task,) = snapshot(j).tasks
    assert (task.idle_left, task.as_dict()["idle_left"]) == (math.inf, None)


def test_snapshot_of_something_else() -> None:
    """What is no job is refused."""
    with pytest.raises(TypeError, match="job must be a Job, got 3"):
        snapshot(3)  # type: ignore[arg-type]


async def test_an_order_out_of_a_repr() -> None:
    """What a value raises that is no Exception comes out, after all is done."""

    class Odd:
        def __repr__(self) -> str:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        snapshot(Job[None](fields={"odd": Odd()}))
    assert gc.isenabled()


async def test_the_collector_is_left_as_it_was() -> None:
    """One that was off stays off."""
    gc.disable()
    try:
        snapshot(Job[None]())
        assert not gc.isenabled()
    finally:
        gc.enable()


async def test_two_thousand_deep() -> None:
    """Jobs may be nested as deep as they like, and the text is still a page."""
    deep = top = Job[None](name="top", keep_open=True)
    jobs = [top]
    for _ in range(2000):
        deep = Job[None](parent=deep, keep_open=True)
        jobs.append(deep)
    async with trio.open_nursery() as nursery:
        for each in jobs:
            nursery.start_soon(each.run)
        await trio.testing.wait_all_tasks_blocked()
        shot, text = snapshot(top), tree()
        made = shot.as_dict()
        top.finish()
    depth = 0
    while shot.children:
        (shot,) = shot.children
        (made,) = made["children"]
        depth += 1
    assert (depth, made["id"]) == (2000, deep.id)
    lines = text.splitlines()
    assert len(lines) == 21
    assert "… 1,981 deeper jobs: 1,981 recurrent running; oldest" in lines[-1]


async def test_tree(autojump_clock: trio.testing.MockClock) -> None:
    """It has a line for each job and task, in place, and no control character."""
    j = Job[None](name="server", keep_open=True)
    j.add_task(forever, name="listen")
    async with j:
        child = Job[None](name="conn \x1b[2J\n", parent=j)
        child.add_task(forever, name="relay")
        async with child:
            await trio.sleep(1.25)
            child.finish(5)
            found = tree()
    assert found.splitlines() == [
        "job 'server' recurrent running, 1.2 s",
        "├─ task 1 'listen' running, 0 steps",
        "└─ job 'conn \\x1b[2J\\n' stopping, 1.2 s, finished",
        "   └─ task 1 'relay' running, 0 steps",
    ]


async def test_tree_says_where() -> None:
    """It says where each task waits, if that is asked for."""
    j = Job[None]()
    j.add_task(forever)
    async with j:
        await trio.testing.wait_all_tasks_blocked()
        assert ", in forever at " in tree(where=True)
        assert ", in forever at " not in tree()


async def test_more_siblings_than_fit(autojump_clock: trio.testing.MockClock) -> None:
    """Of more than `limit` roots, tasks and children the oldest are shown, and one line sums up the others."""
    j = Job[None](name="server", keep_open=True)
    for number in range(30):
        j.add_task(forever, name=f"task {number}")
    jobs = [Job[None](name=f"conn {number}", keep_open=True) for number in range(30)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        for each in jobs:
            await trio.sleep(1)
            nursery.start_soon(each.run)
        for number in range(3):
            child = Job[None](name=f"child {number}", parent=j, keep_open=True)
            nursery.start_soon(child.run)
        await trio.sleep(1)
        text = tree(limit=2)
        j.finish()
        for each in jobs:
            each.finish()
    assert text.splitlines() == [
        "job 'server' recurrent running, 31.0 s",
        "├─ task 1 'task 0' running, 0 steps",
        "├─ task 2 'task 1' running, 0 steps",
        "├─ … 28 more tasks: 28 running; oldest 'task 2', youngest 'task 29'",
        "├─ job 'child 0' recurrent running, 1.0 s",
        "├─ job 'child 1' recurrent running, 1.0 s",
        "└─ … 1 more jobs: 1 recurrent running; oldest 1.0 s, youngest 1.0 s",
        "job 'conn 0' recurrent running, 30.0 s",
        "… 29 more jobs: 29 recurrent running; oldest 29.0 s, youngest 1.0 s",
    ]


def test_tree_of_new_jobs() -> None:
    """Jobs that do not run have no age; a name that never ends is cut."""
    jobs = [Job[None](name="x" * 1000), Job[None](name="second")]
    assert tree(jobs=jobs, limit=1).splitlines() == [f"job '{'x' * 200}…' new", "… 1 more jobs: 1 new"]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"limit": 0}, ValueError, "limit must be 1 or more, got 0"),
        ({"limit": "1"}, TypeError, "limit must be a whole number"),
        ({"jobs": [3]}, TypeError, "each of jobs must be a Job, got 3"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    """A wrong argument is named."""
    with pytest.raises(error, match=message):
        tree(**wrong)


async def each_moment(task: Task) -> None:
    """Take three steps, soon."""
    await trio.sleep(0.001)
    if task.steps > 3:
        task.done()
    else:
        task.tick()


async def connection() -> None:
    """Run a short job with fields."""
    j = Job[None](name="conn", fields={"client": "c"})
    j.add_oneshot_task(done)
    j.add_task(each_moment)
    await j.run()


def test_from_a_thread_while_jobs_come_and_go() -> None:
    """Another thread may ask at any time; it never sees an error."""
    over = threading.Event()
    faults: list[BaseException] = []

    def look() -> None:
        while not over.is_set():
            try:
                tree(where=True)
                for each in roots():
                    snapshot(each).as_dict()
            except BaseException as error:
                faults.append(error)

    async def main() -> None:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(connection)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        trio.run(main)
    finally:
        over.set()
        looker.join()
    assert faults == []


def test_in_a_thread() -> None:
    """A task that waits for a thread waits where it handed the work over; asked from another thread, too."""
    leave, found = threading.Event(), []

    async def works(task: Task) -> None:
        await trio.to_thread.run_sync(leave.wait)
        task.done()

    j = Job[None]()
    j.add_task(works)

    def look() -> None:
        while not (seen := snapshot(j).tasks[0].where):
            pass
        found.append(seen)
        leave.set()

    looker = threading.Thread(target=look)
    looker.start()
    trio.run(j.run)
    looker.join()
    assert (found[0].file, found[0].function) == (__file__, "works")
