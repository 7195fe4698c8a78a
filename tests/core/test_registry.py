"""What the core knows of what lives: running jobs, and whatever has announced figures."""

import gc
import math
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from job import Job, Task
from job._core.registry import Figure, _sources, announce_figures, copied, running_heads, sources, withdraw_figures
from job.net import Endpoint, serve
from job.net._endpoints.figures import endpoint_figures
from job.net.balancer import Balancer, Upstream
from tests.journal import done, failing, forever, lasting


async def test_ready_after_the_inits(autojump_clock: trio.testing.MockClock) -> None:
    """The oneshot's end is not enough: every init has to pass."""
    seen = []

    def slow(j: Job[None]) -> tuple[object, object, None]:
        async def init(task: Task) -> None:
            seen.append(task.job.ready)
            await trio.sleep(1)
            seen.append(task.job.ready)

        async def run(task: Task) -> None:
            seen.append(task.job.ready)
            task.done()

        return init, run, None

    j = Job[None]()
    j.add_oneshot_task(done)
    j.add_task(slow)  # type: ignore[arg-type]
    seen.append(j.ready)
    await j.run()
    assert (seen, j.ready) == ([False, False, False, True], True)


async def test_never_ready() -> None:
    """A job whose init fails never is."""
    j = Job[None]()
    j.add_task(lambda j: (failing(OSError()), done, None))
    with pytest.raises(OSError):
        await j.run()
    assert not j.ready


async def test_code_while_it_stops(autojump_clock: trio.testing.MockClock) -> None:
    """The code is there as soon as something has asked the job to end, and is then the verdict's."""
    codes = []

    async def stop(task: Task) -> None:
        codes.append(task.job.code)
        task.job.finish(5)
        codes.append(task.job.code)
        task.job.cancel(OSError())
        codes.append(task.job.code)
        task.done()

    j = Job[None]()
    j.add_task(stop)
    j.add_task(forever)
    with pytest.raises(OSError):
        await j.run()
    assert j.verdict is not None
    assert (codes, j.code) == ([None, "finished", "cancel"], j.verdict.code)


async def test_code_of_a_cut(autojump_clock: trio.testing.MockClock) -> None:
    """A task that the finish had to cut is in the code at once."""
    codes = []

    def stuck(j: Job[None]) -> tuple[object, object, object]:
        async def finalize(task: Task) -> None:
            codes.append(task.job.code)

        return None, forever, finalize

    j = Job[None]()
    j.add_task(stuck)  # type: ignore[arg-type]
    j.add_task(lasting(1, Task.finish_job))
    await j.run()
    assert codes == ["finished-cut@stuck:run"] == [j.code]


async def test_heads() -> None:
    """A job without a running parent is found while it runs, a child of one that runs is not."""
    seen = []

    async def look(task: Task) -> None:
        async with Job[None](name="child", keep_open=True):
            seen.append([job.name for job in running_heads()])
        task.done()

    j = Job[None](name="head", parent=None)
    j.add_task(look)
    await j.run()
    assert (seen, running_heads()) == ([["head"]], ())


async def test_a_parent_that_does_not_run() -> None:
    """A job runs by itself where its parent is new."""
    parent = Job[None](name="new")
    async with Job[None](name="child", parent=parent) as child:
        assert running_heads() == (child,)
    assert running_heads() == ()


async def test_a_child_in_another_trio_run() -> None:
    """A child that runs in another trio run when its parent starts is one no longer, and is found by itself."""
    parent = Job[None](name="parent")
    child = Job[None](name="child", keep_open=True, parent=parent)
    started, over = threading.Event(), threading.Event()

    async def run() -> None:
        async with child:
            started.set()
            await trio.to_thread.run_sync(over.wait)

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    await trio.to_thread.run_sync(started.wait)
    async with parent:
        assert set(running_heads()) == {parent, child}
    over.set()
    await trio.to_thread.run_sync(thread.join)
    assert running_heads() == ()


async def test_figures_of_an_endpoint() -> None:
    """A bound endpoint shows its statistics under the address that it is bound to; one that is not, nothing."""
    endpoint = Endpoint("127.0.0.1:0", limit=7)
    assert figures_of(endpoint) == {}
    server = Job[None](keep_open=True)
    server.add_task(serve(endpoint, lambda stream: Job()))
    async with server:
        shown = figures_of(endpoint)
        (address,) = endpoint.addresses
    assert shown["endpoint_limit"] == Figure("endpoint_limit", 7, (("endpoint", address),), "gauge", "Endpoint: limit.")
    assert (shown["endpoint_accepted"].value, shown["endpoint_accepted"].kind) == (0, "counter")


def test_no_limit() -> None:
    """What is not there is no figure."""

    class Bound:
        addresses = ("unix:x",)
        statistics = Endpoint("127.0.0.1:0").statistics

    assert "endpoint_limit" not in {figure.name for figure in endpoint_figures(Bound())}  # type: ignore[arg-type]


def test_figures_of_a_balancer() -> None:
    """It shows each upstream."""
    balancer = Balancer([Upstream("127.0.0.1:1")])
    shown = figures_of(balancer)
    assert {name: figure.value for name, figure in shown.items()} == {
        "upstream_up": True,
        "upstream_active": 0,
        "upstream_ejected": False,
    }


def test_owners_are_held_weakly() -> None:
    """What has announced figures dies as it would without."""

    class Owner:
        pass

    owner = Owner()
    announce_figures(owner, lambda _: ())
    assert owner in [source.owner for source in sources()]
    del owner
    gc.collect()
    assert not [source for source in sources() if type(source.owner) is Owner]


def test_withdrawn() -> None:
    """Figures can be withdrawn, more than once."""

    class Owner:
        pass

    owner = Owner()
    announce_figures(owner, lambda _: ())
    withdraw_figures(owner)
    withdraw_figures(owner)
    assert owner not in [source.owner for source in sources()]


def test_copied_while_it_changes() -> None:
    """A copy that is disturbed is made again; one that always is is empty."""

    class Disturbed(dict[int, int]):
        def __init__(self, times: float) -> None:
            super().__init__({1: 2})
            self.times = times

        def values(self) -> Iterator[int]:  # type: ignore[override]
            self.times -= 1
            if self.times > 0:
                raise RuntimeError("dictionary changed size during iteration")
            return iter([2])

    assert copied(Disturbed(3)) == (2,)
    assert copied(Disturbed(math.inf)) == ()


def figures_of(owner: object) -> dict[str, Figure]:
    """Return the figures of one owner by their names."""
    return {figure.name: figure for each in sources() if each.owner is owner for figure in each.figures(owner)}


def test_owner_that_dies_while_its_figures_are_read() -> None:
    """Where it had withdrawn them meanwhile there is nothing to forget."""

    class Owner: ...

    owner = Owner()
    announce_figures(owner, lambda each: [])
    reading = copied(_sources)
    withdraw_figures(owner)
    found = reading[-1][0]
    del owner
    gc.collect()
    assert found() is None
    assert found not in [each for each, _ in copied(_sources)]
