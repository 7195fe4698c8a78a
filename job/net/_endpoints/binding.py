"""The listeners of an endpoint, shared by all tasks that listen on it at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import final

import trio

from ..._core.words.blocks import asynccontextmanager
from .._addresses import Address
from .._options import Options
from .._streams.tls_context import check_server
from .listeners import Listeners, close_listeners, listener_for, open_listeners


@final
class Binding:
    """Bound while at least one task listens."""

    __slots__ = ("_listeners", "_lock", "_name", "_options", "_target", "_tasks")

    def __init__(self, name: str, target: Address | str, options: Options) -> None:
        self._name = name
        self._target = target
        self._options = options
        self._listeners: Listeners = ()
        self._tasks = 0
        self._lock = trio.Lock()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is bound, in the form of the argument; empty while no task listens."""
        return tuple(listener.address for listener in self._listeners)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Listeners]:
        """Listen while the block runs; blocks that overlap share the listeners."""
        if self._options.ssl_context is not None:
            check_server(self._options.ssl_context)
        async with self._lock:
            if not self._tasks:
                self._listeners = await self._open()
            self._tasks += 1
        try:
            yield self._listeners
        finally:
            self._tasks -= 1
            if not self._tasks:
                listeners, self._listeners = self._listeners, ()
                await close_listeners(listeners)

    async def _open(self) -> Listeners:
        transport = self._options.transport
        if transport is None:
            assert not isinstance(self._target, str)
            return await open_listeners(self._target)
        timeout = self._options.close_timeout
        return [listener_for(each, self._name, timeout) for each in await transport.listen(self._name)]
