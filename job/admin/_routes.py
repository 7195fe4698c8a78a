"""What the window answers."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, final

import trio

from .._core.inside import age
from .._core.job import Job
from .._core.registry import sources
from .._core.words.user_code import shown
from ..instrumentation import tree
from ..net import Endpoint
from ..net.balancer import Balancer
from ._connections import MOST, SORTS, Connections
from ._events import Events
from ._guard import Guard, Refusal
from ._http import Answer, Request, as_json, text
from ._jobs import jobs_as_json
from ._page import PAGE, PAGE_HEADERS
from ._ready import Check, is_ready, passes

Action: TypeAlias = Callable[[], object]
Scrape: TypeAlias = Callable[[], bytes]
_Route: TypeAlias = "Callable[[Request], Awaitable[Answer]]"

_NAME: Final = re.compile(r"[a-z0-9_-]+")
_NOT_FOUND: Final = text(404, "there is nothing here")


@final
class Routes:
    """Answers requests about one job, that of the window, and all that runs beside it."""

    def __init__(
        self,
        job: Job[Any],
        guard: Guard,
        events: Events,
        *,
        ready: Mapping[str, Check],
        scrape: Scrape | None,
        actions: Mapping[str, Action],
        stopping: Callable[[], bool],
    ) -> None:
        self._job = job
        self._guard = guard
        self._events = events
        self._ready = ready
        self._scrape = scrape
        self._actions = actions
        self._stopping = stopping
        self._connections = Connections()
        self._routes: Mapping[str, _Route] = {
            "/": self._page,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/jobs": self._jobs,
            "/jobs.json": self._jobs_json,
            "/connections.json": self._connections_json,
            "/overview.json": self._overview,
            "/events": self._stream,
        }

    async def respond(self, request: Request) -> Answer:
        """Return the answer to a request; whatever happens there is one."""
        refusal = self._guard.refuses(request.head)
        if refusal is not None:
            return self._refuse(request, refusal)
        method, path = request.head.method, request.head.path
        if method == "POST":
            return await self._act(path.removeprefix("/"))
        if method not in ("GET", "HEAD"):
            return text(405, "there are GET, HEAD and POST", ((b"allow", b"GET, HEAD, POST"),))
        route = self._routes.get(path)
        if route is None:
            is_action = path.removeprefix("/") in self._actions
            return text(405, "this is for POST", ((b"allow", b"POST"),)) if is_action else _NOT_FOUND
        return await route(request)

    def _refuse(self, request: Request, refusal: Refusal) -> Answer:
        headers = ((b"www-authenticate", b"Bearer"),) if refusal.status == 401 else ()
        if refusal.status == 401 and request.head.method == "GET" and request.head.path == "/":
            return Answer(401, "text/html; charset=utf-8", PAGE, (*PAGE_HEADERS, *headers))  # it asks for the token
        return text(refusal.status, refusal.reason, headers)

    async def _act(self, name: str) -> Answer:
        action = self._actions.get(name)
        if action is None:
            if f"/{name}" in self._routes:
                return text(405, "this is for GET", ((b"allow", b"GET, HEAD"),))
            return _NOT_FOUND
        try:
            result = action()
            if inspect.isawaitable(result):
                result = await result
        except trio.Cancelled:
            raise
        except BaseException as error:
            return as_json(500, {"error": shown(error)})
        return as_json(200, result)

    async def _page(self, _: Request) -> Answer:
        return Answer(200, "text/html; charset=utf-8", PAGE, PAGE_HEADERS)

    async def _livez(self, _: Request) -> Answer:
        return text(200, "alive")

    async def _readyz(self, _: Request) -> Answer:
        checks = {name: passes(each) for name, each in self._ready.items()}
        ready = is_ready(self._job) and all(checks.values())
        return as_json(200 if ready else 503, {"ready": ready, "checks": checks})

    async def _metrics(self, _: Request) -> Answer:
        if self._scrape is None:
            return _NOT_FOUND
        body = await trio.to_thread.run_sync(self._scrape, abandon_on_cancel=True)
        return Answer(200, "text/plain; version=0.0.4; charset=utf-8", body)

    async def _jobs(self, request: Request) -> Answer:
        return text(200, tree(where=request.query.get("where", "0") == "1"))

    async def _jobs_json(self, request: Request) -> Answer:
        return Answer(200, "application/json", jobs_as_json(where=request.query.get("where", "1") == "1"))

    async def _connections_json(self, request: Request) -> Answer:
        sort, limit = request.query.get("sort", "age"), request.query.get("limit", "100")
        if sort not in SORTS:
            return text(400, f"sort must be one of {', '.join(SORTS)}")
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:20]) <= MOST):
            return text(400, f"limit must be a number from 1 to {MOST}")
        rows = await self._connections.rows()
        rows.sort(key=SORTS[sort], reverse=True)
        return as_json(200, {"total": len(rows), "connections": rows[: int(limit)]})

    async def _overview(self, _: Request) -> Answer:
        owners = [source.owner for source in sources()]
        endpoints = [each for each in owners if isinstance(each, Endpoint) and each.addresses]
        upstreams = [each for owner in owners if isinstance(owner, Balancer) for each in owner.upstreams]
        return as_json(
            200,
            {
                "pid": os.getpid(),
                "job": self._job.name,
                "state": self._job.state.value,
                "age": age(self._job),
                "endpoints": [{"address": each.addresses[0], **_statistics(each)} for each in endpoints],
                "upstreams": [
                    {"address": each.address, "healthy": each.healthy, "active": each.active} for each in upstreams
                ],
            },
        )

    async def _stream(self, request: Request) -> Answer:
        self._events.listen()
        if self._events.full:
            return text(503, "there are as many readers as there may be")
        last = request.last_event_id or ""
        since = int(last) if last.isascii() and last.isdecimal() and len(last) < 20 else None
        return Answer(200, "text/event-stream", self._events.since(since, self._stopping))


def _statistics(endpoint: Endpoint) -> dict[str, Any]:
    found = endpoint.statistics()
    return {
        name: getattr(found, name)
        for name in ("accepted", "rejected", "inbound", "bytes_received", "bytes_sent", "limit")
    }


def checked_actions(actions: Mapping[str, Action] | None) -> dict[str, Action]:
    """Return what may be asked for by POST.

    Raises:
        TypeError: it is no mapping of names to functions.
        ValueError: a name has other letters than a-z, 0-9, `-` and `_`, or is a route.
    """
    found: dict[Any, Any] = dict(actions or {})
    for name, action in found.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"actions must have names of a-z, 0-9, - and _, got {name!r}")
        if name in ("livez", "readyz", "metrics", "jobs", "events"):
            raise ValueError(f"actions must not have the name of a route, got {name!r}")
        if not callable(action):
            raise TypeError(f"actions[{name!r}] must be a function, got {action!r}")
    return found
