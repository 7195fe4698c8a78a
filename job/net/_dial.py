"""Connect to an address: the shortest way for one that is a number, trio's happy eyeballs for one that is a name."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final, final

import trio

from ._address import Address, TcpAddress, UnixAddress, named
from ._socket_wire import SocketWire

_FULL_BACKLOG_PAUSE: Final = 0.01
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EALREADY})
_UP: Final = frozenset({0, errno.EISCONN})


@final
class Attempt:
    """A connection on its way to an address that needs no look-up. It owns the socket until it has given the wire away."""

    __slots__ = ("_address", "_family", "_name", "_sock")

    def __init__(self, address: Address, family: int, name: Any) -> None:
        self._address = address
        self._family = family
        self._name = name
        self._sock = socket.socket(family)
        self._sock.setblocking(False)

    def result(self) -> SocketWire | None:
        """Return the wire where the connection is up; None where that takes time.

        Raises:
            OSError: it failed, and the socket is closed.
        """
        try:
            number = self._sock.connect_ex(self._name)
            if number in _UNDER_WAY:
                # Within a machine it is up by now, which only a second call tells.
                number = self._sock.connect_ex(self._name)
            if number in _UNDER_WAY or number == errno.EAGAIN:
                return None
            if number not in _UP:
                raise OSError(number, os.strerror(number))
        except OSError as error:
            self._sock.close()
            raise named(error, self._address) from None
        return SocketWire(self._sock, self._name, self._family)

    async def wait(self) -> SocketWire:
        """Wait for the connection.

        Raises:
            OSError: it failed, and the socket is closed.
        """
        while (wire := self.result()) is None:
            try:
                await self._wait()
            except BaseException:
                self._sock.close()
                raise
        return wire

    async def _wait(self) -> None:
        if isinstance(self._address, UnixAddress):
            # Unlike TCP it is done at once, refused at once, or the backlog is full: then there is nothing to wait on.
            await trio.sleep(_FULL_BACKLOG_PAUSE)
        else:
            await trio.lowlevel.wait_writable(self._sock)


def attempt(address: Address) -> Attempt | None:
    """Begin to connect; None where the host is a name that has to be looked up first."""
    if isinstance(address, UnixAddress):
        return Attempt(address, socket.AF_UNIX, address.path)
    numeric = address.numeric
    return None if numeric is None else Attempt(address, *numeric)


async def connect(address: Address) -> SocketWire:
    """Connect.

    Raises:
        OSError: why not, with the address in the message; of several attempts the first one's.
    """
    begun = attempt(address)
    if begun is not None:
        return await begun.wait()
    assert isinstance(address, TcpAddress)
    try:
        return adopt(await trio.open_tcp_stream(address.host or "localhost", address.port))
    except (OSError, UnicodeError) as error:
        raise named(_plain(error), address) from error.__cause__


def adopt(stream: trio.SocketStream) -> SocketWire:
    """Take the socket out of a stream of trio's."""
    return SocketWire(socket.socket(fileno=stream.socket.detach()))


def _plain(error: OSError | UnicodeError) -> OSError | UnicodeError:
    """Return the error of the first attempt, which trio hides behind one without a number.

    It is not to be raised: with its own group as the cause, the chain of causes would go round.
    """
    group = error.__cause__
    if isinstance(group, ExceptionGroup):
        attempts = [attempt for attempt in group.exceptions if isinstance(attempt, OSError)]
        return attempts[0]
    return error
