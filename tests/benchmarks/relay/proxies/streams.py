"""asyncio's streams: two pumps for each connection, with half-close."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from .on_asyncio import run

READ = 65536


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Move bytes one way until EOF, and pass that on."""
    while data := await source.read(READ):
        sink.write(data)
        await sink.drain()
    sink.write_eof()


async def forward(backend: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client."""
    try:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", backend)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, up_writer))
                group.create_task(pump(up_reader, writer))
        finally:
            up_writer.close()
    except* OSError:
        pass
    finally:
        writer.close()


async def main(backend: int) -> asyncio.Server:
    """Listen."""
    return await asyncio.start_server(partial(forward, backend), "127.0.0.1", 0, backlog=4096)


if __name__ == "__main__":
    run(main, sys.argv)
