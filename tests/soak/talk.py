"""What client and backend say to each other: both sides, and how to tell whether all of it has arrived."""

from __future__ import annotations

import hashlib
import socket
import struct
from contextlib import suppress
from random import Random

import trio

HEADER = struct.Struct(">QII?")  # the seed, how many bytes go up, how many come down, whether an EOF follows the first
CHUNK = 65536


def body(seed: int, size: int) -> bytes:
    """Return the bytes of a seed."""
    return Random(seed).randbytes(size)


async def exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """Receive so many bytes, or fewer where they end."""
    data = bytearray()
    while len(data) < size and (chunk := await stream.receive_some(size - len(data))):
        data += chunk
    return bytes(data)


async def answer(stream: trio.abc.HalfCloseableStream | trio.SSLStream[trio.SocketStream]) -> None:
    """Be the backend of one connection."""
    head = await exactly(stream, HEADER.size)
    if len(head) < HEADER.size:
        return
    seed, up, down, half_closes = HEADER.unpack(head)
    came = hashlib.sha256(await exactly(stream, up))
    if half_closes:
        came.update(await exactly(stream, CHUNK))  # there is no more, and that is to be heard
    await stream.send_all(came.digest() + body(seed + 1, down))


async def ask(stream: trio.abc.Stream, seed: int, up: int, down: int) -> str:
    """Be the client of one connection, and return what came of it: whole, short or wrong."""
    data = body(seed, up)
    async with trio.open_nursery() as nursery:
        half_closes = isinstance(stream, trio.abc.HalfCloseableStream)
        nursery.start_soon(_send, stream, HEADER.pack(seed, up, down, half_closes) + data)
        came = await exactly(stream, 32 + down)
        if len(came) == 32 + down:
            came += await exactly(stream, 1)
        nursery.cancel_scope.cancel()
    expected = hashlib.sha256(data).digest() + body(seed + 1, down)
    if came == expected:
        return "whole"
    return "short" if expected.startswith(came) else "wrong"


async def _send(stream: trio.abc.Stream, data: bytes) -> None:
    await stream.send_all(data)
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()


def reset(stream: trio.abc.Stream) -> None:
    """Close a socket, and let the other side see that it was not the end."""
    under = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    assert isinstance(under, trio.SocketStream)
    with suppress(OSError):  # it may have been closed just now
        under.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    under.socket.close()
