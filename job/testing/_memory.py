"""A network in memory, for `Endpoint(transport=…)`: no sockets, so it works under an autojump clock."""

from __future__ import annotations

import errno
import itertools
import operator
from collections import deque
from typing import Final, final

import trio
from trio.lowlevel import ParkingLot, checkpoint

BUFFER: Final = 65536
BACKLOG: Final = 128
_FIRST_PORT: Final = 49152  # The first of the dynamic ports (RFC 6335).


@final
class _Pipe:
    """One direction: a bounded buffer between a sender and a receiver."""

    __slots__ = ("_data", "_room", "_size", "_something", "broken", "cut", "ended")

    def __init__(self, size: int) -> None:
        self._data = bytearray()
        self._size = size
        self._room = ParkingLot()
        self._something = ParkingLot()
        self.ended = False  # Set by the sender.
        self.broken = False  # Set by the receiver.
        self.cut = False  # Set by the sender.

    @property
    def room(self) -> int:
        """The number of bytes that it can take now."""
        return self._size - len(self._data)

    def put(self, data: memoryview) -> int:
        """Take as many bytes as there is room for."""
        taken = min(self.room, len(data))
        self._data += data[:taken]
        self._something.unpark_all()
        return taken

    def get(self, most: int) -> bytes:
        """Return the buffered bytes."""
        given = bytes(self._data[:most])
        del self._data[:most]
        self._room.unpark_all()
        return given

    def end(self) -> None:
        """Deliver EOF after the buffered bytes."""
        self.ended = True
        self._something.unpark_all()
        self._room.unpark_all()

    def cut_off(self) -> None:
        """Deliver nothing more, not even EOF."""
        self.cut = True
        self.break_off()

    def break_off(self) -> None:
        """Drop the buffered bytes and take no more."""
        self.broken = True
        self._data.clear()
        self._something.unpark_all()
        self._room.unpark_all()

    async def wait_for_room(self) -> None:
        """Wait until there is room, or never will be."""
        while not (self.room or self.broken or self.ended):
            await self._room.park()

    async def wait_for_emptiness(self) -> None:
        """Wait until the buffer is empty, or never will be."""
        while self._data and not self.broken:
            await self._room.park()

    async def wait_for_something(self) -> None:
        """Wait until there are bytes, or never will be."""
        while not (self._data or self.ended or self.broken):
            await self._something.park()


@final
class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection of a `MemoryTransport`. As with a socket, bytes that were sent before a close arrive.

    `local` and `peer` are the addresses of the two ends.
    """

    __slots__ = ("_closed", "_in", "_out", "_receiving", "_sending", "local", "peer")

    def __init__(self, local: str, peer: str, incoming: _Pipe, outgoing: _Pipe) -> None:
        self.local = local
        self.peer = peer
        self._in = incoming
        self._out = outgoing
        self._closed = False
        self._sending = False
        self._receiving = False

    @property
    def is_reset(self) -> bool:
        """True if the peer has cut the connection."""
        return self._in.cut

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive some bytes; none at EOF."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError(f"max_bytes must be 1 or more, got {max_bytes!r}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await checkpoint()
            await self._in.wait_for_something()
        finally:
            self._receiving = False
        self._check_open()
        if self._in.cut:
            raise trio.BrokenResourceError("the peer has cut the connection")
        return self._in.get(max_bytes or BUFFER)

    async def send_some(self, data: bytes | bytearray | memoryview) -> int:
        """Send as many bytes as there is room for, at least one; return how many."""
        self._begin_sending()
        try:
            await checkpoint()
            return await self._send_some(memoryview(data).cast("B"))
        finally:
            self._sending = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all bytes, waiting for room."""
        self._begin_sending()
        try:
            await checkpoint()
            left = memoryview(data).cast("B")
            self._check_can_send()
            while left:
                left = left[await self._send_some(left) :]
        finally:
            self._sending = False

    async def _send_some(self, data: memoryview) -> int:
        await self._out.wait_for_room()
        self._check_can_send()
        return self._out.put(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        self._begin_sending()
        try:
            await checkpoint()
            await self._out.wait_for_room()
            self._check_can_send()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """End this direction; the other goes on."""
        self._check_open()
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await checkpoint()
        self._out.end()

    async def aclose(self) -> None:
        """Close both directions. The peer receives what was sent, then EOF, and can send no more."""
        self._close()
        await checkpoint()

    async def wait_delivered(self) -> None:
        """Wait until the peer has received everything that was sent, or never will."""
        await checkpoint()
        await self._out.wait_for_emptiness()

    def abort(self) -> None:
        """Close at once, like a reset: bytes that the peer has not received are lost, and it gets BrokenResourceError."""
        if not self._closed:
            self._out.cut_off()
            self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._out.end()
            self._in.break_off()

    def _begin_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._check_open()
        self._sending = True

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")

    def _check_can_send(self) -> None:
        if self._out.ended:
            raise trio.ClosedResourceError("this stream was closed, or its end was sent")
        if self._out.broken:
            raise trio.BrokenResourceError("the peer has closed its end")

    def __repr__(self) -> str:
        return f"<MemoryStream {self.local} -> {self.peer}{', closed' if self._closed else ''}>"


@final
class MemoryListener(trio.abc.Listener[MemoryStream]):
    """A listener of a `MemoryTransport`, with a queue of clients that have not been accepted."""

    __slots__ = ("_arrived", "_backlog", "_clients", "_room", "_transport", "address")

    def __init__(self, transport: MemoryTransport, address: str, backlog: int) -> None:
        self.address = address
        self._transport: MemoryTransport | None = transport
        self._backlog = backlog
        self._clients: deque[MemoryStream] = deque()
        self._arrived = ParkingLot()
        self._room = ParkingLot()

    async def wait_for_client(self) -> None:
        """Wait until there is a client to accept, or never will be; the client stays in the queue."""
        await checkpoint()
        while not self._clients and self._transport is not None:
            await self._arrived.park()

    async def accept(self) -> MemoryStream:
        """Wait for a client."""
        await self.wait_for_client()
        if self._transport is None:
            raise trio.ClosedResourceError("this listener was closed")
        self._room.unpark()
        return self._clients.popleft()

    async def aclose(self) -> None:
        """Accept no more clients, and close those in the queue."""
        if self._transport is not None:
            del self._transport._listeners[self.address]
            self._transport = None
            self._arrived.unpark_all()
            self._room.unpark_all()
            for client in self._clients:
                client._close()
        await checkpoint()

    async def _connect(self, client: MemoryStream) -> None:
        while len(self._clients) >= self._backlog and self._transport is not None:
            await self._room.park()
        if self._transport is None:
            raise _refused(self.address)
        self._clients.append(client)
        self._arrived.unpark_all()  # Some waiters only wait for a client and leave it in the queue.


@final
class MemoryTransport:
    """A network in memory: its dials reach its own listeners, and nothing else.

    Pass the same one to the endpoints of a test: `Endpoint("server:80", transport=network)`. Its streams half-close, hold a
    bounded number of bytes in each direction, and move them in no time.

    Args:
        buffer: bytes that a direction holds before its sender has to wait.
        backlog: clients that a listener holds before further dials have to wait.
    """

    __slots__ = ("_backlog", "_buffer", "_clients", "_listeners", "_ports")

    def __init__(self, *, buffer: int = BUFFER, backlog: int = BACKLOG) -> None:
        for name, value in (("buffer", buffer), ("backlog", backlog)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, got {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value!r}")
        self._buffer = buffer
        self._backlog = backlog
        self._listeners: dict[str, MemoryListener] = {}
        self._ports = itertools.count(_FIRST_PORT)
        self._clients = itertools.count(1)

    async def dial(self, address: str) -> MemoryStream:
        """Connect to a listener.

        Raises:
            ConnectionRefusedError: there is no listener at `address`.
        """
        await checkpoint()
        listener = self._listeners.get(address) or self._listeners.get(":" + address.rpartition(":")[2])
        if listener is None:
            raise _refused(address)
        near, far = self._pair(f"client:{next(self._clients)}", listener.address)
        await listener._connect(far)
        return near

    async def listen(self, address: str) -> list[MemoryListener]:
        """Open a listener; port 0 finds a port.

        Raises:
            OSError: there is a listener at `address` already.
        """
        await checkpoint()
        host, colon, port = address.rpartition(":")
        if colon and port == "0":
            address = f"{host}:{next(self._ports)}"
        if address in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{address} is in use already")
        listener = self._listeners[address] = MemoryListener(self, address, self._backlog)
        return [listener]

    def _pair(self, client: str, server: str) -> tuple[MemoryStream, MemoryStream]:
        up, down = _Pipe(self._buffer), _Pipe(self._buffer)
        return MemoryStream(client, server, down, up), MemoryStream(server, client, up, down)

    def __repr__(self) -> str:
        return f"<MemoryTransport with listeners at {sorted(self._listeners)}>"


def _refused(address: str) -> ConnectionRefusedError:
    return ConnectionRefusedError(errno.ECONNREFUSED, f"nothing listens at {address}")
