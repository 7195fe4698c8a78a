"""The two task factories of a balancer: one connects a job to an upstream, the other checks the upstreams' health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, final

import trio

from ..._core.forms import Factory, Routines
from ..._core.task import Task
from ..._core.words.blocks import asynccontextmanager
from ..._core.words.grid import Grid
from ..._core.words.groups import holds_for, leaves
from ..._core.words.user_code import shown
from .._addresses import host_of
from .._connection_fields import DialFields, dials_of
from .._endpoints.endpoint import dial_anew
from .._errors import PEER_FAULTS, ConnectTimeoutError, NoUpstreamError
from .._shortages import CAPACITY_ERRNOS, is_shortage
from .._streams.closing import closing
from .._streams.stream import Stream, connection_of
from ._upstream import Lease, Upstream

if TYPE_CHECKING:
    from ..._core.job import Job
    from ._roster import Roster

Probe: TypeAlias = Callable[[Upstream], Awaitable[object]]
FindFault: TypeAlias = Callable[[Upstream], Awaitable[Exception | None]]


class Leases(Protocol):
    """What the two tasks need of their balancer."""

    @property
    def upstreams(self) -> tuple[Upstream, ...]: ...
    def lease(self, key: Any = None, *, exclude: Iterable[Upstream] = ()) -> Lease: ...
    def report(self, upstream: Upstream, error: BaseException | None = None, *, probe: bool = False) -> None: ...


def connect_factory(balancer: Leases, *, key: Any, attempts: int, timeout: float) -> Factory:
    """Return the factory for `Balancer.connect_task`."""

    def connect_task(j: Job[Any]) -> Routines:
        connection = _Connection(balancer, DialFields(j), attempts, timeout)

        async def run(task: Task) -> None:
            j.value = await connection.open(_affinity(j) if key is None else key)
            task.done()

        async def finalize(task: Task) -> None:
            await connection.close_with(j)

        return Routines(None, run, finalize)

    return connect_task


async def connect_in(task: Task, balancer: Leases, *, key: Any, attempts: int, timeout: float) -> Stream:
    """Connect for `Balancer.connect`."""
    if not isinstance(task, Task):
        raise TypeError(f"task must be a Task, got {task!r}")
    connection = _Connection(balancer, dials_of(task.job), attempts, timeout)
    try:
        stream = await connection.open(_affinity(task.job) if key is None else key)
        await task.enter(connection.held(task.job))
    except BaseException:
        connection.abort()
        raise
    task.job.value = stream
    return stream


@final
class _Connection:
    """The stream of one job and the place that it takes. Both are held, or neither."""

    __slots__ = ("_attempts", "_balancer", "_connection_fields", "_held", "_timeout")

    def __init__(self, balancer: Leases, connection_fields: DialFields, attempts: int, timeout: float) -> None:
        self._balancer = balancer
        self._connection_fields = connection_fields
        self._attempts = attempts
        self._timeout = timeout
        self._held: tuple[Stream, Lease] | None = None

    async def open(self, key: Any) -> Stream:
        """Dial upstreams until one answers."""
        lease = self._balancer.lease(key)
        tried: list[Upstream] = []
        while True:
            tried.append(lease.upstream)
            try:
                return await self._try(lease)
            except Exception as error:
                if not holds_for(PEER_FAULTS, error) or is_shortage(error, CAPACITY_ERRNOS):
                    raise
                another = self._another(key, tried)
                if another is None:
                    raise
                lease = another

    @asynccontextmanager
    async def held(self, j: Job[Any]) -> AsyncIterator[None]:
        """Hold both while the block runs, which ends with a task of the job; the place is free after the socket is closed."""
        if self._held is None:
            yield
        else:
            (stream, lease), self._held = self._held, None
            with lease:
                async with closing(connection_of(stream), j):
                    yield

    async def close_with(self, j: Job[Any]) -> None:
        """Close the stream as the job has ended, then give the place back."""
        async with self.held(j):
            pass

    def abort(self) -> None:
        """Give up both at once."""
        if self._held is not None:
            (stream, lease), self._held = self._held, None
            with lease:
                stream.abort()

    def _another(self, key: Any, tried: list[Upstream]) -> Lease | None:
        if len(tried) == self._attempts:
            return None
        try:
            return self._balancer.lease(key, exclude=tried)
        except NoUpstreamError:
            return None

    async def _try(self, lease: Lease) -> Stream:
        with ExitStack() as undo:
            upstream = undo.enter_context(lease)
            try:
                with self._connection_fields.attempt(upstream.address):
                    stream = await _dial(upstream, self._timeout)
            except Exception as error:
                # Report before the place is free, or the next waiter would be sent to an upstream that is being ejected.
                if holds_for(PEER_FAULTS, error):
                    _report(self._balancer, upstream, error)
                raise
            undo.pop_all()
        self._held = stream, lease
        _report(self._balancer, upstream, None)
        return stream


def _affinity(j: Job[Any]) -> str | None:
    """Return the host of the job's client, the default key; None if the job has no client."""
    client = j.fields.get("client")
    return host_of(client) or client if isinstance(client, str) else None


async def _dial(upstream: Upstream, timeout: float) -> Stream:
    with trio.move_on_after(timeout):
        return await upstream.endpoint.dial()
    raise ConnectTimeoutError(f"{upstream.address}: no connection within {timeout:g} s")


def check_factory(balancer: Leases, roster: Roster, *, interval: float, timeout: float, probe: Probe | None) -> Factory:
    """Return the factory for `Balancer.check_task`."""

    def check_task(j: Job[Any]) -> Routines:
        grid: Grid | None = None
        find_fault = partial(_fault, probe=probe or _connect, timeout=timeout)

        async def run(task: Task) -> None:
            nonlocal grid
            now = trio.current_time()
            if grid is None:  # not made by init: its first point would have passed by now
                grid = Grid(now, interval)
            else:
                grid.move_on(now)
            with task.cancel_on_stop(), roster.checked_by(task):
                await trio.sleep_until(grid.point)
                await _check_all(task, balancer, find_fault)
            task.tick()

        return Routines(run=run)

    return check_task


async def _check_all(task: Task, balancer: Leases, find_fault: FindFault) -> None:
    """Probe every upstream.

    Raises:
        BaseException: raised by a probe and not an Exception; bare. The other probes are abandoned.
    """
    orders: list[BaseException] = []

    async def check(upstream: Upstream) -> None:
        try:
            await _check(task, balancer, upstream, find_fault)
        except BaseException as order:
            if any(isinstance(leaf, trio.Cancelled) for leaf in leaves(order)):
                raise  # for the scope that it belongs to
            orders.append(order)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for upstream in balancer.upstreams:
            nursery.start_soon(check, upstream)
    if orders:
        raise orders[0]


async def _check(task: Task, balancer: Leases, upstream: Upstream, find_fault: FindFault) -> None:
    try:
        error = await find_fault(upstream)
    except Exception as fault:
        task.log.exception("probe.failed", upstream=upstream.address, error=shown(fault))
        error = fault
    _report(balancer, upstream, error, probe=True)


async def _fault(upstream: Upstream, probe: Probe, timeout: float) -> Exception | None:
    """Probe, and return the peer's fault; None if there is none."""
    deadline = trio.current_time() + timeout
    # The try is outside of the scope: a probe with a nursery in it can leave the scope with an error and a Cancelled at
    # once.
    try:
        with trio.CancelScope(deadline=deadline):
            await probe(upstream)
            # By the clock: a probe in a thread, or in a shield, is not cancelled at the deadline.
            if trio.current_time() <= deadline:
                return None
    except Exception as error:
        if not holds_for(PEER_FAULTS, error):
            raise
        return error
    return ConnectTimeoutError(f"{upstream.address}: no answer to a probe within {timeout:g} s")


async def _connect(upstream: Upstream) -> None:
    # Nothing was sent that could be lost, so there is no reason to linger.
    await trio.aclose_forcefully(await dial_anew(upstream.endpoint))


def _report(balancer: Leases, upstream: Upstream, error: Exception | None, *, probe: bool = False) -> None:
    if error is None or not is_shortage(error):
        balancer.report(upstream, error, probe=probe)
