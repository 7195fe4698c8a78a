"""What one writes in trio in ten minutes: two tasks for each connection, on trio's own streams, with half-close."""

from __future__ import annotations

import sys
from functools import partial

import trio


async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    """Move bytes one way until EOF, and pass that on."""
    while data := await source.receive_some():
        await sink.send_all(data)
    await sink.send_eof()


async def forward(backend: int, client: trio.SocketStream) -> None:
    """Serve one client; what its peers do wrong ends it, and nobody else."""
    try:
        async with client, await trio.open_tcp_stream("127.0.0.1", backend) as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, upstream)
            nursery.start_soon(pump, upstream, client)
    except* (OSError, trio.BrokenResourceError):
        pass


async def main(backend: int) -> None:
    """Serve until killed."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, partial(forward, backend), 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        print(listeners[0].socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
