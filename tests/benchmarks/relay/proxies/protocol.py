"""asyncio's protocols: callbacks, half-close, and backpressure by pausing the other side's reads."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import cast

from .on_asyncio import run


class Side(asyncio.Protocol):
    """One side of a connection."""

    __slots__ = ("ended", "other", "transport")

    def __init__(self, other: Side | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other = other
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are of another family

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self.sink.write(data)

    def pause_writing(self) -> None:
        """Let the other side wait."""
        self.sink.pause_reading()

    def resume_writing(self) -> None:
        """Let it go on."""
        self.sink.resume_reading()

    def eof_received(self) -> bool:
        """Pass an EOF on; stay open for the other direction."""
        assert self.other is not None
        self.ended = True
        if self.other.ended:
            self.sink.close()
            return False
        self.sink.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side, too, once it has written what it has."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    @property
    def sink(self) -> asyncio.Transport:
        """Where this side's bytes go."""
        assert self.other is not None
        assert self.other.transport is not None
        return self.other.transport


class ClientSide(Side):
    """The side that comes first: it dials the other, and keeps what is said meanwhile."""

    __slots__ = ("backend", "dialling", "early")

    def __init__(self, backend: int) -> None:
        super().__init__()
        self.backend = backend
        self.early: list[bytes] = []
        self.dialling: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Dial."""
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()  # which uvloop takes no notice of here
        self.dialling = asyncio.get_running_loop().create_task(self.dial(self.transport))

    async def dial(self, transport: asyncio.Transport) -> None:
        """Connect to the backend, and give it what came before."""
        loop = asyncio.get_running_loop()
        try:
            _, self.other = await loop.create_connection(lambda: Side(self), "127.0.0.1", self.backend)
        except OSError:
            transport.abort()
            return
        self.sink.writelines(self.early)
        if self.ended:
            self.sink.write_eof()
        with suppress(RuntimeError):  # uvloop's: it was not paused
            transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, or keep them."""
        if self.other is None:
            self.early.append(data)
        else:
            super().data_received(data)

    def eof_received(self) -> bool:
        """Pass an EOF on, or keep it."""
        self.ended = True
        return True if self.other is None else super().eof_received()


async def main(backend: int) -> asyncio.Server:
    """Listen."""
    return await asyncio.get_running_loop().create_server(lambda: ClientSide(backend), "127.0.0.1", 0, backlog=4096)


if __name__ == "__main__":
    run(main, sys.argv)
