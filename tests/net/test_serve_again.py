"""Like every factory of the toolkit `serve` can be run again: it listens anew. So can `accept_task`, whose client gave up."""

import errno
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import job
from job import net, tasks
from job.testing import MemoryTransport
from tests.net.certificates import client_context, server_context


def echo(stream: net.Stream) -> job.Job[Any]:
    """Return a job that sends one chunk back."""

    async def run(task: job.Task) -> None:
        await stream.send_all(await stream.receive_some())
        task.done()

    j = job.Job[Any](name="conn")
    j.add_task(run)
    return j


async def ask(endpoint: net.Endpoint) -> bytes:
    """Return what the server says to an x."""
    client = net.Endpoint(endpoint.addresses[0], transport=endpoint._options.transport, close_timeout=0.1)
    with trio.fail_after(2):
        async with await client.dial() as stream:
            await stream.send_all(b"x")
            return await stream.receive_some()


class Breaking(trio.abc.Listener[trio.abc.Stream]):
    """A listener that lets in nobody, and breaks after a second."""

    async def accept(self) -> Any:
        """Break."""
        await trio.sleep(1)
        raise OSError(errno.EINVAL, "the listener broke")

    async def aclose(self) -> None:
        """Close."""
        await trio.lowlevel.checkpoint()


class BreaksAtFirst:
    """A network in memory whose first listeners break; a bind in between may fail."""

    def __init__(self, *first: Any) -> None:
        self.network = MemoryTransport()
        self.dial = self.network.dial
        self.first = list(first)

    async def listen(self, address: str) -> Any:
        """Give the next of those that break, then a good one."""
        if self.first and isinstance(self.first[0], Exception):
            raise self.first.pop(0)
        return [self.first.pop(0)] if self.first else await self.network.listen(address)


@pytest.mark.parametrize(
    "again",
    [lambda t: tasks.restart(t, wait=1, max_restarts=5), lambda t: tasks.retry(t, attempts=5, wait=1)],
    ids=["restart", "retry"],
)
@pytest.mark.parametrize("first", [[Breaking()], [Breaking(), OSError(errno.EADDRINUSE, "in use"), Breaking()]])
async def test_listener_that_broke(again: Any, first: list[Any], autojump_clock: MockClock) -> None:
    """After a listener that broke it listens anew, in however many attempts that takes."""
    endpoint = net.Endpoint("server:1", transport=BreaksAtFirst(*first))
    j = job.Job[Any](name="server", quiet=[OSError])
    task = j.add_task(again(net.serve(endpoint, echo)))
    async with j:
        await trio.sleep(20)
        assert await ask(endpoint) == b"x"
        assert task.state is job.TaskState.RUNNING


async def test_budget_of_restarts(autojump_clock: MockClock) -> None:
    """When the restarts are spent the error of the listener stands."""
    endpoint = net.Endpoint("server:1", transport=BreaksAtFirst(Breaking(), Breaking(), Breaking()))
    j = job.Job[Any]()
    j.add_task(tasks.restart(net.serve(endpoint, echo), wait=1, max_restarts=2))
    with pytest.raises(OSError, match="the listener broke"):
        await j.run()
    assert endpoint.addresses == ()


@pytest.fixture
def harmless() -> Iterator[None]:
    """Let the signal do nothing where the server does not listen for it."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix:{}/s"])
async def test_reload(address: str, harmless: None, tmp_path: Any) -> None:
    """After each signal it listens again, and the connections of before are cut."""
    endpoint = net.Endpoint(address.format(tmp_path), close_timeout=0.1)
    async with job.Job[Any](name="server") as j:
        task = j.add_task(tasks.reload_on_signal(net.serve(endpoint, echo), signal.SIGHUP))
        while not endpoint.addresses:
            await trio.lowlevel.checkpoint()
        for _ in range(2):
            assert await ask(endpoint) == b"x"
            async with await net.Endpoint(endpoint.addresses[0], close_timeout=0.1).dial() as held:
                await wait_all_tasks_blocked(0.01)
                os.kill(os.getpid(), signal.SIGHUP)
                with trio.fail_after(2), pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
                    if not await held.receive_some():
                        raise trio.EndOfChannel
            await wait_all_tasks_blocked(0.01)
        assert await ask(endpoint) == b"x"
        assert task.state is job.TaskState.RUNNING
    assert endpoint.addresses == ()
    assert endpoint.statistics().taken == 0


async def test_reload_and_stop(harmless: None) -> None:
    """A server that was reloaded drains like any other."""
    endpoint = net.Endpoint("127.0.0.1:0", close_timeout=0.1)
    j = job.Job[Any](name="server", grace=2)
    j.add_task(tasks.reload_on_signal(net.serve(endpoint, echo), signal.SIGHUP))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        os.kill(os.getpid(), signal.SIGHUP)
        await wait_all_tasks_blocked(0.05)
        async with await net.Endpoint(endpoint.addresses[0], close_timeout=0.1).dial() as held:
            await wait_all_tasks_blocked(0.01)
            j.finish()
            await wait_all_tasks_blocked(0.01)
            assert endpoint.addresses == ()
            await held.send_all(b"x")
            assert await held.receive_some() == b"x"
    assert j.verdict is not None
    assert j.verdict.code == "finished"


async def test_accept_again_after_a_bad_handshake() -> None:
    """A client that does not get through its handshake gives its place back: the next attempt has one."""
    endpoint = net.Endpoint("127.0.0.1:0", ssl_context=server_context(), limit=1, close_timeout=0.1)
    j = job.Job[net.Stream](keep_open=True)
    j.add_oneshot_task(tasks.retry(endpoint.accept_task, attempts=5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run_in_background, nursery)
        while not endpoint.addresses:
            await trio.lowlevel.checkpoint()
        host, _, port = endpoint.addresses[0].rpartition(":")
        for _ in range(2):
            with socket.create_connection((host, int(port))) as scanner:
                scanner.sendall(b"GET / HTTP/1.0\r\n\r\n")
                scanner.setblocking(False)
                await trio.lowlevel.wait_readable(scanner)
        client = net.Endpoint(endpoint.addresses[0], ssl_context=client_context(), server_hostname="localhost")
        with trio.fail_after(2):
            stream = await client.dial()
            while j.state is not job.JobState.RECURRENT_RUNNING:
                await trio.lowlevel.checkpoint()
        assert endpoint.statistics().taken == 1
        j.finish()
        await stream.aclose()
    assert endpoint.statistics().taken == 0


@pytest.mark.parametrize(
    "again",
    [lambda t: tasks.restart(t, wait=1, max_restarts=5), lambda t: tasks.retry(t, attempts=5, wait=1)],
    ids=["restart", "retry"],
)
async def test_accept_after_a_listener_that_broke(again: Any, autojump_clock: MockClock) -> None:
    """A task that accepts one client listens anew, too."""
    endpoint = net.Endpoint("server:1", transport=BreaksAtFirst(Breaking(), Breaking()))
    j = job.Job[net.Stream](keep_open=True)
    j.add_oneshot_task(again(endpoint.accept_task))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run_in_background, nursery)
        await trio.sleep(20)
        async with await endpoint.dial():
            await wait_all_tasks_blocked()
            assert j.value.inbound
            j.finish()
    assert endpoint.statistics().taken == 0


async def test_accept_without_descriptors(autojump_clock: MockClock) -> None:
    """A listener that found no descriptor for its client is not closed for that: who is in its queue would be reset."""

    class Short(MemoryTransport):
        listened = 0

        async def listen(self, address: str) -> Any:
            self.listened += 1
            [listener] = await super().listen(address)
            return [OnceShort(listener)]

    class OnceShort(trio.abc.Listener[trio.abc.Stream]):
        def __init__(self, listener: Any) -> None:
            self.listener = listener
            self.short = True

        async def accept(self) -> Any:
            if self.short:
                self.short = False
                raise OSError(errno.EMFILE, "Too many open files")
            return await self.listener.accept()

        async def aclose(self) -> None:
            await self.listener.aclose()

    network = Short()
    endpoint = net.Endpoint("server:1", transport=network)
    j = job.Job[net.Stream](keep_open=True)
    j.add_oneshot_task(tasks.retry(endpoint.accept_task, attempts=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run_in_background, nursery)
        await wait_all_tasks_blocked()
        async with await endpoint.dial():
            await wait_all_tasks_blocked()
            assert network.listened == 1
            j.finish()
