"""The connections of an example under a virtual clock, over a network in memory."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import job
from job import net, testing


@asynccontextmanager
async def client_of(connection: Callable[[net.Stream], job.Job[Any]]) -> AsyncIterator[net.Stream]:
    """Give a client's stream to a server that makes such jobs."""
    endpoint = net.Endpoint("server:1", transport=testing.MemoryTransport())
    server = job.Job[None]()
    server.add_task(net.serve(endpoint, connection))
    async with server, await endpoint.dial() as client:
        yield client


@contextmanager
def black_hole() -> Iterator[str]:
    """Give an address where a connect gets no answer: the queue of those who wait to be accepted is full."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        yield f"127.0.0.1:{listener.getsockname()[1]}"
