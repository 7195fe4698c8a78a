"""Listeners: sockets of our own, or a transport's. Each accepts one client at a time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from typing import Any, Final, Protocol, TypeAlias, final

import trio

from .._addresses import UNKNOWN, Address, TcpAddress, UnixAddress, named, written
from .._streams.socket_wire import SocketWire
from .._streams.stream_wire import StreamWire
from .accept_errors import TRANSIENT_ACCEPT_ERRNOS
from .dial import adopt
from .look_up import look_up
from .unix import BACKLOG, SocketFile, listen_unix

_PORT_ATTEMPTS: Final = 8
_NO_INTERFACE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})  # IPv6, on a machine that has none

AcceptedWire: TypeAlias = SocketWire | StreamWire
"""The wire of an accepted client, before TLS."""


class Listener(Protocol):
    """One listener."""

    @property
    def address(self) -> str:
        """The address it is bound to."""
        ...

    async def wait(self) -> None:
        """Wait until there may be a client, if that can be known before it is accepted."""
        ...

    async def accept(self) -> AcceptedWire | None:
        """Accept a client; None if there is none after all."""
        ...

    def reject_one(self) -> bool:
        """Accept a client and close it, though no descriptor is left; return False if that is not possible.

        Raises:
            trio.WouldBlock: there is no client.
        """
        ...

    async def aclose(self) -> None:
        """Close the listener."""
        ...


@final
class SocketListener:
    """A listening socket. Its `accept` does not wait, so that a client can be left in the kernel's queue."""

    __slots__ = ("_family", "_file", "_listener", "_sock", "_spare", "_watched", "_watchers", "address")

    def __init__(
        self, sock: socket.socket, *, file: SocketFile | None = None, listener: trio.SocketListener | None = None
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._family = int(sock.family)
        self._file = file
        self._listener = listener
        self._watched = False
        self._watchers = trio.lowlevel.ParkingLot()
        self._spare: int | None = None
        self._reserve()
        self.address = written(sock.family, sock.getsockname())

    async def wait(self) -> None:
        """Wait for a client. Several tasks may wait, and all wake up; trio allows one per socket."""
        if self._watched:
            await self._watchers.park()
            return
        self._watched = True
        try:
            await trio.lowlevel.wait_readable(self._sock)
        finally:
            self._watched = False
            self._watchers.unpark_all()

    async def accept(self) -> AcceptedWire | None:
        """Accept one if there is one; no checkpoint."""
        try:
            sock, peer = self._sock.accept()
        except BlockingIOError:
            return None
        return SocketWire(sock, peer, self._family)

    def reject_one(self) -> bool:
        """Use the spare descriptor: the client is better off with a quick end than with a long wait."""
        if self._spare is None:
            self._reserve()
        if self._spare is None:
            return False
        os.close(self._spare)
        self._spare = None
        try:
            self._sock.accept()[0].close()
        except BlockingIOError:
            raise trio.WouldBlock from None
        except OSError:  # another thread was faster to take the descriptor
            return False
        finally:
            self._reserve()
        return True

    def _reserve(self) -> None:
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)

    async def aclose(self) -> None:
        """Close the socket, and remove its file."""
        trio.lowlevel.notify_closing(self._sock)
        if self._file is not None:
            self._file.remove()
        self._sock.close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None
        if self._listener is not None:
            await self._listener.aclose()


@final
class StreamListener:
    """A listener of a transport. It can only wait without accepting if it has a `wait_for_client`, as those in memory have."""

    __slots__ = ("_close_timeout", "_listener", "address")

    def __init__(self, listener: trio.abc.Listener[Any], address: str, close_timeout: float) -> None:
        self._listener = listener
        self._close_timeout = close_timeout
        self.address = str(getattr(listener, "address", address))

    async def wait(self) -> None:
        """Wait for a client if the listener can; otherwise return, and let `accept` wait."""
        wait_for_client = getattr(self._listener, "wait_for_client", None)
        if wait_for_client is not None:
            await wait_for_client()

    async def accept(self) -> AcceptedWire | None:
        """Wait for a client and accept it."""
        stream = await self._listener.accept()
        return wire_over(stream, local=self.address, peer=UNKNOWN, close_timeout=self._close_timeout)

    def reject_one(self) -> bool:
        """Always False: a foreign listener cannot reject without accepting."""
        return False

    async def aclose(self) -> None:
        """Close the listener."""
        await self._listener.aclose()


Listeners: TypeAlias = Sequence[Listener]


def wire_over(stream: trio.abc.Stream, *, local: str, peer: str, close_timeout: float) -> AcceptedWire:
    """Return a wire over a transport's stream; a plain socket is taken out of its stream."""
    if type(stream) is trio.SocketStream:
        return adopt(stream)
    return StreamWire(stream, local=local, peer=peer, close_timeout=close_timeout)


def listener_for(listener: trio.abc.Listener[Any], address: str, close_timeout: float) -> Listener:
    """Return a listener over a transport's; a plain socket is used directly."""
    if type(listener) is trio.SocketListener:
        # A descriptor of our own on the same socket: the program's stays usable.
        return SocketListener(socket.socket(fileno=os.dup(listener.socket.fileno())), listener=listener)
    return StreamListener(listener, address, close_timeout)


async def open_listeners(address: Address) -> Listeners:
    """Bind and listen.

    Raises:
        OSError: an interface of the address cannot be bound; the message has the address, and nothing is left open.
    """
    try:
        return await _open(address)
    except (OSError, UnicodeError) as error:
        raise named(error, address) from None


async def _open(address: Address) -> Listeners:
    if isinstance(address, UnixAddress):
        sock, file = await listen_unix(address)
        return [SocketListener(sock, file=file)]
    return _open_tcp(address, await look_up(address.host, address.port, flags=socket.AI_PASSIVE))


def _open_tcp(address: TcpAddress, targets: list[tuple[int, Any]]) -> Listeners:
    if address.port == 0:
        # The first socket finds a port, which must then be free for the others as well.
        for _ in range(_PORT_ATTEMPTS):
            try:
                return _open_all(targets, 0)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
    return _open_all(targets, address.port)


def _open_all(targets: list[tuple[int, Any]], port: int) -> Listeners:
    missing: OSError | None = None
    with ExitStack() as undo:
        socks: list[socket.socket] = []
        for family, (host, _, *rest) in targets:
            try:
                # create_server knows which options each system needs.
                sock = socket.create_server((host, port, *rest), family=family, backlog=BACKLOG)
            except OSError as error:
                if error.errno not in _NO_INTERFACE:
                    raise
                missing = error
            else:
                socks.append(undo.enter_context(sock))
                port = sock.getsockname()[1]
        if missing is not None and not socks:
            raise missing
        undo.pop_all()
    return [SocketListener(sock) for sock in socks]


async def close_listeners(listeners: Listeners) -> None:
    """Close all of them, even if one raises."""
    async with AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(listener.aclose)


async def accept_one(listeners: Listeners) -> tuple[AcceptedWire, Listener]:
    """Accept one client from any of the listeners; return its wire and the listener."""
    while True:
        listener = await _first_ready(listeners)
        try:
            wire = await listener.accept()
        except OSError as error:
            if error.errno not in TRANSIENT_ACCEPT_ERRNOS:
                raise
            await trio.lowlevel.checkpoint()
        else:
            if wire is not None:
                return wire, listener


async def _first_ready(listeners: Listeners) -> Listener:
    if len(listeners) == 1:
        await listeners[0].wait()
        return listeners[0]
    ready: list[Listener] = []

    async def wait_at(listener: Listener) -> None:
        await listener.wait()
        ready.append(listener)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(wait_at, listener)
    return ready[0]
