"""The window as a task: HTTP for people and machines, beside the job and out of its way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from .._core import check
from .._core.forms import Factory, Routines
from .._core.inside import hide
from .._core.job import Job
from .._core.registry import withdraw_figures
from .._core.task import Task
from .._core.words.blocks import asynccontextmanager
from .._core.words.states import StopPolicy
from ..instrumentation import Metrics
from ..log import JobLog
from ..net import Endpoint, Stream
from ..net import serve as serve_clients
from ._events import Events
from ._guard import Guard
from ._http import Connection
from ._ready import Check, named_checks
from ._routes import Action, Routes, Scrape, checked_actions
from ._sockets import check_private

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LIMIT: Final = 32
_GRACE: Final = 1.0
_UNIX: Final = "unix:"


def serve(
    address: str,
    *,
    ready: Mapping[str, Check] | Iterable[Check] | Check = (),
    metrics: Metrics | CollectorRegistry | None = None,
    actions: Mapping[str, Action] | None = None,
    token: str | None = None,
    hosts: Iterable[str] = (),
) -> Factory:
    """Return a factory for a task that shows the program over HTTP: `server.add_task(admin.serve("127.0.0.1:9000"))`.

    Add it first. It has no run, so it holds no job up; it answers until the job's finalizers have come to it, whatever stops
    the job. Its result are the addresses that it is bound to. A bind error fails the job, and nothing of it after that. Its own
    jobs are in no list, metric, observer, or log below a warning. It takes 32 connections at once, 8 of them for events, and
    gives a request 5 seconds.

    Args:
        address: as for `net.Endpoint`. A unix socket must be in a directory for this user alone (0700).
        ready: what `/readyz` asks besides the job itself: plain functions, or a mapping of names to them; one that raises is
            false.
        metrics: what `/metrics` shows.
        actions: what may be asked for by POST: names (a-z, 0-9, `-`, `_`) and functions without arguments, plain or async.
        token: what a client must send over TCP, as `Authorization: Bearer …`. Without one there is no POST over TCP.
        hosts: names that the window is called by, besides addresses and localhost.

    Raises:
        TypeError, ValueError: an argument is not as described; the message names it.

    Raises, in the task:
        OSError: the address cannot be had; a PermissionError where the directory of a unix socket is not for this user alone.
    """
    window = Window(address, ready=ready, metrics=metrics, actions=actions, token=token, hosts=hosts)

    def admin_task(_: Job[Any]) -> Routines:
        async def init(task: Task) -> None:
            task.result = await task.enter(window.open(task.job, task.log))

        return Routines(init, None, None)

    return admin_task


@final
class Window:
    """The options of a window, checked; it may be opened again and again."""

    def __init__(
        self,
        address: str,
        *,
        ready: Mapping[str, Check] | Iterable[Check] | Check = (),
        metrics: Metrics | CollectorRegistry | None = None,
        actions: Mapping[str, Action] | None = None,
        token: str | None = None,
        hosts: Iterable[str] = (),
        listens: bool = True,
    ) -> None:
        self.address = address
        self._endpoint()
        self._listens = listens
        self._ready = named_checks(ready)
        self._scrape = _scrape_of(metrics)
        self._actions = checked_actions(actions)
        self._token = token if token is None else check.str_("token", token)
        if isinstance(hosts, str):
            raise TypeError(f"hosts must be a list of names, got {hosts!r}")
        self._hosts = tuple(check.str_("each of hosts", host) for host in hosts)

    def _endpoint(self) -> Endpoint:
        endpoint = Endpoint(self.address, limit=LIMIT, close_timeout=1)
        withdraw_figures(endpoint)
        return endpoint

    @asynccontextmanager
    async def open(self, job: Job[Any], log: JobLog) -> AsyncIterator[tuple[str, ...]]:
        """Answer about `job` while the block runs; give the addresses.

        Raises:
            OSError: the address cannot be had.
        """
        events, endpoint = Events(), self._endpoint()
        if self._listens:
            events.listen()
        path = self.address.removeprefix(_UNIX) if self.address.startswith(_UNIX) else None
        if path is not None:
            check_private(Path(path).parent)
        window = hide(Job[Any](name="admin", parent=None, keep_open=True, grace=_GRACE))
        window.register_logger(_Quiet(log, {}, lambda: window.ready))
        routes = Routes(
            job,
            Guard(self._token, self._hosts, local=path is not None),
            events,
            ready=self._ready,
            scrape=self._scrape,
            actions=self._actions,
            stopping=lambda: window.stopping,
        )
        task = window.add_task(serve_clients(endpoint, _client_of(routes, window)), policy=StopPolicy.CONTAIN)
        try:
            async with window:
                if task.error is not None:
                    raise task.error.error
                if path is not None:
                    os.chmod(path, 0o600)  # noqa: PTH101 - no name is looked up that could hold up the loop
                yield endpoint.addresses
                window.finish(_GRACE)
                events.wake()
                await window.wait()
        finally:
            events.close()


def _client_of(routes: Routes, window: Job[Any]) -> Callable[[Stream], Job[Any]]:

    def build(stream: Stream) -> Job[Any]:
        connection = Connection(stream, routes.respond, lambda: window.stopping)

        async def answer(task: Task) -> None:
            if await connection.serve(task):
                task.tick()
            else:
                task.done()

        j = hide(Job[Any](name=f"admin {stream.peer}"))
        j.add_task(answer)
        return j

    return build


def _scrape_of(metrics: Metrics | CollectorRegistry | None) -> Scrape | None:
    if metrics is None:
        return None
    registry = metrics.registry if isinstance(metrics, Metrics) else metrics
    if not callable(getattr(registry, "collect", None)):
        raise TypeError(f"metrics must be a Metrics or a registry of prometheus-client, got {metrics!r}")
    from prometheus_client import generate_latest

    return lambda: generate_latest(registry)


@final
class _Quiet:
    """A logger that lets warnings and errors through, to the log of the job that the window is about."""

    def __init__(self, log: JobLog, fields: dict[str, Any], begun: Callable[[], bool]) -> None:
        self._log = log
        self._fields = fields
        self._begun = begun  # an error before that is raised, and so told by another

    def bind(self, **fields: Any) -> _Quiet:
        """Return the same with more fields."""
        return _Quiet(self._log, self._fields | fields, self._begun)

    def debug(self, event: str, **fields: Any) -> None:
        """Say nothing."""

    def info(self, event: str, **fields: Any) -> None:
        """Say nothing."""

    def warning(self, event: str, **fields: Any) -> None:
        """Pass on."""
        if self._begun():
            self._log.warning(event, **(self._fields | fields))

    def error(self, event: str, **fields: Any) -> None:
        """Pass on."""
        if self._begun():
            self._log.error(event, **(self._fields | fields))

    exception = error
