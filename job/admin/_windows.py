"""The windows that a program opens without being told to in its code: the inspector, and that of `--admin`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, final

from .._core.job import Job
from .._core.words.blocks import asynccontextmanager
from .._core.words.user_code import shown
from ..instrumentation import Metrics
from ._serve import Window
from ._sockets import make_inspector_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX: Final = ".sock"


@final
class Windows:
    """What a program shows of itself from before the first init until after the last finalizer.

    Args:
        inspect: whether to open a unix socket for `job ps` and `job top`; where that fails the program runs all the same.
        admin: an address to serve at as well, with metrics.

    Raises:
        TypeError, ValueError: `admin` is no address.
        ImportError: an extra is missing for it.
    """

    __slots__ = ("_admin", "_inspect", "_metrics")

    def __init__(self, *, inspect: bool, admin: str | None) -> None:
        self._inspect = inspect
        self._metrics: Metrics | None = None
        self._admin: Window | None = None
        if admin is not None:
            self._metrics, registry = _metrics()
            self._admin = Window(admin, metrics=registry)

    @property
    def address(self) -> str | None:
        """What `admin` was."""
        return None if self._admin is None else self._admin.address

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Count what happens to jobs while the block runs, where a process may ask."""
        if self._metrics is None:
            yield
        else:
            with self._metrics.observe():
                yield

    @asynccontextmanager
    async def open(self, job: Job[Any]) -> AsyncIterator[None]:
        """Show a job while the block runs.

        Raises:
            OSError: the address of `admin` cannot be had.
        """
        async with AsyncExitStack() as stack:
            if self._admin is not None:
                await stack.enter_async_context(self._admin.open(job, job.log))
            if self._inspect:
                await _open_inspector(stack, job)
            yield


async def _open_inspector(stack: AsyncExitStack, job: Job[Any]) -> None:
    try:
        path = make_inspector_directory() / f"{os.getpid()}{SUFFIX}"
        await stack.enter_async_context(Window(f"unix:{path}", listens=False).open(job, job.log))
    except (OSError, ValueError) as error:
        job.log.debug("inspector.failed", error=shown(error))


def _metrics() -> tuple[Metrics | None, Any]:
    """Return metrics in the registry of prometheus-client; that as it is where the program has metrics of its own there."""
    try:
        made = Metrics()
    except ValueError:
        from prometheus_client import REGISTRY

        return None, REGISTRY
    return made, made.registry
