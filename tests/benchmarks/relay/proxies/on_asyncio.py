"""The program around the asyncio designs: `... NAME BACKEND_PORT [uvloop]`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


def run(main: Callable[[int], Awaitable[asyncio.Server]], arguments: list[str]) -> None:
    """Serve until killed, on the loop that is asked for."""
    loop_factory: Callable[[], Any] | None = None
    if "uvloop" in arguments:
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(main, int(arguments[1])))


async def _serve(main: Callable[[int], Awaitable[asyncio.Server]], backend: int) -> None:
    server = await main(backend)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
