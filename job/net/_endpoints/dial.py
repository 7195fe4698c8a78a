"""Connect to an address: directly if it is numeric, by happy eyeballs if it is a name."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final, final

import trio

from .._addresses import Address, TcpAddress, UnixAddress, named
from .._allow import Allow, Target, permitted
from .._shortages import is_shortage
from .._streams.socket_wire import SocketWire
from .look_up import look_up

_FULL_BACKLOG_PAUSE: Final = 0.01
_NEXT_ATTEMPT_AFTER: Final = 0.25  # RFC 8305, 5; trio's open_tcp_stream has the same
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EALREADY})
_UP: Final = frozenset({0, errno.EISCONN})


@final
class Attempt:
    """A connection attempt to an address that needs no look-up. It owns the socket until it returns the wire."""

    __slots__ = ("_address", "_family", "_name", "_sock")

    def __init__(self, address: Address, family: int, name: Any) -> None:
        self._address = address
        self._family = family
        self._name = name
        self._sock = socket.socket(family)
        self._sock.setblocking(False)

    def result(self) -> SocketWire | None:
        """Return the wire if the connection is up; None if it is not up yet.

        Raises:
            OSError: the attempt failed, and the socket is closed.
        """
        try:
            number = self._sock.connect_ex(self._name)
            if number in _UNDER_WAY:
                # A connection within this machine is up by now, which only a second call can tell.
                number = self._sock.connect_ex(self._name)
            if number in _UNDER_WAY or number == errno.EAGAIN:
                return None
            if number not in _UP:
                raise OSError(number, os.strerror(number))
        except OSError as error:
            self._sock.close()
            raise named(error, self._address) from None
        return not_itself(SocketWire(self._sock, self._name, self._family), self._address)

    async def wait(self) -> SocketWire:
        """Wait for the connection.

        Raises:
            OSError: the attempt failed, and the socket is closed.
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
            # Unlike TCP, it is connected or refused at once unless the backlog is full, and there is no event for room in it.
            await trio.sleep(_FULL_BACKLOG_PAUSE)
        else:
            await trio.lowlevel.wait_writable(self._sock)


def not_itself(wire: SocketWire, address: object) -> SocketWire:
    """Return the wire, unless both its ends are one socket.

    A dial to a port of this machine without a listener may get that very port as its own; the SYN then meets itself, and TCP
    calls that a connection (RFC 9293, 3.5: simultaneous open).

    Raises:
        ConnectionRefusedError: they are one, so there is no listener; the wire is closed.
    """
    if wire.connects_to_itself:
        wire.abandon()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED), str(address))
    return wire


def attempt(address: Address) -> Attempt | None:
    """Begin to connect; None if the host is a name that must be resolved first."""
    if isinstance(address, UnixAddress):
        return Attempt(address, socket.AF_UNIX, address.path)
    numeric = address.numeric
    return None if numeric is None else Attempt(address, *numeric)


async def connect(address: Address, allow: Allow | None = None) -> SocketWire:
    """Connect; `allow` is asked about the addresses of a name. For a numeric address the caller has asked it.

    Raises:
        OSError: the connection failed; the message has the address. Of several attempts, the error of the first.
    """
    begun = attempt(address)
    if begun is not None:
        return await begun.wait()
    assert isinstance(address, TcpAddress)
    try:
        targets = await look_up(address.host or "localhost", address.port)
    except (OSError, UnicodeError) as error:
        raise named(error, address) from None
    return await Race(address).run(alternating(permitted(allow, address, targets)))


def alternating(targets: list[Target]) -> list[Target]:
    """Move a target of the other family to second place, if there is one: if one family is broken, the other is tried soon."""
    first = targets[0]
    other = next((target for target in targets if target[0] != first[0]), first)
    return list(dict.fromkeys((first, other, *targets)))


@final
class Race:
    """Happy eyeballs (RFC 8305): an attempt each quarter second, or as soon as the last has failed; the first success wins."""

    __slots__ = ("_address", "_errors", "_winner")

    def __init__(self, address: Address) -> None:
        self._address = address
        self._errors: list[OSError] = []
        self._winner: SocketWire | None = None

    async def run(self, targets: list[Target]) -> SocketWire:
        """Connect to the target that answers first.

        Raises:
            OSError: none did; the first error that is not a shortage of our own.
        """
        try:
            async with trio.open_nursery() as nursery:
                for target in targets:
                    failed = trio.Event()
                    nursery.start_soon(self._try, target, failed, nursery.cancel_scope)
                    with trio.move_on_after(_NEXT_ATTEMPT_AFTER):
                        await failed.wait()
        except BaseException:
            if self._winner is not None:
                self._winner.abandon()
            raise
        if self._winner is None:
            raise self._telling()
        return self._winner

    async def _try(self, target: Target, failed: trio.Event, all_attempts: trio.CancelScope) -> None:
        try:
            wire = await Attempt(self._address, *target).wait()
        except OSError as error:
            self._errors.append(error)
            failed.set()
            return
        if self._winner is None:
            self._winner = wire
            all_attempts.cancel()
        else:
            wire.abandon()

    def _telling(self) -> OSError:
        """Return the most telling error: that this machine lacks IPv6, say, tells nothing about a server that has IPv4 too."""
        return next((error for error in self._errors if not is_shortage(error)), self._errors[0])


def adopt(stream: trio.SocketStream) -> SocketWire:
    """Take the socket out of a trio stream."""
    return SocketWire(socket.socket(fileno=stream.socket.detach()))
