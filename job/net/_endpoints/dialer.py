"""How an endpoint connects: through the kernel or through a transport, inside TLS if it has a context, within its timeout."""

from __future__ import annotations

from typing import final

import trio

from .._addresses import UNKNOWN, Address, host_of
from .._allow import check_at_once
from .._errors import ConnectTimeoutError
from .._options import Options
from .._shortages import tell_shortage
from .._streams.socket_wire import SocketWire
from .._streams.tls_context import server_name
from .._streams.tls_wire import over_tls
from .._streams.wire import Wire
from .dial import Attempt, attempt, connect, not_itself
from .listeners import wire_over
from .statistics import Counters


@final
class Dialer:
    """Makes the outbound connections of an endpoint, and counts them."""

    __slots__ = ("_counters", "_options")

    def __init__(self, options: Options, counters: Counters) -> None:
        self._options = options
        self._counters = counters

    async def dial(self, target: Address | str, name: str) -> Wire:
        """Connect to `target`, which `name` is the text of."""
        await trio.lowlevel.checkpoint()
        try:
            check_at_once(self._options.allow, target)
            begun = self._begin(target)
            wire: Wire | None = None if begun is None else begun.result()
            if wire is None:
                wire = await self._connect_in_time(begun, target, name)
        except Exception as error:
            self._counters.dial_failures += 1
            tell_shortage(error)
            raise
        self._counters.dialed += 1
        return wire

    def _begin(self, target: Address | str) -> Attempt | None:
        """Start to connect if that may be all there is to do: a scope for the timeout costs more than the call."""
        if isinstance(target, str) or self._options.transport is not None or self._options.ssl_context is not None:
            return None
        return attempt(target)

    async def _connect_in_time(self, begun: Attempt | None, target: Address | str, name: str) -> Wire:
        seconds = self._options.connect_timeout
        with trio.move_on_after(seconds):
            wire = await self._reach(target, name) if begun is None else await begun.wait()
            return await secure(wire, self._options, self.server_name(name))
        raise ConnectTimeoutError(f"{name}: no connection within {seconds:g} s")

    async def _reach(self, target: Address | str, name: str) -> Wire:
        transport = self._options.transport
        if transport is not None:
            stream = await transport.dial(name)
            wire = wire_over(stream, local=UNKNOWN, peer=name, close_timeout=self._options.close_timeout)
            return not_itself(wire, name) if isinstance(wire, SocketWire) else wire
        assert not isinstance(target, str)
        return await connect(target, self._options.allow)

    def server_name(self, name: str) -> str | None:
        """Return the name that the certificate at an address must have; None without TLS.

        Raises:
            ValueError: TLS needs a name and there is none, or the context is a server's.
        """
        context = self._options.ssl_context
        if context is None:
            return None
        return server_name(context, self._options.server_hostname or host_of(name), name)


async def secure(wire: Wire, options: Options, hostname: str | None, *, server_side: bool = False) -> Wire:
    """Return the wire inside TLS; the wire itself if the endpoint has no TLS."""
    if options.ssl_context is None:
        return wire
    return await over_tls(
        wire,
        options.ssl_context,
        server_side=server_side,
        server_hostname=hostname,
        close_timeout=options.close_timeout,
    )
