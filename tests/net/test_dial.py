"""A dial reaches what answers first, does not depend on other look-ups, and does not talk to itself."""

import errno
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import trio

import job
from job import net, tasks
from job.net._addresses import TcpAddress, parse_address
from job.net._endpoints.dial import Attempt, Race, alternating
from job.net._endpoints.look_up import _limiter
from job.testing import MemoryTransport

ANY = TcpAddress("somewhere", 80)


class Names(trio.abc.HostnameResolver):
    """A resolver with one name, and the socket addresses that it has."""

    def __init__(self, *targets: Any) -> None:
        self.targets = targets

    async def getaddrinfo(self, host: Any, *args: Any, **options: Any) -> Any:
        """Tell the addresses."""
        await trio.lowlevel.checkpoint()
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", target) for target in self.targets]

    async def getnameinfo(self, *args: Any) -> Any:
        """Nobody asks."""
        raise AssertionError(args)


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """Give the socket address of something that listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()


@pytest.fixture
def dead() -> tuple[str, int]:
    """Give a socket address that nobody listens on."""
    with socket.create_server(("127.0.0.2", 0)) as sock:
        return sock.getsockname()  # type: ignore[no-any-return]


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """Give the socket address of a server whose backlog is full: the kernel drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock, ExitStack() as others:
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(sock.getsockname())
        yield sock.getsockname()


# -- several addresses


@pytest.mark.parametrize("first", ["dead", "silent"])
async def test_second_address(first: str, server: tuple[str, int], request: pytest.FixtureRequest) -> None:
    """Where the first address of a name refuses, or keeps silent, the second one is tried."""
    trio.socket.set_custom_hostname_resolver(Names(request.getfixturevalue(first), server))
    with trio.fail_after(2):
        async with await net.Endpoint("somewhere:80").dial() as stream:
            assert stream.peer == f"127.0.0.1:{server[1]}"


async def test_all_refuse(dead: tuple[str, int]) -> None:
    """Where all refuse it is a refusal, which names what was dialed."""
    trio.socket.set_custom_hostname_resolver(Names(dead, ("127.0.0.3", dead[1])))
    with pytest.raises(ConnectionRefusedError, match="somewhere:80"):
        await net.Endpoint("somewhere:80").dial()


def test_error_that_tells() -> None:
    """An address of a family that this machine lacks does not hide why the other one failed."""
    race = Race(ANY)
    lacking, refused = OSError(errno.EADDRNOTAVAIL, "no IPv6"), OSError(errno.ECONNREFUSED, "refused")
    race._errors = [lacking]
    assert race._telling() is lacking
    race._errors = [lacking, refused]
    assert race._telling() is refused


@pytest.mark.parametrize(
    ("families", "order"),
    [([4], [0]), ([4, 4], [0, 1]), ([6, 6, 4, 4], [0, 2, 1, 3]), ([4, 6], [0, 1])],
)
def test_families_alternate(families: list[int], order: list[int]) -> None:
    """The second target is one of the other family, and the rest keep their order."""
    targets: list[Any] = [(family, index) for index, family in enumerate(families)]
    assert [index for _, index in alternating(targets)] == order


async def test_one_winner(server: tuple[str, int]) -> None:
    """Of two that connect at the same moment one is closed: an open socket would be a warning, and that an error here."""
    race = Race(ANY)
    wires = []
    for _ in range(2):
        await race._try((socket.AF_INET, server), trio.Event(), trio.CancelScope())
        wires.append(race._winner)
    assert wires[0] is wires[1] is not None
    wires[0].abandon()


async def test_cancelled_winner(server: tuple[str, int]) -> None:
    """A race that is cancelled in the moment in which it is won leaves no socket open."""
    race = Race(ANY)
    with trio.CancelScope() as scope:
        scope.cancel()
        await race.run([(socket.AF_INET, server)])
    assert race._winner is not None
    assert race._winner.sock.fileno() == -1


async def test_cancelled_race(silent: tuple[str, int]) -> None:
    """A race that is cancelled while all wait leaves no socket open."""
    with trio.move_on_after(0.05) as scope:
        await Race(ANY).run([(socket.AF_INET, silent)])
    assert scope.cancelled_caught


# -- look-ups


async def test_threads_of_their_own(server: tuple[str, int]) -> None:
    """A look-up needs none of the threads that other work may have taken."""
    threads = trio.to_thread.current_default_thread_limiter()
    for _ in range(int(threads.total_tokens)):
        threads.acquire_on_behalf_of_nowait(object())
    with trio.fail_after(2):
        async with await net.Endpoint(f"localhost:{server[1]}").dial():
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]"])
async def test_numbers_need_no_thread(host: str, server: tuple[str, int]) -> None:
    """A number, in whatever form, is dialed though all look-ups hang."""
    with taken_threads(), trio.fail_after(2):
        async with await net.Endpoint(f"{host}:{server[1]}").dial():
            pass


async def test_listening_at_a_number() -> None:
    """To listen at a number needs no thread either."""
    with taken_threads(), trio.fail_after(2):
        async with net.Endpoint("127.0.0.1:0")._binding.listening(), net.Endpoint(":0")._binding.listening():
            pass


def taken_threads() -> ExitStack:
    """Take all threads of the look-ups, for the length of a block."""
    borrowers = [object() for _ in range(int(_limiter().total_tokens))]
    stack = ExitStack()
    for each in borrowers:
        _limiter().acquire_on_behalf_of_nowait(each)
        stack.callback(_limiter().release_on_behalf_of, each)
    return stack


async def test_names_that_hang(monkeypatch: pytest.MonkeyPatch, server: tuple[str, int]) -> None:
    """Forty look-ups that hang do not stop the dial of another name."""
    look_up, answer = socket.getaddrinfo, threading.Event()

    def hanging(host: Any, port: Any, *hints: int) -> Any:
        if "hangs" in str(host) and not hints[-1] & socket.AI_NUMERICHOST:
            answer.wait(5)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(host, port, *hints)

    async def try_to_dial(name: str) -> None:
        with suppress(OSError):
            await net.Endpoint(f"{name}:80", connect_timeout=2).dial()

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(try_to_dial, f"hangs-{number}.invalid")
        try:
            async with await net.Endpoint(f"localhost:{server[1]}", connect_timeout=2).dial():
                pass
        finally:
            answer.set()
            nursery.cancel_scope.cancel()


async def test_look_up_without_descriptors() -> None:
    """That no descriptor is left is told as such, where the resolver says that there is no such name."""
    with pytest.raises(socket.gaierror):
        await net.Endpoint("nobody.invalid:80").dial()  # what a look-up needs once is there
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as caught:
            await net.Endpoint("nobody.invalid:80").dial()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.errno == errno.EMFILE


async def test_name_beyond_ascii() -> None:
    """A name that needs IDNA is looked up by its rules of 2008, as trio does."""
    with pytest.raises(socket.gaierror):
        await net.Endpoint("straße.invalid:80").dial()


# -- a dial to oneself


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_not_itself(host: str) -> None:
    """A socket that was given the dead port it dials as its own would talk to itself; it is refused."""
    with socket.socket() as lost:
        lost.bind(("127.0.0.1", 0))
        port = lost.getsockname()[1]
    begun = Attempt(parse_address(f"{host}:{port}"), socket.AF_INET, (host, port))
    begun._sock.bind(("127.0.0.1", port))
    with pytest.raises(ConnectionRefusedError, match=str(port)):
        await begun.wait()


async def test_not_itself_over_a_transport() -> None:
    """The same for a socket that a transport hands in."""

    class Narcissus:
        async def dial(self, address: str) -> Any:
            sock = trio.socket.socket()
            await sock.bind(("127.0.0.1", 0))
            await sock.connect(sock.getsockname())
            return trio.SocketStream(sock)

        async def listen(self, address: str) -> Any:
            raise AssertionError(address)

    with pytest.raises(ConnectionRefusedError, match="pond"):
        await net.Endpoint("pond:1", transport=Narcissus()).dial()


async def test_same_port_elsewhere() -> None:
    """Two ends with one port number at two addresses are two ends."""
    with socket.socket() as far:
        far.bind(("127.0.0.2", 0))
        far.listen()
        port = far.getsockname()[1]
        begun = Attempt(parse_address(f"127.0.0.2:{port}"), socket.AF_INET, ("127.0.0.2", port))
        begun._sock.bind(("127.0.0.3", port))
        (await begun.wait()).abandon()


# -- what may be dialed


def only_port_80(ip: Any, port: int) -> bool:
    """Permit one port."""
    return port == 80


def not_here(ip: Any, port: int) -> bool:
    """Permit other machines."""
    return not ip.is_loopback


@pytest.mark.parametrize(
    ("allow", "host"),
    [
        (["10.0.0.0/8"], "127.0.0.1"),
        (["10.0.0.0/8"], "localhost"),
        ([], "127.0.0.1"),
        (["::/0"], "[::ffff:127.0.0.1]"),  # in truth an IPv4 address
        (only_port_80, "127.0.0.1"),
        (only_port_80, "localhost"),
        (only_port_80, "127.1"),
        (not_here, "0.0.0.0"),  # all of these are this machine
        (not_here, "[::]"),
        (not_here, "[::ffff:0.0.0.0]"),
        (not_here, "0"),
    ],
)
async def test_refused_by_allow(allow: Any, host: str, server: tuple[str, int]) -> None:
    """An address that `allow` does not permit is not dialed, by number nor by name."""
    endpoint = net.Endpoint(f"{host}:{server[1]}", allow=allow)
    with pytest.raises(PermissionError, match=f":{server[1]}") as caught:
        await endpoint.dial()
    assert caught.value.errno == errno.EACCES
    assert endpoint.statistics().dial_failures == 1


@pytest.mark.parametrize("allow", [["10.0.0.0/8", "127.0.0.0/8"], lambda ip, port: ip.is_loopback, None])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
async def test_allowed(allow: Any, host: str, server: tuple[str, int]) -> None:
    """What it permits is dialed."""
    async with await net.Endpoint(f"{host}:{server[1]}", allow=allow).dial():
        pass


async def test_partly_allowed(server: tuple[str, int], dead: tuple[str, int]) -> None:
    """Of a name with several addresses only those that are permitted are tried."""
    trio.socket.set_custom_hostname_resolver(Names(dead, server))
    async with await net.Endpoint("somewhere:80", allow=["127.0.0.1/32"]).dial() as stream:
        assert stream.peer == f"127.0.0.1:{server[1]}"
    with pytest.raises(ConnectionRefusedError):
        await net.Endpoint("somewhere:80", allow=["127.0.0.2/32"]).dial()


@pytest.mark.parametrize("allow", [["0.0.0.0/0", "::/0"], lambda ip, port: True])
async def test_allow_and_unix_sockets(allow: Any, tmp_path: Any) -> None:
    """A unix socket has no IP address that could be permitted: a client who can name one does not get to it."""
    with socket.socket(socket.AF_UNIX) as docker:
        docker.bind(f"{tmp_path}/s")
        docker.listen()
        with pytest.raises(PermissionError, match="unix:"):
            await net.Endpoint("10.0.0.1:80", allow=allow).dial(f"unix:{tmp_path}/s")
        async with await net.Endpoint(f"unix:{tmp_path}/s").dial():
            pass


async def test_allow_and_transports(autojump_clock: trio.testing.MockClock) -> None:
    """A transport's own names have no address to ask about; a number that it is to dial has."""
    network = MemoryTransport()
    for name in ("server:1", "10.0.0.1:1"):
        await network.listen(name)
    endpoint = net.Endpoint("server:1", transport=network, allow=["192.0.2.0/24"])
    async with await endpoint.dial():
        pass
    with pytest.raises(PermissionError):
        await endpoint.dial("10.0.0.1:1")


@pytest.mark.parametrize("allow", ["10.0.0.0/8", 5, [10], b"x"])
def test_allow_of_a_wrong_type(allow: Any) -> None:
    """What is neither a function nor networks is refused, and named."""
    with pytest.raises(TypeError, match="allow must"):
        net.Endpoint("a:1", allow=allow)


def test_async_allow() -> None:
    """A coroutine is always true, so an async function would permit everything."""

    async def allow(ip: Any, port: int) -> bool:
        return False

    with pytest.raises(TypeError, match="allow must be a plain function"):
        net.Endpoint("a:1", allow=allow)


def test_allow_of_no_network() -> None:
    """A network with bits of a host in it is most likely not what was meant."""
    with pytest.raises(ValueError, match=r"allow must hold networks.*'10\.0\.0\.1/8'"):
        net.Endpoint("a:1", allow=["10.0.0.1/8"])


# -- from a task of one's own


class Oneshot:
    """A oneshot that learns late where to go."""

    def __init__(self, endpoint: net.Endpoint, address: str | None = None) -> None:
        self.endpoint = endpoint
        self.address = address
        self.closed_in_finalize: bool | None = None

    async def run(self, task: job.Task) -> None:
        """Connect."""
        stream = await self.endpoint.connect(task, self.address)
        assert task.job.value is stream
        task.done()

    def finalize(self, task: job.Task) -> None:
        """Look whether the stream can still be used."""
        stream = task.job.value
        self.closed_in_finalize = None if stream is None else stream.closed


async def test_connect(autojump_clock: trio.testing.MockClock) -> None:
    """It leaves the stream in the job's value, its figures in the fields, and closes it after the finalizer."""
    network = MemoryTransport()
    await network.listen("server:1")
    oneshot = Oneshot(net.Endpoint("nowhere:1", transport=network), "server:1")
    j = job.Job[Any]()
    j.add_oneshot_task(oneshot)
    await j.run()
    assert oneshot.closed_in_finalize is False
    assert j.value.closed
    assert (j.fields["upstream"], j.fields["attempts"], j.fields["connect_time"]) == ("server:1", 1, 0.0)


async def test_connect_again(autojump_clock: trio.testing.MockClock) -> None:
    """Attempts are counted over all calls of a job, and their time is the dials' alone, without the waits of a retry."""
    network = MemoryTransport()

    class Late:
        async def dial(self, address: str) -> Any:
            await trio.sleep(1)
            if trio.current_time() - start > 20:
                await network.listen(address)
            return await network.dial(address)

        listen = network.listen

    start = trio.current_time()
    j = job.Job[Any]()
    j.add_oneshot_task(tasks.retry(Oneshot(net.Endpoint("server:1", transport=Late())), attempts=5, wait=10))
    await j.run()
    assert (j.fields["upstream"], j.fields["attempts"], j.fields["connect_time"]) == ("server:1", 3, 3.0)


async def test_connect_for_another_task(autojump_clock: trio.testing.MockClock) -> None:
    """From a foreign trio task, which could not close it, the call is refused and leaves no stream open."""
    network = MemoryTransport()
    await network.listen("server:1")
    endpoint = net.Endpoint("server:1", transport=network)
    task = job.Job[Any]().add_oneshot_task(endpoint.connect_task)
    with pytest.raises(job.JobStateError, match="outside of the task's own trio task"):
        await endpoint.connect(task)
    assert endpoint.statistics().outbound == 0
    with pytest.raises(TypeError, match="task must be a Task, got None"):
        await endpoint.connect(None)  # type: ignore[arg-type]
