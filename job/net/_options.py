"""The options of an endpoint, checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from .._core import check
from ._allow import checked_allow

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trio

OnLimit: TypeAlias = Literal["wait", "queue", "reject"]
_ON_LIMIT: Final = ("wait", "queue", "reject")


class Transport(Protocol):
    """A network other than the kernel's: in memory, or sockets that a program hands in."""

    async def dial(self, address: str, /) -> trio.abc.Stream:
        """Connect to an address."""
        ...

    async def listen(self, address: str, /) -> Sequence[trio.abc.Listener[Any]]:
        """Open the listeners of an address."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `Endpoint`, without its address."""

    limit: int | None
    on_limit: OnLimit
    queue_timeout: float
    connect_timeout: float
    close_timeout: float
    read_size: int
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    max_idle: int
    max_idle_age: float
    allow: Any
    transport: Transport | None

    def __post_init__(self) -> None:
        if self.limit is not None:
            check.int_("limit", self.limit)
        if self.on_limit not in _ON_LIMIT:
            raise ValueError(f"on_limit must be 'wait', 'queue' or 'reject', got {self.on_limit!r}")
        check.seconds("queue_timeout", self.queue_timeout)
        check.positive_seconds("connect_timeout", self.connect_timeout)
        check.seconds("close_timeout", self.close_timeout)
        check.int_("read_size", self.read_size)
        check.int_("max_idle", self.max_idle, least=0)
        check.positive_seconds("max_idle_age", self.max_idle_age)
        object.__setattr__(self, "allow", checked_allow(self.allow))
        if self.ssl_context is not None and not isinstance(self.ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext or None, got {self.ssl_context!r}")
        if self.server_hostname is not None:
            check.str_("server_hostname", self.server_hostname)
        check_methods("transport", self.transport, "dial", "listen")


def check_methods(name: str, value: object, *methods: str) -> None:
    """Refuse an object that is not None and lacks one of these methods."""
    if value is not None and not all(callable(getattr(value, method, None)) for method in methods):
        raise TypeError(f"{name} must have the methods {' and '.join(methods)}, or be None, got {value!r}")
