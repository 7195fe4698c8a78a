"""`contextmanager` and `asynccontextmanager` for blocks that run user code.

They work like those of contextlib, but an error of the block comes out as itself. contextlib writes to the error, which a
frozen dataclass refuses, and turns a StopAsyncIteration into the RuntimeError that Python makes of it in a generator.
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
    """Turn a generator function into a context manager; its one `yield` stands for the block."""

    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Block(function(*args, **kwargs))

    return make


def asynccontextmanager(function: Callable[P, AsyncIterator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
    """Turn an async generator function into an async context manager; its one `yield` stands for the block."""

    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
        return _AsyncBlock(function(*args, **kwargs))

    return make


@final
class _Block(AbstractContextManager[T], Generic[T]):
    """The context manager around a generator."""

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
    """The async context manager around an async generator."""

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
    """Return False if the generator passed on the error of the block; otherwise raise the generator's own error."""
    rewritten = isinstance(exc, (StopIteration, StopAsyncIteration)) and raised.__cause__ is exc
    if exc is not None and (raised is exc or rewritten):
        BaseException.with_traceback(exc, traceback)  # This drops the frame of the generator.
        return False
    raise raised
