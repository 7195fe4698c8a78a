"""`contextmanager` and `asynccontextmanager` for blocks that code of the user's runs in.

As those of contextlib, but what the block raises comes out itself: contextlib writes to it, which an error may refuse (a frozen
dataclass), and leaves a StopAsyncIteration as the RuntimeError that Python makes of it in a generator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import wraps
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast, final

P = ParamSpec("P")
T = TypeVar("T")


def contextmanager(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """Make a context manager of a generator function with one `yield`, which stands for the block."""

    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Block(function(*args, **kwargs))

    return make


def asynccontextmanager(function: Callable[P, AsyncIterator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Make an async context manager of an async generator function with one `yield`, which stands for the block."""

    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _AsyncBlock(function(*args, **kwargs))

    return make


@final
class _Block(AbstractContextManager[T], Generic[T]):
    """A block within a generator."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Iterator[T]) -> None:
        self._steps = cast("Any", steps)

    def __enter__(self) -> T:
        return cast("T", next(self._steps))

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            if exc is None:
                next(self._steps)
            else:
                self._steps.throw(exc)
        except StopIteration as over:
            return exc is not None and over is not exc
        except BaseException as raised:
            return _passed_on(raised, exc, traceback)
        self._steps.close()
        raise RuntimeError("a context manager has more than one yield")


@final
class _AsyncBlock(AbstractAsyncContextManager[T], Generic[T]):
    """A block within an async generator."""

    __slots__ = ("_steps",)

    def __init__(self, steps: AsyncIterator[T]) -> None:
        self._steps = cast("Any", steps)

    async def __aenter__(self) -> T:
        return cast("T", await anext(self._steps))

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            if exc is None:
                await anext(self._steps)
            else:
                await self._steps.athrow(exc)
        except StopAsyncIteration as over:
            return exc is not None and over is not exc
        except BaseException as raised:
            return _passed_on(raised, exc, traceback)
        await self._steps.aclose()
        raise RuntimeError("a context manager has more than one yield")


def _passed_on(raised: BaseException, exc: BaseException | None, traceback: TracebackType | None) -> bool:
    """Return False where a generator has passed on what the block raised; else raise what it has raised itself."""
    rewritten = isinstance(exc, (StopIteration, StopAsyncIteration)) and raised.__cause__ is exc
    if exc is not None and (raised is exc or rewritten):
        BaseException.with_traceback(exc, traceback)  # without the frame of the generator
        return False
    raise raised
