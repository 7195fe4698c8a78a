"""The two tasks of a balancer: one connects a job, the other keeps an eye on the upstreams."""

import errno
import math
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, memory_stream_pair

import job
from job import tasks
from job.net import Endpoint, EndReason, Stream, end_reason, serve
from job.net._errors import ConnectTimeoutError
from job.net._shortages import is_shortage
from job.net.balancer import Balancer, NoUpstreamError, RoundRobin, Upstream, UpstreamChanged, rendezvous
from job.net.frames import Codec
from job.testing import MemoryTransport, Recorder

MemoryStream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]


class Network:
    """A transport: addresses in `down` refuse, those in `silent` never answer; `ends` are what the servers hold."""

    def __init__(self, *, down: dict[str, Exception] | None = None, silent: tuple[str, ...] = ()) -> None:
        self.down = down or {}
        self.silent = silent
        self.dialed: list[tuple[float, str]] = []
        self.ends: list[MemoryStream] = []

    async def dial(self, address: str) -> MemoryStream:
        """Connect, or not."""
        self.dialed.append((trio.current_time(), address))
        if address in self.silent:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if address in self.down:
            raise self.down[address]
        near, far = memory_stream_pair()
        self.ends.append(far)
        return near

    async def listen(self, address: str) -> Any:
        """Nobody listens here."""
        raise AssertionError(address)

    @property
    def addresses(self) -> list[str]:
        """What was dialed, in order."""
        return [address for _, address in self.dialed]


def balance(network: Network, *addresses: str, **options: Any) -> Balancer:
    """Return a balancer that takes the addresses in turn."""
    upstreams = [Upstream(address, transport=network) for address in addresses]
    return Balancer(upstreams, choose=RoundRobin(), **options)


def connecting(balancer: Balancer, **options: Any) -> job.Job[Any]:
    """Return a job that connects."""
    j = job.Job[Any]()
    j.add_oneshot_task(balancer.connect_task(**options))
    return j


A, B, C = "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")


async def test_connects(autojump_clock: MockClock) -> None:
    """The stream is in the job's value, its place counted until the job has ended, and then it is closed."""
    network = Network()
    balancer = balance(network, A)
    [upstream] = balancer.upstreams
    async with connecting(balancer) as j:
        assert upstream.active == 1
        await j.value.send_all(b"hello")
        assert await network.ends[0].receive_some() == b"hello"
    assert upstream.active == 0
    assert await network.ends[0].receive_some() == b""


def test_names() -> None:
    """The tasks have short names."""
    j, balancer = job.Job[Any](), balance(Network(), A)
    assert j.add_oneshot_task(balancer.connect_task()).name == "connect"
    assert j.add_task(balancer.check_task()).name == "check"


async def test_tries_another(autojump_clock: MockClock) -> None:
    """Where a dial fails the next upstream is tried, and the error reported."""
    network = Network(down={A: REFUSED})
    balancer = balance(network, A, B, fall=1)
    async with connecting(balancer):
        assert network.addresses == [A, B]
        assert [upstream.active for upstream in balancer.upstreams] == [0, 1]
        assert [upstream.healthy for upstream in balancer.upstreams] == [False, True]


async def test_reports_success(autojump_clock: MockClock) -> None:
    """A connection that is made counts for its upstream."""
    balancer = balance(Network(), A, B, fall=2)
    [upstream, _] = balancer.upstreams
    balancer.report(upstream, REFUSED)
    async with connecting(balancer):
        balancer.report(upstream, REFUSED)
    assert upstream.healthy


async def test_never_the_same_twice(autojump_clock: MockClock) -> None:
    """When all that there are have failed, the last dial's error is raised, whatever attempts are left."""
    network = Network(down={A: ConnectionResetError(), B: REFUSED})
    j = connecting(balance(network, A, B), attempts=5)
    with pytest.raises(ConnectionRefusedError) as caught:
        await j.run()
    assert caught.value is REFUSED
    assert network.addresses == [A, B]


async def test_attempts(autojump_clock: MockClock) -> None:
    """No more upstreams are tried than there are attempts."""
    network = Network(down=dict.fromkeys((A, B, C), REFUSED))
    balancer = balance(network, A, B, C)
    with pytest.raises(ConnectionRefusedError):
        await connecting(balancer, attempts=2).run()
    assert network.addresses == [A, B]
    assert [upstream.active for upstream in balancer.upstreams] == [0, 0, 0]


async def test_timeout_of_an_attempt(autojump_clock: MockClock) -> None:
    """The timeout bounds each attempt, not all of them."""
    network = Network(silent=(A, B))
    balancer = balance(network, A, B, fall=1)
    with pytest.raises(ConnectTimeoutError, match=r"10\.0\.0\.2:80: no connection within 5 s"):
        await connecting(balancer, timeout=5).run()
    assert network.dialed == [(0, A), (5, B)]
    assert not balancer.upstreams[0].healthy


async def test_faults_in_a_group(autojump_clock: MockClock) -> None:
    """A transport with a nursery gives the faults of its attempts in a group: where all are a peer's, so is the group."""
    network = Network(down={A: ExceptionGroup("attempts", [REFUSED, ConnectionResetError()])})
    balancer = balance(network, A, B, fall=1)
    async with connecting(balancer):
        assert [upstream.healthy for upstream in balancer.upstreams] == [False, True]


async def test_an_error_that_is_its_own_cause(autojump_clock: MockClock) -> None:
    """`raise error from error` is a slip of the program's, and no reason to look for its cause for ever."""
    slip = OSError("refused")
    slip.__cause__ = slip
    j = connecting(balance(Network(down={A: slip}), A))
    with pytest.raises(OSError, match="refused"):
        await j.run()
    assert end_reason(j) is EndReason.CONNECT_FAILED


async def test_no_candidate(autojump_clock: MockClock) -> None:
    """Without a candidate from the start there is nothing to dial."""
    with pytest.raises(NoUpstreamError):
        await connecting(balance(Network())).run()


async def test_cancelled_while_dialing(autojump_clock: MockClock) -> None:
    """A dial cut short gives its place back and is no error of the upstream."""
    balancer = balance(Network(silent=(A,)), A, fall=1, max_ejected=1)
    [upstream] = balancer.upstreams
    with trio.move_on_after(1):
        await connecting(balancer).run()
    assert (upstream.active, upstream.healthy) == (0, True)


async def test_fault_of_our_own(autojump_clock: MockClock) -> None:
    """What is no peer's fault is neither reported nor tried elsewhere."""
    network = Network(down={A: KeyError("bug")})
    balancer = balance(network, A, B, fall=1)
    with pytest.raises(KeyError):
        await connecting(balancer).run()
    assert network.addresses == [A]
    assert all(upstream.healthy and upstream.active == 0 for upstream in balancer.upstreams)


async def test_shortage_is_not_the_upstreams_fault(autojump_clock: MockClock) -> None:
    """When we have no descriptors left no upstream is blamed, and no other would help."""
    network = Network(down={A: OSError(errno.EMFILE, "too many open files")})
    balancer = balance(network, A, B, fall=1)
    with pytest.raises(OSError, match="too many open files"):
        await connecting(balancer).run()
    assert network.addresses == [A]
    assert balancer.upstreams[0].healthy


async def test_key(autojump_clock: MockClock) -> None:
    """The key goes to the choice."""
    keys = []

    def choose(candidates: Any, key: Any, random: Any) -> Upstream:
        keys.append(key)
        return candidates[0]  # type: ignore[no-any-return]

    await connecting(Balancer([Upstream(A, transport=Network())], choose=choose), key="ada").run()
    assert keys == ["ada"]


@pytest.mark.parametrize(
    ("client", "key"),
    [("10.0.0.9:4711", "10.0.0.9"), ("[::1]:4711", "::1"), ("unix:", "unix:"), (5, None), (None, None)],
)
async def test_key_by_default(client: Any, key: Any, autojump_clock: MockClock) -> None:
    """It is the host of the job's client; a job without one has none."""
    keys = []

    def choose(candidates: Any, key: Any, random: Any) -> Upstream:
        keys.append(key)
        return candidates[0]  # type: ignore[no-any-return]

    balancer = Balancer([Upstream(A, transport=Network())], choose=choose)
    for connect in (connecting, by_hand):
        j = connect(balancer)
        if client is not None:
            j.fields["client"] = client
        await j.run()
    assert keys == [key, key]


async def test_affinity_by_default(autojump_clock: MockClock) -> None:
    """Under `serve` and `rendezvous` the connections of one client, each from a port of its own, have one upstream."""
    network, jobs = MemoryTransport(), []
    for n in range(4):
        await network.listen(f"back{n}:80")
    upstreams = [Upstream(f"back{n}:80", transport=network, close_timeout=1) for n in range(4)]
    balancer = Balancer(upstreams, choose=rendezvous)

    def connection(client: Stream) -> job.Job[Any]:
        jobs.append((client.peer, j := job.Job[Any]()))
        j.add_oneshot_task(balancer.connect_task())
        return j

    async with job.Job[None]() as server:
        server.add_task(serve(inbound := Endpoint("front:1", transport=network, close_timeout=1), connection))
        while not inbound.addresses:
            await trio.lowlevel.checkpoint()
        for _ in range(6):
            await (await inbound.dial()).aclose()
        while len(jobs) < 6:
            await trio.lowlevel.checkpoint()
        for _, j in jobs:
            await j.wait()
    assert len({peer for peer, _ in jobs}) == 6
    assert len({j.fields["upstream"] for _, j in jobs}) == 1


@pytest.mark.parametrize(
    ("method", "option", "value", "error"),
    [
        ("connect_task", "attempts", 0, ValueError),
        ("connect_task", "timeout", 0, ValueError),
        ("check_task", "interval", 0, ValueError),
        ("check_task", "timeout", "1", TypeError),
        ("check_task", "probe", 5, TypeError),
    ],
)
def test_options_are_checked(method: str, option: str, value: Any, error: type[Exception]) -> None:
    """A wrong option is refused at the call, and named."""
    with pytest.raises(error, match=f"{option} must be .*, got {value!r}"):
        getattr(balance(Network()), method)(**{option: value})


async def checked(balancer: Balancer, seconds: float, **options: Any) -> job.Job[Any]:
    """Run a check task for a while, up to a graceful end."""
    j = job.Job[Any](grace=math.inf)
    j.add_task(balancer.check_task(**options))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(seconds)
        j.finish()
    return j


async def test_checks_all_at_once_on_a_grid(autojump_clock: MockClock) -> None:
    """All upstreams are probed at once, at the start and at each point of the grid; connections are closed again."""
    network = Network()
    await checked(balance(network, A, B), 5, interval=2)
    assert sorted(network.dialed) == [(0, A), (0, B), (2, A), (2, B), (4, A), (4, B)]
    assert [await end.receive_some() for end in network.ends] == [b""] * 6


async def test_first_check_is_at_the_start_of_the_loop(autojump_clock: MockClock) -> None:
    """However long the inits after its own take, the first probe does not wait for another point."""
    network = Network()

    async def slow_init(task: job.Task) -> None:
        await trio.sleep(0.5)

    j = job.Job[Any]()
    j.add_task(balance(network, A).check_task(interval=2))
    j.add_task(lambda j: job.Routines(slow_init))
    with trio.move_on_after(3):
        await j.run()
    assert network.dialed == [(0.5, A), (2.5, A)]


async def test_check_takes_out_and_lets_in(autojump_clock: MockClock) -> None:
    """What refuses is taken out, all of them if it must be, and comes back when it answers."""
    network = Network(down=dict.fromkeys((A, B), REFUSED))
    balancer = balance(network, A, B, fall=2, rise=2)
    await checked(balancer, 3, interval=2)
    assert balancer.pick() is None
    network.down = {}
    await checked(balancer, 3, interval=2)
    assert balancer.pick() is not None


async def test_check_times_out(autojump_clock: MockClock) -> None:
    """What does not answer is taken out; points that pass meanwhile are skipped."""
    network = Network(silent=(A,))
    balancer = balance(network, A, fall=2)
    await checked(balancer, 10, interval=2, timeout=3)
    assert [at for at, _ in network.dialed] == [0, 4, 8]
    assert not balancer.upstreams[0].healthy


async def test_check_stops_at_once(autojump_clock: MockClock) -> None:
    """A probe under way when the job is to stop is abandoned, and says nothing of its upstream."""
    balancer = balance(Network(silent=(A,)), A, fall=1)
    j = await checked(balancer, 0.5)
    assert j.state is job.JobState.DONE
    assert trio.current_time() == 0.5
    assert balancer.upstreams[0].healthy


async def test_probe_of_ones_own(autojump_clock: MockClock) -> None:
    """Another probe may look closer than a connection does."""
    seen = []

    async def probe(upstream: Upstream) -> None:
        seen.append(upstream)
        raise REFUSED

    balancer = balance(Network(), A, fall=1)
    await checked(balancer, 1, probe=probe)
    assert seen == list(balancer.upstreams)
    assert not balancer.upstreams[0].healthy


async def test_probe_with_a_fault_of_our_own(autojump_clock: MockClock) -> None:
    """A probe that fails for no peer's fault counts, and is logged, as it may be a bug."""
    lines = []

    async def probe(upstream: Upstream) -> None:
        raise KeyError("bug")

    balancer = balance(Network(), A, fall=1)
    j = job.Job[Any](grace=math.inf)
    j.register_logger({0: lambda event, fields: lines.append((event, fields.get("error")))})
    j.add_task(balancer.check_task(probe=probe))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.finish()
    assert lines == [("probe.failed", "KeyError('bug')"), ("upstream.down", "KeyError('bug')")]
    assert not balancer.upstreams[0].healthy


async def test_check_tells_who_goes_out_and_comes_back(autojump_clock: MockClock) -> None:
    """Each change is one line of the checking task, at the end of the round that finds it."""
    lines = []

    async def probe(upstream: Upstream) -> None:
        if 2 <= trio.current_time() <= 4:
            raise ConnectionRefusedError

    balancer = balance(Network(), A, fall=1, rise=1)
    j = job.Job[Any](grace=math.inf)
    j.register_logger({0: lambda event, fields: lines.append((trio.current_time(), event, fields["upstream"]))})
    j.add_task(balancer.check_task(interval=2, probe=probe))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(9)
        j.finish()
    assert lines == [(2, "upstream.down", A), (6, "upstream.up", A)]


async def test_check_tells_of_an_ejection_by_traffic(autojump_clock: MockClock) -> None:
    """One that is reported from outside of all jobs is told by the task that checks, at once and with its error."""
    lines = []

    async def probe(upstream: Upstream) -> None:
        """Find nothing wrong."""

    balancer = balance(Network(), A, fall=1, rise=2, max_ejected=1)
    recorder = Recorder()
    j = job.Job[Any](grace=math.inf, observers=[recorder])
    j.register_logger({0: lambda event, fields: lines.append((event, fields["task"], fields["error"]))})
    j.add_task(balancer.check_task(interval=2, probe=probe))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        balancer.report(balancer.upstreams[0], ConnectionResetError())
        assert lines == [("upstream.down", "check", "ConnectionResetError()")]
        assert [change.at for change in recorder.of(UpstreamChanged)] == [1]
        await trio.sleep(2)
        j.finish()
    assert len(lines) == 1


async def test_checked_twice(autojump_clock: MockClock) -> None:
    """Of two tasks that check the one that is left goes on telling."""
    lines = []
    balancer = balance(Network(), A, fall=1, max_ejected=1)
    async with trio.open_nursery() as nursery:
        for name in ("one", "other"):
            j = job.Job[Any](name=name, grace=math.inf)
            j.register_logger({0: lambda event, fields: lines.append((event, fields["job"]))})
            j.add_task(balancer.check_task())
            await j.run_in_background(nursery)
            if name == "one":
                nursery.start_soon(finish_after, j, 0.5)
        await trio.sleep(1)
        balancer.report(balancer.upstreams[0], REFUSED)
        j.finish()
    assert lines == [("upstream.down", "other")]


async def finish_after(j: job.Job[Any], seconds: float) -> None:
    """Let a job run for a while."""
    await trio.sleep(seconds)
    j.finish()


async def test_default_probe_leaves_the_pool_alone(autojump_clock: MockClock) -> None:
    """It makes a connection of its own, and closes it; those that are kept, though alive, tell nothing of who accepts."""
    upstream = Upstream(A, transport=Network(), codec=Codec(), max_idle=2)
    for stream in [await upstream.endpoint.dial() for _ in range(2)]:
        await stream.release()
    await checked(Balancer([upstream]), 3, interval=2)
    told = upstream.endpoint.statistics()
    assert (told.idle, told.dialed, told.outbound) == (2, 4, 0)


async def test_probe_whose_faults_are_in_a_group(autojump_clock: MockClock) -> None:
    """A probe with a nursery gives its faults in a group; where all are a peer's, so is the group."""
    lines = []

    async def probe(upstream: Upstream) -> None:
        raise ExceptionGroup("both", [REFUSED, ExceptionGroup("inner", [ConnectionResetError()])])

    balancer = balance(Network(), A, fall=1)
    j = job.Job[Any](grace=math.inf)
    j.register_logger({0: lambda event, fields: lines.append(event)})
    j.add_task(balancer.check_task(probe=probe))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        nursery.start_soon(finish_after, j, 1)
    assert lines == ["upstream.down"]


async def test_probe_with_an_error_without_a_repr(autojump_clock: MockClock) -> None:
    """An error that cannot be printed counts as any other, and the task goes on."""

    class MuteError(Exception):
        """One that fails when it is printed."""

        def __repr__(self) -> str:
            raise ZeroDivisionError

        __str__ = __repr__

    async def probe(upstream: Upstream) -> None:
        raise MuteError

    lines = []
    balancer = balance(Network(), A, fall=1)
    j = job.Job[Any](grace=math.inf)
    j.register_logger({0: lambda event, fields: lines.append((event, fields["error"]))})
    j.add_task(balancer.check_task(interval=1, probe=probe))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        nursery.start_soon(finish_after, j, 1.5)
    text = "<MuteError, whose repr raised ZeroDivisionError>"
    assert lines == [("probe.failed", text), ("upstream.down", text), ("probe.failed", text)]


async def test_probe_that_does_not_hear_its_timeout(autojump_clock: MockClock) -> None:
    """One in a thread, or in a shield, that comes back too late has failed, whatever it says."""

    async def probe(upstream: Upstream) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)

    balancer = balance(Network(), A, fall=1)
    await checked(balancer, 1.9, timeout=1, probe=probe)
    assert not balancer.upstreams[0].healthy


@pytest.mark.parametrize("order", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
async def test_probe_that_is_an_order(order: BaseException, autojump_clock: MockClock) -> None:
    """What is no Exception comes out of the job as itself, in no group; it says nothing of the upstream."""

    async def probe(upstream: Upstream) -> None:
        if upstream.address == A:
            raise order
        await trio.sleep_forever()

    balancer = balance(Network(), A, B, fall=1)
    j = job.Job[Any]()
    j.add_task(balancer.check_task(probe=probe))
    with pytest.raises(type(order)) as caught:
        await j.run()
    assert caught.value is order
    assert all(upstream.healthy for upstream in balancer.upstreams)


async def test_probe_that_is_cut_and_fails(autojump_clock: MockClock) -> None:
    """An abandoned probe that raises beside its cancellation fails as any run does, and leaks no Cancelled."""

    async def breaks() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit(3)

    async def probe(upstream: Upstream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(breaks)
            nursery.start_soon(trio.sleep_forever)

    j = job.Job[Any](grace=5)
    j.add_task(balance(Network(), A).check_task(probe=probe))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finish_after, j, 0.5)
        with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
            await j.run()


async def connect_by_hand(task: job.Task, balancer: Balancer, **options: Any) -> None:
    """Be the run of a oneshot that learns late where to go."""
    stream = await balancer.connect(task, **options)
    assert task.job.value is stream
    task.done()


def by_hand(balancer: Balancer, **options: Any) -> job.Job[Any]:
    """Return a job that connects by hand."""
    j = job.Job[Any]()
    j.add_oneshot_task(partial(connect_by_hand, balancer=balancer, **options))
    return j


async def test_connects_by_hand(autojump_clock: MockClock) -> None:
    """`connect` does what `connect_task` does: tries another, fills in the fields, holds the place, closes at the end."""
    network = Network(down={A: REFUSED})
    balancer = balance(network, A, B, fall=1)
    async with by_hand(balancer) as j:
        assert [upstream.active for upstream in balancer.upstreams] == [0, 1]
        assert [upstream.healthy for upstream in balancer.upstreams] == [False, True]
        assert (j.fields["upstream"], j.fields["attempts"]) == (B, 2)
    assert [upstream.active for upstream in balancer.upstreams] == [0, 0]
    assert await network.ends[0].receive_some() == b""


async def test_connects_by_hand_again_and_again(autojump_clock: MockClock) -> None:
    """Under `retry` the attempts of all tries are counted, and a try that failed holds nothing."""
    network = Network(down={A: REFUSED})
    balancer = balance(network, A)
    j = job.Job[Any]()
    j.add_oneshot_task(tasks.retry(partial(connect_by_hand, balancer=balancer), attempts=3, wait=1))
    with pytest.raises(ConnectionRefusedError):
        await j.run()
    assert (j.fields["attempts"], balancer.upstreams[0].active) == (3, 0)


async def test_connect_by_hand_holds_nothing_where_it_may_not_enter(autojump_clock: MockClock) -> None:
    """Called from another trio task it is refused; the connection that was made is closed, its place given back."""
    network = Network()
    balancer = balance(network, A)

    async def run(task: job.Task) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(connect_by_hand, balancer=balancer), task)

    j = job.Job[Any]()
    j.add_oneshot_task(run)
    with pytest.RaisesGroup(job.JobStateError):
        await j.run()
    assert balancer.upstreams[0].active == 0
    assert j.value is None
    with pytest.raises(trio.BrokenResourceError):
        await network.ends[0].send_all(b"x")


@pytest.mark.parametrize(
    ("options", "error"), [({"attempts": 0}, ValueError), ({"timeout": -1}, ValueError), ({"timeout": "1"}, TypeError)]
)
async def test_connect_by_hand_checks(options: Any, error: type[Exception], autojump_clock: MockClock) -> None:
    """Wrong options are refused at the call, and what is no task."""
    with pytest.raises(error, match=f"{next(iter(options))} must be"):
        await by_hand(balance(Network(), A), **options).run()
    with pytest.raises(TypeError, match="task must be a Task, got None"):
        await balance(Network(), A).connect(None)  # type: ignore[arg-type]


class Ordering:
    """An observer that raises what is no Exception as soon as an upstream's health changes."""

    def on_event(self, event: object) -> None:
        """Raise."""
        if isinstance(event, UpstreamChanged):
            raise SystemExit(3)


@pytest.mark.parametrize("connect", [connecting, by_hand])
@pytest.mark.parametrize("down", [(), (A,)], ids=["comes in", "goes out"])
async def test_nothing_is_held_after_an_order(connect: Any, down: Any, autojump_clock: MockClock) -> None:
    """An observer that exits the program in the middle of a report leaves no place taken and no connection open."""
    network = Network(down=dict.fromkeys(down, REFUSED))
    balancer = balance(network, A, fall=1, rise=1, max_ejected=1, eject_for=1)
    [upstream] = balancer.upstreams
    if not down:
        balancer.report(upstream, REFUSED)
        await trio.sleep(1)
    j = connect(balancer)
    unregister = job.register_observer(Ordering())
    try:
        with pytest.raises(SystemExit):
            await j.run()
    finally:
        unregister()
    assert upstream.active == 0
    assert [await end.receive_some() for end in network.ends] == [b""] * len(network.ends)


async def test_check_without_descriptors(autojump_clock: MockClock) -> None:
    """A shortage of our own takes no upstream out."""
    balancer = balance(Network(down={A: OSError(errno.EMFILE, "too many open files")}), A, fall=1)
    await checked(balancer, 3)
    assert balancer.upstreams[0].healthy


def test_shortage() -> None:
    """A shortage is found where trio hides it, and not where only part of the attempts met one."""
    short, plain = OSError(errno.EMFILE, "too many open files"), OSError(errno.ECONNREFUSED, "refused")
    outer = OSError("all attempts to connect failed")
    outer.__cause__ = ExceptionGroup("attempts", [short, short])
    assert is_shortage(outer)
    outer.__cause__ = ExceptionGroup("attempts", [short, plain])
    assert not is_shortage(outer)
    assert not is_shortage(ConnectTimeoutError())
