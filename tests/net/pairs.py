"""Pairs of streams for the tests of the network toolkit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

import job
from job import net


@asynccontextmanager
async def connected(transport: Any = None, **options: Any) -> AsyncIterator[tuple[net.Stream, net.Stream]]:
    """Give the two ends of a connection, dialed and accepted."""
    server = net.Endpoint("127.0.0.1:0", transport=transport, **options)
    accepting = job.Job[net.Stream](keep_open=True)
    accepting.add_oneshot_task(server.accept_task)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepting.run_in_background, nursery)
        while not server.addresses:
            await trio.lowlevel.checkpoint()
        async with await net.Endpoint(server.addresses[0], transport=transport, **options).dial() as near:
            while accepting.state is not job.JobState.RECURRENT_RUNNING:
                await trio.lowlevel.checkpoint()
            yield near, accepting.value
            accepting.finish()
