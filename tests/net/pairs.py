"""Pairs of streams for the tests of the network toolkit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

import job
from job import net


@asynccontextmanager
async def connected(
    transport: Any = None,
    *,
    address: str = "127.0.0.1:0",
    server: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[net.Stream, net.Stream]]:
    """Give the two ends of a connection, dialed and accepted; `options` are for both, `server` and `client` for one."""
    listening = net.Endpoint(address, transport=transport, **options, **(server or {}))
    accepting = job.Job[net.Stream](keep_open=True)
    accepting.add_oneshot_task(listening.accept_task)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepting.run_in_background, nursery)
        while not listening.addresses:
            await trio.lowlevel.checkpoint()
        dialing = net.Endpoint(listening.addresses[0], transport=transport, **options, **(client or {}))
        near = await dialing.dial()
        del dialing
        while accepting.state is not job.JobState.RECURRENT_RUNNING:
            await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as closing:
            try:
                yield near, accepting.value
            finally:
                # At the same time, or one would wait for the other to close.
                accepting.finish()
                closing.start_soon(near.aclose)
