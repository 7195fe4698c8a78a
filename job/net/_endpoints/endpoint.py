"""The public face of an address: dial it, listen on it, count what happens."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, final

import trio

from ..._core.forms import Routines
from ..._core.registry import announce_figures
from ..._core.task import Task
from ..._core.words.blocks import contextmanager
from .._addresses import Address, parse_address
from .._allow import Allow
from .._connection_fields import ConnectionFields, DialFields, dials_of
from .._errors import ConnectTimeoutError
from .._options import OnLimit, Options, Transport
from .._streams.closing import close, closing
from .._streams.codec import PayloadCodec, framing_of
from .._streams.connection import Connection
from .._streams.stream import Stream, connection_of
from .._streams.wire import Wire
from .binding import Binding
from .dialer import Dialer, secure
from .figures import endpoint_figures
from .listeners import accept_one
from .listening import Listening
from .owner import Owner
from .pool import Pool
from .slots import Slots
from .statistics import Counters, EndpointStatistics

if TYPE_CHECKING:
    from ..._core.job import Job
    from .listeners import Listener


@final
class Endpoint:
    """An address to dial or to listen on, with its limits and timeouts.

    It holds no socket of its own, except connections that wait to be reused (`max_idle`), and may be made before trio runs. To
    serve many clients, pass it to `serve`.

    Args:
        address: "host:port", ":port" (all interfaces), "[::1]:port", "unix:path". Port 0 finds one, see `addresses`.
        limit: the most accepted connections at once; None for any number.
        on_limit: what happens beyond the limit: "wait" leaves clients in the kernel's queue, "queue" accepts them and holds
            them for up to `queue_timeout`, "reject" accepts and closes them.
        queue_timeout: seconds that "queue" holds a client.
        connect_timeout: seconds for a dial, and for a TLS handshake either way.
        close_timeout: seconds that closing a stream waits for the peer.
        read_size: the most bytes in one chunk.
        ssl_context: TLS: a client's context for dialing, a server's for listening.
        server_hostname: the name that a server's certificate must have; the address's host by default. A path, or a name of a
            transport that is not a host, has none: then it must be given, unless the context checks no names.
        codec: turns bytes into messages: a `frames.Codec`, or any object with `encode(payload) -> bytes`, `decode(bytes) ->
            payload` and optionally `max_frame`. Without one a message is a chunk.
        max_idle: how many released streams are kept for the next dial.
        max_idle_age: seconds that a stream is kept; an older one is closed at the next dial or release.
        allow: the addresses that a dial may connect to: a function `(ip_address, port) -> bool`, or networks
            (`ipaddress.ip_network`, or their text). It is asked about each address that a name resolves to, before a connection
            is tried, in the form that is really connected to (127.0.0.1 for 0.0.0.0, an IPv4 address for its IPv6 form). If
            none is left, the dial fails with `PermissionError`; so does a dial of a unix socket, which has no such address.
            It is not asked about the names of a transport.
        transport: another network: async `dial(address)` returns a trio stream, `listen(address)` trio listeners.

    Raises:
        TypeError, ValueError: an argument is wrong; the message names it.
    """

    __slots__ = (
        "__weakref__",
        "_address",
        "_binding",
        "_counters",
        "_dialer",
        "_framing",
        "_inbound",
        "_options",
        "_owner",
        "_pool",
        "_slots",
        "_target",
    )

    def __init__(
        self,
        address: str,
        *,
        limit: int | None = None,
        on_limit: OnLimit = "wait",
        queue_timeout: float = 5,
        connect_timeout: float = 10,
        close_timeout: float = 5,
        read_size: int = 65536,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        codec: PayloadCodec | None = None,
        max_idle: int = 0,
        max_idle_age: float = 60,
        allow: Allow | Iterable[IPv4Network | IPv6Network | str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._options = Options(
            limit,
            on_limit,
            queue_timeout,
            connect_timeout,
            close_timeout,
            read_size,
            ssl_context,
            server_hostname,
            max_idle,
            max_idle_age,
            allow,
            transport,
        )
        self._framing = framing_of(codec)
        self._target = self._parse(address)
        self._address = address
        self._slots = Slots(limit)
        self._counters = Counters()
        self._pool = Pool(max_idle, max_idle_age)
        self._owner = Owner(self._options, self._counters, self._pool)
        self._dialer = Dialer(self._options, self._counters)
        self._binding = Binding(address, self._target, self._options)
        self._inbound: dict[Stream, None] = {}  # those that have a job, in the order they came
        announce_figures(self, endpoint_figures)

    def _parse(self, address: str) -> Address | str:
        """Parse an address; a transport may have address forms of its own."""
        try:
            return parse_address(address)
        except ValueError:
            if self._options.transport is None or not address:
                raise
            return address

    def connect_task(self, j: Job[Any]) -> Routines:
        """Task factory (oneshot): dials and leaves the `Stream` in `j.value`; its finalizer closes that.

        The job's `fields` get upstream, attempts and connect_time, also if the dial fails.
        """
        return connect_routines(self, j)

    async def connect(self, task: Task, address: str | None = None) -> Stream:
        """Do what `connect_task` does, in a task of your own: dial, leave the stream in the job's value, close it at the end.

        For a oneshot that learns the address only in its run. The job's `fields` get upstream, attempts and connect_time, of
        all such calls in the job; the stream is closed right after the task's finalizer.

        Args:
            task: the task that calls this, from its own trio task.
            address: another address to dial with the same options.

        Raises:
            OSError, ConnectTimeoutError: as for `dial`.
            JobStateError: called from a trio task that is not the task's own.
        """
        return await connect_in(task, self, address)

    async def dial(self, address: str | None = None) -> Stream:
        """Connect, TLS handshake included; the caller closes the stream. A kept connection is used if there is one.

        Args:
            address: another address to dial with the same options.

        Raises:
            ValueError: TLS with a server's context, or without a name to check.
            OSError: the connection failed: refused, unreachable, unknown host, failed handshake (ssl.SSLError).
            PermissionError: `allow` refuses all addresses of the host.
            ConnectTimeoutError: the connection was not up within `connect_timeout`.
        """
        name = self._address if address is None else address
        target = self._target if address is None else self._parse(address)
        self._dialer.server_name(name)
        wire = await self._pool.get(name) if self._pool else None
        if wire is None:
            wire = await self._dialer.dial(target, name)
        return self._dialed(wire, name)

    def _dialed(self, wire: Wire, name: str) -> Stream:
        self._counters.outbound += 1
        return Stream(Connection(wire, self._owner, self._framing, name), self)

    def _accepted(self, wire: Wire) -> Stream:
        return Stream(Connection(wire, self._owner, self._framing, None), self)

    def accept_task(self, j: Job[Any]) -> Routines:
        """Task factory (oneshot): accepts one client and leaves the `Stream` in `j.value`; its finalizer closes that.

        It listens from its init to its finalizer; such jobs that overlap share the listener, also with `serve`. The client
        takes a place of the `limit`, and the task waits for one.
        """
        return accept_routines(self, j)

    @contextmanager
    def _counted(self, stream: Stream) -> Iterator[None]:
        """Count an accepted stream among `connections` while the block runs: while it has a job."""
        self._inbound[stream] = None
        try:
            yield
        finally:
            del self._inbound[stream]

    async def _handshake(self, wire: Wire) -> Stream:
        """Return the stream of an accepted client, after its TLS handshake; on any failure close the wire."""
        if self._options.ssl_context is None:
            return self._accepted(wire)
        seconds = self._options.connect_timeout
        with trio.move_on_after(seconds):
            return self._accepted(await secure(wire, self._options, None, server_side=True))
        raise ConnectTimeoutError(f"{wire.peer}: no TLS handshake within {seconds:g} s")

    @property
    def address(self) -> str:
        """The address as given."""
        return self._address

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the endpoint listens, in the form of the argument; empty while it does not."""
        return self._binding.addresses

    def statistics(self) -> EndpointStatistics:
        """Return a frozen snapshot of the counters."""
        return self._counters.snapshot(
            inbound=len(self._inbound), idle=len(self._pool), limit=self._options.limit, taken=self._slots.taken
        )

    @property
    def connections(self) -> tuple[Stream, ...]:
        """The accepted streams that are open and have a job, the oldest first."""
        return tuple(stream for stream in self._inbound if not stream.closed)

    def __repr__(self) -> str:
        return f"<Endpoint {self._address}, {len(self._inbound)} inbound, {self._counters.outbound} outbound>"


async def dial_anew(endpoint: Endpoint) -> Stream:
    """Dial without using a kept connection: for a probe, which a kept one would tell nothing about the server."""
    return endpoint._dialed(await endpoint._dialer.dial(endpoint._target, endpoint._address), endpoint._address)


def connect_routines(endpoint: Endpoint, j: Job[Any]) -> Routines:
    """Return the routines that dial."""
    connection_fields = DialFields(j)
    dialed: Stream | None = None

    async def run(task: Task) -> None:
        nonlocal dialed
        with connection_fields.attempt(endpoint.address):
            dialed = j.value = await endpoint.dial()
        task.done()

    async def finalize(task: Task) -> None:
        if dialed is not None:
            await close(connection_of(dialed), j)

    return Routines(None, run, finalize)


async def connect_in(task: Task, endpoint: Endpoint, address: str | None) -> Stream:
    """Dial for `Endpoint.connect`."""
    if not isinstance(task, Task):
        raise TypeError(f"task must be a Task, got {task!r}")
    with dials_of(task.job).attempt(endpoint.address if address is None else address):
        stream = await endpoint.dial(address)
    try:
        await task.enter(closing(connection_of(stream), task.job))
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    task.job.value = stream
    return stream


def accept_routines(endpoint: Endpoint, j: Job[Any]) -> Routines:
    """Return the routines that accept one client."""
    listening, client = Listening(endpoint._binding), AsyncExitStack()

    async def accept(task: Task) -> tuple[Wire, Listener]:
        listeners = await listening.listeners(task)
        try:
            return await accept_one(listeners)
        except OSError as error:
            listening.broke(task, error)
            raise

    async def run(task: Task) -> None:
        # A client that fails its handshake gives back what it took: a retry calls this again.
        async with AsyncExitStack() as taken:
            await endpoint._slots.take()
            taken.callback(endpoint._slots.give_back)
            wire, listener = await accept(task)
            endpoint._counters.accepted += 1
            ConnectionFields(j).fill(client=wire.peer, listener=listener.address)
            stream = j.value = await endpoint._handshake(wire)
            taken.enter_context(endpoint._counted(stream))
            taken.push_async_callback(close, connection_of(stream), j)
            client.push_async_exit(taken.pop_all())
        task.done()

    async def finalize(task: Task) -> None:
        try:
            await client.aclose()
        finally:
            await listening.aclose()

    return Routines(listening.init, run, finalize)
