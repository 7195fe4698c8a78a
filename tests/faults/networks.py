"""The three networks of the fault scenarios, as clients and upstreams see them: trio's own streams, nothing of ours."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from tests.net.certificates import client_context, server_context

Handler = Callable[[Any], Awaitable[object]]
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Network:
    """Plain TCP; and what differs on the others."""

    name = "tcp"
    half_closes = True
    resets = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def listening(self) -> dict[str, Any]:
        """The options of an Endpoint that listens."""
        return {}

    @property
    def dialing(self) -> dict[str, Any]:
        """The options of an Endpoint that dials."""
        return {}

    def free_address(self) -> str:
        """Return an address to listen at."""
        return "127.0.0.1:0"

    async def reach(self, address: str) -> trio.SocketStream:
        """Connect a socket, and no more."""
        host, _, port = address.rpartition(":")
        return await trio.open_tcp_stream(host, int(port))

    async def connect(self, address: str) -> Any:
        """Be a client."""
        return await self.reach(address)

    async def listen(self, address: str | None = None, *, backlog: int | None = None) -> tuple[Any, str]:
        """Return a listener, and its address."""
        port = 0 if address is None else int(address.rpartition(":")[2])
        [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=backlog)
        return listener, f"127.0.0.1:{listener.socket.getsockname()[1]}"

    @asynccontextmanager
    async def upstream(self, handler: Handler, address: str | None = None) -> AsyncIterator[str]:
        """Listen for the length of the block, and call `handler(stream)` for each connection; give the address."""
        listener, address = await self.listen(address)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, partial(_handle, handler), [listener]))
            yield address
            nursery.cancel_scope.cancel()


async def _handle(handler: Handler, stream: Any) -> None:
    # Peers that break off are what the scenarios are about.
    async with stream:
        with suppress(*GONE):
            await handler(stream)


class Unix(Network):
    """Unix sockets."""

    name = "unix"
    resets = False  # a peer that is cut sees EOF
    _numbers = itertools.count()

    def free_address(self) -> str:
        """Return the path of a file that is not there yet."""
        return f"unix:{self.folder}/{next(self._numbers)}"

    async def reach(self, address: str) -> trio.SocketStream:
        """Connect a socket."""
        return await trio.open_unix_socket(address.removeprefix("unix:"))

    async def listen(self, address: str | None = None, *, backlog: int | None = None) -> tuple[Any, str]:
        """Return a listener, and its address."""
        address = address or self.free_address()
        path = address.removeprefix("unix:")
        await trio.Path(path).unlink(missing_ok=True)
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        await sock.bind(path)
        sock.listen(128 if backlog is None else backlog)
        return trio.SocketListener(sock), address


class Tls(Network):
    """TCP with TLS on both sides of the proxy."""

    name = "tls"
    half_closes = False

    @property
    def listening(self) -> dict[str, Any]:
        """The options of an Endpoint that listens."""
        return {"ssl_context": server_context()}

    @property
    def dialing(self) -> dict[str, Any]:
        """The options of an Endpoint that dials."""
        return {"ssl_context": client_context(), "server_hostname": "localhost"}

    async def connect(self, address: str) -> Any:
        """Be a client; the handshake is done."""
        stream = trio.SSLStream(await self.reach(address), client_context(), server_hostname="localhost")
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def listen(self, address: str | None = None, *, backlog: int | None = None) -> tuple[Any, str]:
        """Return a listener, and its address."""
        listener, address = await super().listen(address, backlog=backlog)
        return trio.SSLListener(listener, server_context()), address


NETWORKS = {network.name: network for network in (Network, Unix, Tls)}
