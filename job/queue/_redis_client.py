"""A coredis client in a trio task of its own, so that any task may use it, and close it."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar, final
from urllib.parse import SplitResult, parse_qs, urlsplit

import trio

from .._core.trio.calls import without_cancelled
from ._errors import UnavailableError

if TYPE_CHECKING:
    from ._scripts import Script

T = TypeVar("T")

_SCHEMES: Final = ("redis", "rediss", "unix")
_CLOSE_TIMEOUT: Final = 0.5
_CONNECT_TIMEOUT: Final = 3.0

_PASSING: Final = (
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
)
"""Errors by which Redis says that it cannot serve just now: it restarts, fails over, or is short of something."""


def client_factory(url: object) -> Callable[[], Any]:
    """Return a function that makes a client for a URL; a function in its place makes one itself.

    Raises:
        ImportError: coredis is not installed.
        TypeError, ValueError: it is neither; the message does not show it, as it may have a password in it.
    """
    try:
        import coredis
    except ImportError as error:
        raise ImportError("RedisStream needs coredis: install the extra `queue` (trio-job[queue])") from error
    if callable(url):
        return url
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, or a function that makes a coredis client, got {type(url).__name__}")
    options = {"connect_timeout": _CONNECT_TIMEOUT, **_tls_options(url)}
    return lambda: coredis.Redis.from_url(url, decode_components=True, **options)


def _tls_options(url: str) -> dict[str, Any]:
    """Check a URL, and return what it says of TLS: coredis by itself would not look at the name in a certificate."""
    parts = _parts(url)
    if parts is None:
        raise ValueError(
            "url must be redis://HOST[:PORT][/DB], rediss://… or unix://PATH, with its password percent-encoded"
        )
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.scheme != "rediss" or "ssl_check_hostname" in query or "ssl_cert_reqs" in query:
        return {}
    context = ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
    if "ssl_certfile" in query:
        context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"))
    return {"ssl_context": context}


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _SCHEMES and (parts.scheme == "unix" or bool(parts.hostname)) and parts.port != 0
    except ValueError:  # its text has a piece of the URL in it, which may be one of the password
        return None
    return parts if valid else None


@final
class Client:
    """Calls Redis, with a client that is made when it is needed, and anew when it has hung.

    Args:
        make: makes a client.
        name: of the queue, for errors.
        timeout: seconds for a call.
    """

    __slots__ = ("_link", "_make", "_name", "_timeout")

    def __init__(self, make: Callable[[], Any], name: str, timeout: float) -> None:
        self._make = make
        self._name = name
        self._timeout = timeout
        self._link: _Link | None = None

    async def run(self, script: Script, keys: tuple[bytes, ...], arguments: tuple[Any, ...]) -> Any:
        """Run a script, by its digest where Redis knows that.

        Raises:
            UnavailableError: Redis is out of reach, or cannot serve just now.
            coredis.exceptions.RedisError: it refuses.
        """
        from coredis.exceptions import NoScriptError

        async def evaluate(client: Any) -> Any:
            try:
                return await _send(client, b"EVALSHA", script.digest, keys, arguments)
            except NoScriptError:
                return await _send(client, b"EVAL", script.source, keys, arguments)

        return await self.call(evaluate)

    async def call(self, use: Callable[[Any], Awaitable[T]], *, longer: float = 0) -> T:
        """Let `use` do something with a client, within the timeout and so many seconds more. Raises as `run` does."""
        from coredis.exceptions import RedisError

        link = self._link
        if link is None or link.broken:
            link = self._link = _Link(_tidy(self._make()))
        try:
            with trio.fail_after(self._timeout + longer):
                return await use(await link.client())
        except (trio.TooSlowError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            link.drop()
            raise self._unavailable(error) from error
        except RedisError as error:
            if _passes(error):
                raise self._unavailable(error) from error
            raise
        except Exception as error:
            if link.broken:  # coredis has lost its task group under a call
                raise self._unavailable(error) from error
            raise

    def _unavailable(self, error: BaseException) -> UnavailableError:
        text = "no answer in time" if isinstance(error, trio.TooSlowError) else f"{type(error).__name__}: {error}"
        return UnavailableError(f"the Redis of queue {self._name!r} is out of reach: {text}")

    async def aclose(self) -> None:
        """Close it; the next call opens it again."""
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()


def _passes(error: BaseException) -> bool:
    from coredis import exceptions

    passing = (
        exceptions.ConnectionError,
        exceptions.ReadOnlyError,
        exceptions.SentinelError,
        exceptions.ClusterDownError,
        exceptions.ClusterError,
        exceptions.AskError,
        exceptions.TryAgainError,
    )
    return isinstance(error, passing) or str(error).startswith(_PASSING)


async def _send(client: Any, command: bytes, script: str, keys: tuple[bytes, ...], arguments: tuple[Any, ...]) -> Any:
    from coredis.commands.constants import CommandName
    from coredis.typing import Key

    words = (script, len(keys), *map(Key, keys), *arguments)
    return await client.create_request(
        CommandName(command), *words, callback=_same, execution_parameters={"decode": False}
    )


def _same(response: Any, **_: Any) -> Any:
    return response


def _tidy(client: Any) -> Any:
    """Let each connection of a client close what it has made, also where it cannot connect: coredis does not."""
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    pool = getattr(client, "connection_pool", None)
    kind = getattr(pool, "connection_class", None)
    if pool is None or kind is None:
        return client

    class TidyConnection(kind):  # type: ignore[misc, valid-type]
        async def run(self, **options: Any) -> None:
            try:
                await super().run(**options)
            finally:
                self.__del__()

        def __del__(self) -> None:  # it may never have been run
            for value in vars(self).values():
                if isinstance(value, MemoryObjectReceiveStream | MemoryObjectSendStream):
                    value.close()

    pool.connection_class = TidyConnection
    return client


@final
class _Link:
    """One client, open in a system task until it is dropped: what it opens is bound to the task that opens it."""

    __slots__ = ("_client", "_closed", "_closing", "_error", "_ready", "broken")

    def __init__(self, client: Any) -> None:
        self._client = client
        self._ready = trio.Event()
        self._closing = trio.Event()
        self._closed = trio.Event()
        self._error: BaseException | None = None
        self.broken = False
        trio.lowlevel.spawn_system_task(self._hold, name="job.queue: a Redis client", context=Context())

    async def client(self) -> Any:
        """Return the client, once it is open."""
        if not self._ready.is_set():
            await self._ready.wait()
        if self._error is not None:
            raise self._error
        return self._client

    def drop(self) -> None:
        """Let it close, and be used no more."""
        self.broken = True
        self._closing.set()

    async def aclose(self) -> None:
        """Close it."""
        self.drop()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_TIMEOUT):
            await self._closed.wait()

    async def _hold(self) -> None:
        # A system task that raises brings the whole trio run down.
        try:
            async with self._client:
                self._ready.set()
                await self._closing.wait()
        except BaseException as exc:
            self._error = without_cancelled(exc)
            if self._error is None:
                raise
        finally:
            self.broken = True
            self._ready.set()
            self._closed.set()
