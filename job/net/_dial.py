"""Connect to an address: the shortest way for one that is a number, trio's happy eyeballs for one that is a name."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

import trio

from ._address import Address, TcpAddress, UnixAddress, named
from ._socket_wire import SocketWire

_FULL_BACKLOG_PAUSE: Final = 0.01


async def connect(address: Address) -> SocketWire:
    """Connect.

    Raises:
        OSError: why not, with the address in the message; of several attempts the first one's.
    """
    try:
        return await _connect(address)
    except (OSError, UnicodeError) as error:
        raise named(error, address) from error.__cause__


async def _connect(address: Address) -> SocketWire:
    if isinstance(address, UnixAddress):
        return await _connect_unix(address)
    numeric = address.numeric
    if numeric is not None:
        return await _connect_to(*numeric)
    return await _connect_by_name(address)


async def _connect_by_name(address: TcpAddress) -> SocketWire:
    try:
        return adopt(await trio.open_tcp_stream(address.host or "localhost", address.port))
    except OSError as error:
        raise _plain(error) from error.__cause__


def adopt(stream: trio.SocketStream) -> SocketWire:
    """Take the socket out of a stream of trio's."""
    return SocketWire(socket.socket(fileno=stream.socket.detach()))


def _plain(error: OSError) -> OSError:
    """Return the error of the first attempt, which trio hides behind one without a number."""
    group = error.__cause__
    if isinstance(group, ExceptionGroup):
        attempts = [attempt for attempt in group.exceptions if isinstance(attempt, OSError)]
        return attempts[0]
    return error


async def _connect_to(family: int, name: Any) -> SocketWire:
    sock = socket.socket(family)
    try:
        sock.setblocking(False)
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            sock.connect(name)
        except BlockingIOError as error:
            if error.errno != errno.EINPROGRESS:
                raise
            await trio.lowlevel.wait_writable(sock)
            _raise_pending(sock)
        else:
            await trio.lowlevel.checkpoint()
        return SocketWire(sock, name)
    except BaseException:
        sock.close()
        raise


def _raise_pending(sock: socket.socket) -> None:
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


async def _connect_unix(address: UnixAddress) -> SocketWire:
    # Unlike TCP it is done at once, refused at once, or the backlog is full: then there is nothing to wait on.
    while True:
        try:
            return await _connect_to(socket.AF_UNIX, address.path)
        except BlockingIOError:
            await trio.sleep(_FULL_BACKLOG_PAUSE)
