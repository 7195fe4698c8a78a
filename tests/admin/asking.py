"""A program with a window, and how it is asked."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import h11
import trio

from job import Job
from job.admin import serve


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@asynccontextmanager
async def window(j: Job[Any] | None = None, address: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[str]:
    """Run a job with a window; give the address."""
    j = j or Job[None](name="server", keep_open=True)
    with trio.fail_after(20):
        found: list[str] = []
        task = j.add_task(serve(address, **options))
        async with j:
            found.extend(bound_to(task))
            yield found[0]
            j.finish()


def bound_to(task: Any) -> tuple[str, ...]:
    """Return the addresses of a window's task."""
    addresses: tuple[str, ...] = task.result
    return addresses


async def connect(address: str) -> trio.SocketStream:
    """Connect to a window."""
    if address.startswith("unix:"):
        return await trio.open_unix_socket(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def ask(address: str, path: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
    """Make one request and return the reply."""
    head = {"host": "localhost", "content-length": str(len(body))}
    head |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with await connect(address) as stream:
        client = h11.Connection(h11.CLIENT)
        sent = client.send(h11.Request(method=method, target=path, headers=list(head.items()))) or b""
        await stream.send_all(
            sent + (client.send(h11.Data(data=body)) or b"") + (client.send(h11.EndOfMessage()) or b"")
        )
        return await read(stream, client)


async def read(stream: trio.abc.ReceiveStream, client: h11.Connection) -> Reply:
    """Read one reply."""
    reply = Reply(0, {}, b"")
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            client.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Response):
            reply.status = event.status_code
            reply.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            reply.body += event.data
    return reply
