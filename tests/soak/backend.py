"""A backend of the soak: `python -m tests.soak.backend PORT [CERTIFICATE]`. SIGUSR1 resets all of its connections."""

from __future__ import annotations

import signal
import ssl
import sys
from functools import partial

import trio

from . import talk

alive: set[trio.SocketStream] = set()


async def serve_one(tls: ssl.SSLContext | None, sock: trio.SocketStream) -> None:
    """Serve a connection; it may break at any time."""
    alive.add(sock)
    try:
        stream = sock if tls is None else trio.SSLStream(sock, tls, server_side=True)
        await talk.answer(stream)
        with trio.move_on_after(5):
            await stream.aclose()
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        alive.discard(sock)
        await trio.aclose_forcefully(sock)


async def main(port: int, certificate: str | None) -> None:
    """Serve, and reset when told so."""
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, partial(serve_one, tls), port, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
            print(listener.socket.getsockname()[1], flush=True)
            async for _ in signals:
                for stream in tuple(alive):
                    talk.reset(stream)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
