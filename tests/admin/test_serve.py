"""What the window answers, on real sockets."""

import gc
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
import trio.lowlevel
import trio.testing
from prometheus_client import CollectorRegistry, Gauge

import job
from job import Job, JobEnded, JobState, Task
from job.admin import serve
from job.admin._events import Events, _about_connection
from job.admin._ready import is_ready, named_checks
from job.admin._serve import _Quiet
from job.instrumentation import Metrics, roots, tree
from job.net import Endpoint, Stream
from job.net import serve as serve_clients
from job.net.balancer import Balancer, Upstream
from job.testing import Recorder
from tests.admin.asking import Reply, ask, connect, read, window
from tests.journal import failing, forever


async def test_livez() -> None:
    """It is alive while the loop turns."""
    async with window() as address:
        reply = await ask(address, "/livez")
    assert (reply.status, reply.body) == (200, b"alive\n")
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_ready() -> None:
    """It is ready when the job and all checks are."""
    checks: dict[str, bool] = {"cache": True}

    def cache() -> bool:
        return checks["cache"]

    async with window(ready=[cache, lambda: 1, lambda: 1]) as address:
        reply = await ask(address, "/readyz")
        assert (reply.status, reply.json) == (
            200,
            {"ready": True, "checks": {"cache": True, "<lambda>": True, "<lambda>-3": True}},
        )
        del checks["cache"]
        reply = await ask(address, "/readyz")
        assert (reply.status, reply.json["ready"], reply.json["checks"]["cache"]) == (503, False, False)


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not true():  # noqa: ASYNC110 - nothing tells of it
        await trio.sleep(0.001)


async def test_not_ready_while_it_starts_and_stops() -> None:
    """It is not ready before the oneshot is done and the inits have passed, and from the moment of a stop."""
    go, seen = trio.Event(), []
    j = Job[None](name="root", grace=5)
    task = None

    async def slow(task: Task) -> None:
        await go.wait()

    async def works(task: Task) -> None:
        await task.job.wait_stopping()
        seen.append(await ask(address, "/readyz"))
        task.done()

    task = j.add_task(serve("127.0.0.1:0", ready={"always": lambda: True}))
    j.add_task(lambda _: (slow, works, None))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(j.run)
        with trio.fail_after(10):
            await until(lambda: task.result is not None)
            (address,) = task.result
            seen.append(await ask(address, "/readyz"))
            go.set()
            await until(lambda: j.ready)
            seen.append(await ask(address, "/readyz"))
            j.finish()
    assert [reply.status for reply in seen] == [503, 200, 503]
    assert j.state is JobState.DONE


async def test_it_answers_until_the_finalizers_have_come_to_it() -> None:
    """A cancelled job is seen to its end: the window closes last, as it was added first."""
    seen: list[Reply] = []
    j = Job[None](name="root")
    task = j.add_task(serve("127.0.0.1:0"))

    async def finalize(_: Task) -> None:
        seen.append(await ask(task.result[0], "/jobs"))

    j.add_task(lambda _: (None, forever, finalize))
    j.add_task(failing(OSError(), after=0.01))
    with pytest.raises(OSError):
        await j.run()
    assert b"job 'root' finalizing" in seen[0].body
    with pytest.raises(OSError):
        await connect(task.result[0])


async def test_jobs() -> None:
    """The tree, with the place where each task waits if asked for; and the same as data, however deep."""
    deep = top = Job[None](name="top", keep_open=True)
    jobs = [top]
    for number in range(150):
        jobs.append(Job[None](name=f"below {number}", parent=deep if number < 50 else top, keep_open=True))
        deep = jobs[-1]
    top.add_task(forever)
    async with window() as address, trio.open_nursery() as nursery:
        for each in jobs:
            nursery.start_soon(each.run)
        await trio.testing.wait_all_tasks_blocked()
        tree_of_all, with_places = await ask(address, "/jobs"), await ask(address, "/jobs?where=1")
        data = (await ask(address, "/jobs.json?where=0")).json
        assert (await ask(address, "/connections.json")).json == {"total": 0, "connections": []}
        assert (await ask(address, "/jobs.json", method="HEAD", connection="close")).status == 200
        top.finish()
    assert b"in forever at" in with_places.body
    assert b"in forever at" not in tree_of_all.body
    names = {each["name"]: each for each in data}
    assert set(names) == {"server", "top"}
    assert len(names["top"]["children"]) == 101
    assert names["top"]["tasks"][0]["where"] is None


async def test_its_own_jobs_are_not_seen() -> None:
    """Nobody sees the window: no list, no observer, no metric, no log."""
    recorder, records = Recorder(), []
    metrics = Metrics(registry=CollectorRegistry())
    take_back = job.register_observer(recorder)
    j = Job[None](name="server", keep_open=True)
    j.register_logger({2: lambda event, _: records.append(event)}, level=2)
    try:
        async with window(j, metrics=metrics) as address:
            assert (await ask(address, "/livez")).status == 200
            assert roots() == (j,)
            assert "admin" not in tree().replace("'admin'", "", 1)
            scraped = (await ask(address, "/metrics")).body
            assert b'job_jobs_running{state="recurrent running"} 1.0' in scraped
            assert b"job_endpoint" not in scraped
            names = {event.job.name for event in recorder.events if hasattr(event, "job")}
            assert names == {"server"}
            assert records == []
    finally:
        take_back()


async def test_metrics() -> None:
    """They are those of a Metrics, or of a registry; without there are none."""
    registry = CollectorRegistry()
    Gauge("answer", "The answer.", registry=registry).set(42)
    async with window(metrics=registry) as address:
        reply = await ask(address, "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"answer 42.0" in reply.body
    async with window() as address:
        assert (await ask(address, "/metrics")).status == 404


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "/../etc/passwd", "/%2e%2e/x"])
async def test_nothing_there(path: str) -> None:
    """Any other path is not found."""
    async with window() as address:
        assert (await ask(address, path)).status == 404


async def test_methods() -> None:
    """A HEAD is a GET without a body; there are no others."""
    async with window(token="secret", actions={"finish": lambda: None}) as address:
        key = "Bearer secret"
        assert (await ask(address, "/livez", method="PUT", authorization=key)).status == 405
        assert (await ask(address, "/livez", method="POST", authorization=key)).status == 405
        assert (await ask(address, "/finish", authorization=key)).status == 405
        assert (await ask(address, "/nothing", method="POST", authorization=key)).status == 404
        async with await connect(address) as stream:
            await stream.send_all(b"HEAD /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            said = b"".join([data async for data in stream])
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"\r\n\r\n")


async def test_actions() -> None:
    """An action, plain or async, is called without arguments; its result is JSON, and what it raises a 500."""

    async def count() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"n": 3, "odd": {1}}

    def leave() -> None:
        raise SystemExit(3)

    actions = {"count": count, "fail": lambda: 1 / 0, "leave": leave, "a-b_1": lambda: None}
    async with window(token="secret", actions=actions) as address:
        post = {"method": "POST", "authorization": "Bearer secret"}
        assert (await ask(address, "/count", **post)).json == {"n": 3, "odd": "{1}"}
        assert (await ask(address, "/a-b_1", **post)).json is None
        for name in ("fail", "leave"):
            assert (await ask(address, f"/{name}", **post)).status == 500
        assert (await ask(address, "/count", method="POST")).status == 401
        assert (await ask(address, "/count", origin="http://evil.example", **post)).status == 403


async def test_the_page() -> None:
    """It has no outside resource, and its policy names its script and style; where there is a token it asks for it."""
    async with window() as address:
        reply = await ask(address, "/")
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; frame-ancestors 'none'; script-src 'sha256-")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"http://" not in reply.body.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in reply.body
    async with window(token="secret") as address:
        asked = await ask(address, "/")
        assert (asked.status, asked.body) == (401, reply.body)
        assert (await ask(address, "/jobs")).headers["www-authenticate"] == "Bearer"


def echo(stream: Stream) -> Job[Any]:
    """Send back what comes."""

    async def run(task: Task) -> None:
        data = await stream.receive_some()
        if not data:
            task.done()
            return
        await stream.send_all(data)
        task.tick()

    j = Job[Any](fields={"upstream": "10.0.0.1:80"})
    j.add_task(run)
    return j


async def test_connections() -> None:
    """Each has a row, with what it has moved and since when it is idle; sorted, and as many as are wanted."""
    j = Job[None](name="server", keep_open=True)
    inbound = Endpoint("127.0.0.1:0", limit=10)
    j.add_task(serve_clients(inbound, echo))
    async with window(j) as address:
        listener = inbound.addresses[0]
        quiet, busy = await connect(inbound.addresses[0]), await connect(inbound.addresses[0])
        async with quiet, busy:
            await busy.send_all(b"x" * 1000)
            await trio.testing.wait_all_tasks_blocked(0.01)
            first = (await ask(address, "/connections.json?sort=bytes")).json
            await busy.send_all(b"x" * 1000)
            await trio.sleep(0.05)
            second = (await ask(address, "/connections.json?sort=bytes&limit=1")).json
            by_idle = (await ask(address, "/connections.json?sort=idle")).json["connections"]
            overview = (await ask(address, "/overview.json")).json
    assert [row["bytes_up"] for row in first["connections"]] == [1000, 0]
    row = second["connections"][0]
    assert (second["total"], len(second["connections"]), row["bytes_up"], row["bytes_down"]) == (2, 1, 2000, 2000)
    assert (row["upstream"], row["listener"], row["state"]) == ("10.0.0.1:80", listener, "recurrent running")
    assert row["bytes_per_second"] > 0
    assert by_idle[0]["bytes_up"] == 0
    assert by_idle[0]["idle"] >= by_idle[1]["idle"]
    assert overview["endpoints"][0]["inbound"] == 2


@pytest.mark.parametrize("query", ["sort=name", "limit=0", "limit=-1", "limit=x", "limit=1000000", "limit=", "sort="])
async def test_wrong_queries(query: str) -> None:
    """A wrong value is told."""
    async with window() as address:
        assert (await ask(address, f"/connections.json?{query}")).status == 400


async def events_of(stream: trio.SocketStream, count: int) -> list[str]:
    """Read so many events from a stream of them."""
    text = ""
    while text.count("\ndata:") < count:
        data = await stream.receive_some()
        if not data:
            break
        text += data.decode()
    return [each for each in text.split("\r\n") if "data:" in each]


async def test_events() -> None:
    """The end of each connection, and each change of an upstream, is an event; who comes again goes on where it was."""
    j = Job[None](name="server", keep_open=True)
    inbound = Endpoint("127.0.0.1:0")
    balancer = Balancer([Upstream("10.0.0.1:80")], fall=1, max_ejected=1)
    j.add_task(serve_clients(inbound, echo))
    async with window(j) as address:
        async with await connect(address) as reader:
            await reader.send_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await (await connect(inbound.addresses[0])).aclose()
            (ended,) = await events_of(reader, 1)
            balancer.report(balancer.upstreams[0], OSError())
            (down,) = await events_of(reader, 1)
        async with await connect(address) as reader:
            await reader.send_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\nlast-event-id: 1\r\n\r\n")
            (again,) = await events_of(reader, 1)
        async with await connect(address) as reader:
            await reader.send_all(b"GET /events HTTP/1.0\r\n\r\n")
            assert len(await events_of(reader, 2)) > 0
    assert ended.startswith("id: 1\nevent: job.ended\ndata: {")
    assert json.loads(ended.partition("data: ")[2])["reason"] == "eof"
    assert down.startswith("id: 2\nevent: upstream.down\ndata: {")
    assert again == down


async def test_a_slow_reader_loses_events() -> None:
    """It is told how many; the program never waits for it."""

    events = Events()
    reader = events.since(None, lambda: False)
    assert (await anext(reader)).startswith(b":")
    for number in range(250):
        events._keep("job.ended", {"n": number})
    assert await anext(reader) == b"event: lost\ndata: 150\n\n"
    assert (await anext(reader)).startswith(b"id: 151\n")
    await reader.aclose()


async def test_a_reader_that_is_overtaken() -> None:
    """What comes while a reader reads may push out what it has not read."""
    events = Events()
    reader = events.since(None, lambda: False)
    await anext(reader)
    events._keep("job.ended", {})
    assert (await anext(reader)).startswith(b"id: 1\n")
    for _ in range(150):
        events._keep("job.ended", {})
    assert await anext(reader) == b"event: lost\ndata: 50\n\n"
    await reader.aclose()


async def test_a_connection_that_never_ran() -> None:
    """Its job has no time, and counts all the same."""
    j = Job[None]()
    j.cancel()
    assert j.verdict is not None
    event = JobEnded(j, j.verdict, None)
    assert _about_connection(event)["seconds"] is None
    Metrics(registry=CollectorRegistry()).on_event(event)


async def test_a_client_that_waits_to_be_asked_for_its_body() -> None:
    """It is asked."""
    async with window() as address, await connect(address) as stream:
        await stream.send_all(
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"x")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def test_what_is_in_flight_at_the_end() -> None:
    """It is answered, and the connection closed; what takes longer than a second is cut."""
    j, begun = Job[None](name="server", keep_open=True), trio.Event()
    replies: list[Reply] = []

    async def slow() -> str:
        begun.set()
        await trio.sleep(0.2)
        return "done"

    async def asks(address: str) -> None:
        replies.append(await ask(address, "/slow", method="POST", authorization="Bearer secret"))

    actions = {"slow": slow, "hang": trio.sleep_forever}
    async with trio.open_nursery() as nursery, window(j, token="secret", actions=actions) as address:
        nursery.start_soon(asks, address)
        hanging = await connect(address)
        await hanging.send_all(b"POST /hang HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\r\n")
        await begun.wait()
    assert (replies[0].json, replies[0].headers["connection"]) == ("done", "close")
    await hanging.aclose()


def test_ready_of_a_job_below() -> None:
    """The job at the top counts; one check need not be in a list."""
    top = Job[None](name="top")
    below = Job[None](parent=top)
    assert not is_ready(below)
    assert named_checks(print) == {"print": print}


def test_what_is_passed_on_to_the_log() -> None:
    """Warnings and errors of the window, once it is open, and nothing else."""
    records: list[str] = []
    j = Job[None]()
    j.register_logger({0: lambda event, _: records.append(event)}, level=2)
    for begun in (False, True):
        quiet = _Quiet(j.log, {}, lambda begun=begun: begun).bind(job="admin")  # type: ignore[misc]
        for write in (quiet.debug, quiet.info, quiet.warning, quiet.error):
            write(f"{write.__name__}.{begun}")
    assert records == ["warning.True", "error.True"]


async def test_nine_readers() -> None:
    """Eight may read at once."""
    async with window() as address:
        readers = [await connect(address) for _ in range(8)]
        for reader in readers:
            await reader.send_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert (await reader.receive_some()).startswith(b"HTTP/1.1 200")
        await trio.sleep(0.05)
        assert (await ask(address, "/events")).status == 503
        assert (await ask(address, "/livez")).status == 200
        for reader in readers:
            await reader.aclose()


async def test_requests_one_after_another() -> None:
    """A connection may be used again, also after a body; not after a stop."""
    async with window() as address, await connect(address) as stream:
        client = h11.Connection(h11.CLIENT)
        for body in (b"", b"x" * 60_000, b""):
            request = h11.Request(
                method="GET", target="/livez", headers=[("host", "localhost"), ("content-length", str(len(body)))]
            )
            sent = [client.send(event) or b"" for event in (request, h11.Data(data=body), h11.EndOfMessage())]
            await stream.send_all(b"".join(sent))
            assert (await read(stream, client)).status == 200
            client.start_next_cycle()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /livez HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 20_000, b"431"),
        (b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70_000, b"413"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n", b"421"),
        (b"GET /livez HTTP/1.0\r\n\r\n", b"200"),
        (
            b"POST /x HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1\r\nconnection: close\r\n\r\n1",
            b"401",
        ),
        (b"", b""),
    ],
)
async def test_odd_requests(sent: bytes, status: bytes) -> None:
    """What is too large, or no HTTP, is answered and ends the connection."""
    async with window() as address, await connect(address) as stream:
        await stream.send_all(sent)
        await stream.send_eof()
        said = b""
        with suppress(trio.BrokenResourceError):  # what was not read of the request resets it
            async for data in stream:
                said += data
        assert status in said.replace(b"HTTP/1.1 100 \r\n\r\n", b"").partition(b"\r\n")[0]
        assert (await ask(address, "/livez")).status == 200


async def test_a_megabyte_of_head() -> None:
    """It is read no further than 16 kB."""
    async with window() as address:
        async with await connect(address) as stream:
            said = b""
            with suppress(trio.BrokenResourceError):
                for _ in range(64):
                    await stream.send_all(b"x" * 16_384)
                    await trio.sleep(0.001)
            with suppress(trio.BrokenResourceError):
                async for data in stream:
                    said += data
        assert said[:13] in (b"", b"HTTP/1.1 431 ")
        assert (await ask(address, "/livez")).status == 200


async def test_slow_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that send a byte now and then are closed, and hold up the others no longer."""
    monkeypatch.setattr("job.admin._http.PATIENCE", 0.2)
    async with window() as address:
        slow = [await connect(address) for _ in range(40)]
        for each in slow:
            await each.send_all(b"G")
        with trio.fail_after(5):
            assert (await ask(address, "/livez")).status == 200
        for each in slow:
            await each.aclose()


async def test_two_hundred_clients() -> None:
    """All get an answer, in their turn."""
    async with window() as address, trio.open_nursery() as nursery:
        replies: list[int] = []

        async def one() -> None:
            replies.append((await ask(address, "/jobs", connection="close")).status)

        for _ in range(200):
            nursery.start_soon(one)
    assert replies == [200] * 200


async def test_a_taken_address() -> None:
    """A bind error fails the job in its init."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        j = Job[None]()
        j.add_task(serve(f"127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(OSError):
            await j.run()


async def test_a_unix_socket(tmp_path: Path) -> None:
    """It is for this user alone, and needs no token."""
    os.chmod(tmp_path, 0o700)  # noqa: PTH101 - quick
    path = tmp_path / "admin.sock"
    async with window(address=f"unix:{path}", actions={"finish": lambda: "done"}, token="secret") as address:
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await ask(address, "/finish", method="POST")).json == "done"
        assert (await ask(address, "/jobs")).status == 200


@pytest.mark.parametrize("what", ["open", "link", "file", "others"])
async def test_a_directory_that_is_not_ours_alone(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that others may write to, a link, or one of another user is refused."""
    directory = tmp_path / "d"
    directory.mkdir(mode=0o700)
    if what == "open":
        directory.chmod(0o755)
    elif what == "link":
        directory.rename(tmp_path / "real")
        directory.symlink_to(tmp_path / "real")
    elif what == "file":
        directory.rmdir()
        directory.touch()
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    j = Job[None]()
    j.add_task(serve(f"unix:{directory}/x.sock"))
    with pytest.raises(PermissionError):
        await j.run()


async def test_it_never_takes_the_program_down() -> None:
    """Its listener breaks: the program goes on, with one line in its log."""
    records: list[str] = []
    j = Job[None](name="server", keep_open=True)
    j.register_logger({0: lambda event, _: records.append(event)}, level=0)
    async with window(j) as address:
        for found in gc_sockets(int(address.rpartition(":")[2])):
            found.close()
        await trio.sleep(0.05)
        assert j.state is JobState.RECURRENT_RUNNING
    assert j.state is JobState.DONE


def gc_sockets(port: int) -> list[Any]:
    """Return the listening sockets of this process on a port."""

    open_ones = [each for each in gc.get_objects() if isinstance(each, socket.socket) and each.fileno() >= 0]
    listening = [each for each in open_ones if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
    return [each for each in listening if each.getsockname()[1] == port]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"actions": {"jobs": print}}, ValueError, "must not have the name of a route"),
        ({"actions": {"A": print}}, ValueError, "actions must have names of a-z"),
        ({"actions": {"a": 3}}, TypeError, r"actions\['a'\] must be a function"),
        ({"ready": [3]}, TypeError, "each of ready must be a plain function"),
        ({"ready": {"a": trio.sleep}}, TypeError, r"ready\['a'\] must be a plain function"),
        ({"token": ""}, ValueError, "token must not be empty"),
        ({"hosts": "a"}, TypeError, "hosts must be a list of names"),
        ({"metrics": 3}, TypeError, "metrics must be a Metrics or a registry"),
        ({"address": "nonsense"}, ValueError, "address must"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A wrong argument is named at the call."""
    with pytest.raises(error, match=message):
        serve(**{"address": "127.0.0.1:0", **options})
